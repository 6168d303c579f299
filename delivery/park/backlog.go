package park

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

// blockedSQL steps from queue to queue through the index, so that a queue costs the same whatever waits in it. Only the
// lanes' names are wanted, not what waits there, which may be large.
const blockedSQL = `
WITH RECURSIVE q AS (
  (SELECT d.queue, d.id FROM {{schema}}.delivery d
   WHERE d.endpoint = $1 AND d.queue IS NOT NULL AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)
   ORDER BY d.queue, d.lsn, d.ordinal, d.id LIMIT 1)
  UNION ALL
  SELECT n.queue, n.id FROM q CROSS JOIN LATERAL (
    SELECT d.queue, d.id FROM {{schema}}.delivery d
    WHERE d.endpoint = $1 AND d.queue > q.queue AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)
    ORDER BY d.queue, d.lsn, d.ordinal, d.id LIMIT 1) n
)
SELECT d.queue, d.key, CASE WHEN d.queue LIKE '` + hashed + `%' THEN d.detail END
FROM (SELECT id FROM q LIMIT $2) q CROSS JOIN LATERAL (SELECT x.queue, x.key, x.detail FROM {{schema}}.delivery x WHERE x.id = q.id) d`

const waitingSQL = `
SELECT EXISTS (SELECT FROM {{schema}}.delivery d WHERE d.endpoint = $1 AND d.state = 'waiting' AND NOT d.blocked AND d.due IS NULL)
    OR EXISTS (SELECT FROM {{schema}}.delivery d WHERE d.endpoint = $1 AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)),
  (SELECT d.due FROM {{schema}}.delivery d
   WHERE d.endpoint = $1 AND d.state = 'waiting' AND d.due IS NOT NULL AND d.id NOT IN (SELECT unnest($2::bigint[])) ORDER BY d.due LIMIT 1)`

