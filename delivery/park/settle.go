package park

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
)

// deliveredSQL returns the queues that have something to let through: one look into an index tells if none has, which is most
// often so, and else one for each queue. The LATERAL joins of this package are for that plan, whatever the planner
// believes of the table.
const deliveredSQL = `
WITH gone AS (
  DELETE FROM {{schema}}.delivery WHERE id = ANY ($2) AND endpoint = $1 RETURNING queue
), q AS MATERIALIZED (SELECT DISTINCT queue FROM gone WHERE queue IS NOT NULL)
SELECT q.queue FROM q CROSS JOIN LATERAL (
  SELECT FROM {{schema}}.delivery d
  WHERE d.endpoint = $1 AND d.queue = q.queue AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)
  LIMIT 1) stuck
WHERE EXISTS (SELECT FROM {{schema}}.delivery x WHERE x.endpoint = $1 AND x.state = 'waiting' AND (x.blocked OR x.due IS NOT NULL))`

// changedSQL leaves alone what is no longer waiting, because somebody discarded it meanwhile.
const changedSQL = `
UPDATE {{schema}}.delivery d
SET state = c.state, attempts = c.attempts, due = c.due, status = nullif(c.status, 0), error = nullif(c.error, ''),
    blocked = d.blocked AND c.state = 'waiting' AND c.due IS NULL
FROM unnest($2::bigint[], $3::text[], $4::int[], $5::timestamptz[], $6::int[], $7::text[]) AS c(id, state, attempts, due, status, error)
WHERE d.id = c.id AND d.endpoint = $1 AND d.state = 'waiting'
RETURNING d.queue, d.state = 'dead', d.due IS NOT NULL`

// Settle is documented at delivery.Parker.
func (s *Store) Settle(ctx context.Context, endpoint string, delivered []int64, changed []delivery.Parked) error {
	if len(delivered) == 0 && len(changed) == 0 {
		return nil
	}
	err := s.write(ctx, []string{endpoint}, func(tx pgx.Tx) error {
		free, err := s.deliver(ctx, tx, endpoint, delivered)
		if err != nil {
			return err
		}
		held, dead, err := s.change(ctx, tx, endpoint, changed)
		if err != nil {
			return err
		}
		if err := s.holdBack(ctx, tx, held); err != nil {
			return err
		}
		return s.release(ctx, tx, append(free, dead...))
	})
	if err != nil {
		return fmt.Errorf("settle parked deliveries: %w", err)
	}
	s.settled(endpoint, delivered, changed)
	return nil
}

// settled forgets what Next need not return again. What goes back to waiting without a time it must.
func (s *Store) settled(endpoint string, delivered []int64, changed []delivery.Parked) {
	c := s.cursor(endpoint)
	c.forget(delivered)
	for i := range changed {
		if changed[i].State == delivery.Dead || !changed[i].Due.IsZero() {
			c.forget([]int64{changed[i].ID})
		}
	}
}

func (s *Store) deliver(ctx context.Context, tx pgx.Tx, endpoint string, ids []int64) ([]queueID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := tx.Query(ctx, s.sql(deliveredSQL), endpoint, ids)
	if err != nil {
		return nil, fmt.Errorf("delete delivered: %w", err)
	}
	queues, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (queueID, error) {
		id := queueID{endpoint: endpoint}
		return id, r.Scan(&id.queue)
	})
	if err != nil {
		return nil, fmt.Errorf("delete delivered: %w", err)
	}
	return queues, nil
}

// change returns the queues of which a row now waits for a time, and those of which one is dead.
func (s *Store) change(ctx context.Context, tx pgx.Tx, endpoint string, changed []delivery.Parked) (held []span, dead []queueID, err error) {
	if len(changed) == 0 {
		return nil, nil, nil
	}
	n := len(changed)
	ids, states, errs := make([]int64, n), make([]string, n), make([]string, n)
	attempts, status, due := make([]int32, n), make([]int32, n), make([]*time.Time, n)
	for i := range changed {
		c := &changed[i]
		ids[i], states[i], errs[i] = c.ID, string(c.State), text(c.Err)
		attempts[i], status[i] = int32(c.Attempts), int32(c.Status)
		if c.State != delivery.Dead {
			due[i] = toTime(c.Due)
		}
	}
	found, err := tx.Query(ctx, s.sql(changedSQL), endpoint, ids, states, attempts, due, status, errs)
	if err != nil {
		return nil, nil, fmt.Errorf("store outcomes: %w", err)
	}
	var queue *string
	var isDead, isHeld bool
	_, err = pgx.ForEachRow(found, []any{&queue, &isDead, &isHeld}, func() error {
		switch {
		case queue == nil:
		case isDead:
			dead = append(dead, queueID{endpoint, *queue})
		case isHeld:
			held = append(held, span{queueID: queueID{endpoint, *queue}, whole: true})
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("store outcomes: %w", err)
	}
	return held, dead, nil
}
