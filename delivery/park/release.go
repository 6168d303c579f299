package park

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// releaseSQL lets the next blocked rows of a queue through, unless one of it waits for a time, or there is enough to read
// yet. They get new turns, in order, and the queues take turns.
const releaseSQL = `
UPDATE {{schema}}.delivery d SET blocked = false, turn = n.turn
FROM (
  SELECT o.id, nextval('{{schema}}.turn') AS turn
  FROM (
    SELECT b.id
    FROM unnest($1::text[], $2::text[]) AS k(endpoint, queue)
    CROSS JOIN LATERAL (
      SELECT count(*) AS readable, coalesce(bool_or(f.due IS NOT NULL), false) AS held
      FROM (
        SELECT r.due FROM {{schema}}.delivery r
        WHERE r.endpoint = k.endpoint AND r.queue = k.queue AND r.state = 'waiting' AND NOT r.blocked AND r.queue IS NOT NULL
        LIMIT $3 / 2) f) flow
    CROSS JOIN LATERAL (
      SELECT x.id, row_number() OVER (ORDER BY x.lsn, x.ordinal, x.id) AS rank
      FROM (
        SELECT y.id, y.lsn, y.ordinal FROM {{schema}}.delivery y
        WHERE y.endpoint = k.endpoint AND y.queue = k.queue AND y.state = 'waiting' AND y.blocked
          AND NOT flow.held AND flow.readable < $3 / 2
        ORDER BY y.lsn, y.ordinal, y.id LIMIT $3) x) b
    ORDER BY b.rank, k.endpoint, k.queue
    OFFSET 0) o
  OFFSET 0) n
WHERE d.id = n.id`

// release lets the next rows of the queues through where nothing holds them back. A queue with blocked rows always has a
// readable one too, or one that waits for a time, and whatever settles that calls release: so none is forgotten.
func (s *Store) release(ctx context.Context, tx pgx.Tx, queues []queueID) error {
	if len(queues) == 0 {
		return nil
	}
	endpoints, names := split(unique(queues))
	if _, err := tx.Exec(ctx, s.sql(releaseSQL), endpoints, names, s.reach); err != nil {
		return fmt.Errorf("let the next through: %w", err)
	}
	return nil
}

func unique(queues []queueID) []queueID {
	seen := make(map[queueID]bool, len(queues))
	var out []queueID
	for _, q := range queues {
		if !seen[q] {
			seen[q] = true
			out = append(out, q)
		}
	}
	return out
}