// Backlog is documented at delivery.Parker. It looks into indexes and counts nothing. Due is of those that Next will return:
// what the lane had at the last Next is left out, and a time that has come since is not.
func (s *Store) Backlog(ctx context.Context, endpoint string, limit int) (delivery.Backlog, error) {
	var b delivery.Backlog
	var due *time.Time
	batch := &pgx.Batch{}
	batch.Queue(s.sql(waitingSQL), endpoint, s.cursor(endpoint).ids()).QueryRow(func(r pgx.Row) error {
		return r.Scan(&b.Waiting, &due)
	})
	batch.Queue(s.sql(blockedSQL), endpoint, limit+1).Query(func(found pgx.Rows) error {
		var queue, key, detail []byte
		var names columnNames
		_, err := pgx.ForEachRow(found, []any{&queue, &key, &detail}, func() error {
			ev := &mapping.Event{Key: string(key)}
			if detail != nil {
				d := detailReader{rest: detail, key: key, names: &names}
				_ = d.complete(ev) // without the payload it may miss a value, which is not asked for
			}
			b.Blocked = append(b.Blocked, laneOf(queue, ev))
			return nil
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return delivery.Backlog{}, fmt.Errorf("look at the backlog: %w", err)
	}
	b.Due = fromTime(due)
	return b, nil
}

// ids returns the rows the lane has.
func (c *cursor) ids() []int64 {
	ids := make([]int64, 0, len(c.taken))
	for id := range c.taken {
		ids = append(ids, id)
	}
	return ids
}

// Reorder puts the waiting deliveries of an endpoint in the order its configuration asks for now, if it is not the one
// they were parked under: a lane calls it before anything else. Lane keys are the event's under OrderKey, and "" under OrderStrict.
func (s *Store) Reorder(ctx context.Context, endpoint string, order mapping.Order) error {
	var now string
	err := s.pool.QueryRow(ctx, s.sql(`SELECT coalesce((SELECT ordering FROM {{schema}}.endpoint WHERE name = $1), '')`), endpoint).Scan(&now)
	if err != nil {
		return fmt.Errorf("read the order of %s: %w", endpoint, err)
	}
	if now == string(order) {
		return nil
	}
	err = s.write(ctx, []string{endpoint}, func(tx pgx.Tx) error {
		if now != "" { // else it never was another
			if err := s.requeue(ctx, tx, endpoint, order); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, s.sql(`INSERT INTO {{schema}}.endpoint (name, ordering) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET ordering = excluded.ordering, changed_at = now()`), endpoint, string(order))
		return err
	})
	if err != nil {
		return fmt.Errorf("reorder parked deliveries: %w", err)
	}
	return nil
}

// Order notes the order by which an endpoint's deliveries are queued, unless one is known. Who adds deliveries that are not a lane's
// calls it first.
func (s *Store) Order(ctx context.Context, endpoint string, order mapping.Order) error {
	_, err := s.pool.Exec(ctx, s.sql(`INSERT INTO {{schema}}.endpoint AS e (name, ordering) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET ordering = excluded.ordering, changed_at = now() WHERE e.ordering = ''`), endpoint, string(order))
	if err != nil {
		return fmt.Errorf("note the order of %s: %w", endpoint, err)
	}
	return nil
}

// requeue gives every waiting row its new queue, in which only the first may still wait for a time. It takes a while when a million wait, and happens when the file is
// changed.
func (s *Store) requeue(ctx context.Context, tx pgx.Tx, endpoint string, order mapping.Order) error {
	_, err := tx.Exec(ctx, s.sql(`
UPDATE {{schema}}.delivery d SET queue = n.queue, nth = n.nth, turn = nextval('{{schema}}.turn'),
  blocked = n.queue IS NOT NULL AND (n.nth > 1 OR d.due IS NULL), due = CASE WHEN n.queue IS NULL OR n.nth = 1 THEN d.due END
FROM (
  SELECT id, queue, row_number() OVER (PARTITION BY queue ORDER BY lsn, ordinal, id) AS nth
  FROM (
    SELECT id, lsn, ordinal, CASE WHEN $2 = 'strict' THEN '' WHEN $2 = 'key' THEN
      CASE WHEN octet_length(key) <= $3 AND key NOT LIKE 'sha256:%' THEN key
           WHEN key IS NOT NULL THEN 'sha256:' || encode(sha256(convert_to(key, 'UTF8')), 'hex') END
    END AS queue
    FROM {{schema}}.delivery WHERE endpoint = $1 AND state = 'waiting' ORDER BY lsn, ordinal, id) k
  ORDER BY lsn, ordinal, id) n
WHERE d.id = n.id`), endpoint, string(order), maxQueue)
	if err != nil {
		return err
	}
	return s.releaseAll(ctx, tx, endpoint)
}

// queuesSQL steps through the queues of an endpoint of which something is held back, from one to the next.
const queuesSQL = `
WITH RECURSIVE q AS (
  (SELECT d.queue FROM {{schema}}.delivery d
   WHERE d.endpoint = $1 AND ($2::text IS NULL OR d.queue > $2) AND d.queue IS NOT NULL AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)
   ORDER BY d.queue, d.lsn, d.ordinal, d.id LIMIT 1)
  UNION ALL
  SELECT n.queue FROM q CROSS JOIN LATERAL (
    SELECT d.queue FROM {{schema}}.delivery d
    WHERE d.endpoint = $1 AND d.queue > q.queue AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)
    ORDER BY d.queue, d.lsn, d.ordinal, d.id LIMIT 1) n
)
SELECT queue FROM q LIMIT $3`

// releaseAll lets the first of every queue of the endpoint through, of so many at a time that a million keys take no memory.
func (s *Store) releaseAll(ctx context.Context, tx pgx.Tx, endpoint string) error {
	const most = 1000
	for after := (*string)(nil); ; {
		found, err := tx.Query(ctx, s.sql(queuesSQL), endpoint, after, most)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil || len(names) == 0 {
			return err
		}
		queues := make([]queueID, len(names))
		for i, name := range names {
			queues[i] = queueID{endpoint, name}
		}
		if err := s.release(ctx, tx, queues); err != nil {
			return err
		}
		after = &names[len(names)-1]
	}
}
