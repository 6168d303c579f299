package park

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
)

// Filter says which deliveries a command is about. Zero fields do not restrict.
type Filter struct {
	IDs      []int64
	Endpoint string
	State    delivery.State
	EventID  string
	Type     string
	Since    time.Time // parked at or after
	Until    time.Time // parked before
	After    int64     // List: only IDs above
	Limit    int       // List: at most so many, 0 is no limit
}

// chunk is how many rows one transaction of a command changes: lanes wait for it.
const chunk = 5000

// matchSQL is a Filter, args $1 to $7.
const matchSQL = `(cardinality($1::bigint[]) = 0 OR d.id = ANY ($1)) AND ($2 = '' OR d.endpoint = $2) AND ($3 = '' OR d.state = $3)
  AND ($4 = '' OR d.event_id = $4) AND ($5 = '' OR d.type = $5)
  AND ($6::timestamptz IS NULL OR d.parked_at >= $6) AND ($7::timestamptz IS NULL OR d.parked_at < $7)`

func (f Filter) args() []any {
	return []any{nonNil(f.IDs), f.Endpoint, string(f.State), f.EventID, f.Type, toTime(f.Since), toTime(f.Until)}
}

// Entry is a delivery as a person is shown it.
type Entry struct {
	delivery.Parked
	ParkedAt time.Time
}

// List returns the deliveries that match, by ID.
func (s *Store) List(ctx context.Context, f Filter) ([]Entry, error) {
	limit := any(nil)
	if f.Limit > 0 {
		limit = f.Limit
	}
	found, err := s.query(ctx, `SELECT `+columns+`, d.parked_at FROM {{schema}}.delivery d
WHERE `+matchSQL+` AND d.id > $8 ORDER BY d.id LIMIT $9::bigint`, append(append([]any{binaryRows}, f.args()...), f.After, limit)...)
	if err != nil {
		return nil, fmt.Errorf("list parked deliveries: %w", err)
	}
	var reader rowReader
	entries, err := pgx.CollectRows(found, func(from pgx.CollectableRow) (Entry, error) {
		r, err := reader.read(from.RawValues())
		if err != nil {
			return Entry{}, err
		}
		at := reader.stamp()
		if reader.bad {
			return Entry{}, errRow
		}
		return Entry{Parked: r.Parked, ParkedAt: at}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list parked deliveries: %w", err)
	}
	return entries, nil
}

// Retry makes the deliveries that match due now, with all their attempts before them: the dead ones wait again, in their place
// in the order of their key, and what waits for a later time does not, be it in the memory of a running relay. It returns how many there were.
func (s *Store) Retry(ctx context.Context, f Filter) (int64, error) {
	n, err := s.inChunks(ctx, f, `
UPDATE {{schema}}.delivery d SET state = 'waiting', attempts = 0, due = NULL, since = now(),
  turn = CASE WHEN d.state = 'dead' OR d.due IS NOT NULL THEN nextval('{{schema}}.turn') ELSE d.turn END,
  blocked = d.blocked OR d.state = 'dead' AND d.queue IS NOT NULL
FROM (SELECT d.id FROM {{schema}}.delivery d WHERE `+matchSQL+` AND d.id > $8
      AND (d.state = 'dead' OR d.due IS NOT NULL OR d.attempts > 0) ORDER BY d.id LIMIT $9) m
WHERE d.id = m.id RETURNING d.id, d.queue`)
	if err != nil {
		return n, fmt.Errorf("retry parked deliveries: %w", err)
	}
	return n, nil
}

// Discard deletes the deliveries that match and returns how many there were. What they held back is let through.
func (s *Store) Discard(ctx context.Context, f Filter) (int64, error) {
	n, err := s.inChunks(ctx, f, `
DELETE FROM {{schema}}.delivery d
USING (SELECT d.id FROM {{schema}}.delivery d WHERE `+matchSQL+` AND d.id > $8 ORDER BY d.id LIMIT $9) m
WHERE d.id = m.id RETURNING d.id, d.queue`)
	if err != nil {
		return n, fmt.Errorf("discard parked deliveries: %w", err)
	}
	return n, nil
}

// inChunks runs a statement for one endpoint after the other, a chunk of rows a transaction, and tells the running relay.
func (s *Store) inChunks(ctx context.Context, f Filter, statement string) (int64, error) {
	endpoints, err := s.endpointNames(ctx, f)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, f.Endpoint = range endpoints {
		for after := int64(0); ; {
			n, last, err := s.changeChunk(ctx, f, statement, after)
			total += n
			if err != nil {
				return total, err
			}
			if n < chunk {
				break
			}
			after = last
		}
	}
	return total, nil
}

func (s *Store) changeChunk(ctx context.Context, f Filter, statement string, after int64) (n, last int64, err error) {
	err = s.write(ctx, []string{f.Endpoint}, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, s.sql(statement), append(f.args(), after, chunk)...)
		if err != nil {
			return err
		}
		var queues []queueID
		var id int64
		var queue *string
		_, err = pgx.ForEachRow(found, []any{&id, &queue}, func() error {
			n, last = n+1, max(last, id)
			if queue != nil {
				queues = append(queues, queueID{f.Endpoint, *queue})
			}
			return nil
		})
		if err != nil || n == 0 {
			return err
		}
		if err := s.release(ctx, tx, queues); err != nil {
			return err
		}
		return s.notify(ctx, tx, f.Endpoint)
	})
	if err != nil {
		return 0, 0, err
	}
	return n, last, nil
}

func (s *Store) endpointNames(ctx context.Context, f Filter) ([]string, error) {
	if f.Endpoint != "" {
		return []string{f.Endpoint}, nil
	}
	found, err := s.query(ctx, `SELECT DISTINCT d.endpoint FROM {{schema}}.delivery d WHERE `+matchSQL+` ORDER BY 1`, f.args()...)
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	names, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	return names, nil
}

func (s *Store) query(ctx context.Context, text string, args ...any) (pgx.Rows, error) {
	return s.pool.Query(ctx, s.sql(text), args...)
}
