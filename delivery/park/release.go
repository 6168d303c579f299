package park

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// releaseSQL lets the next blocked rows of a queue through, unless one of it waits for a time, or there is enough to read
// yet. They get new turns, in order, and the queues take turns. They are numbered on from the last that was readable: how many
// are is told by the numbers of the first and the last, for it is asked after every delivery, and counting them costs many times
// what delivering does. Where an older row came back the numbers are out of order, and the answer is wrong; but not when none
// is left, which is what matters.
const releaseSQL = `
UPDATE {{schema}}.delivery d SET blocked = false, turn = n.turn, nth = n.nth
FROM (
  SELECT o.id, o.nth, nextval('{{schema}}.turn') AS turn
  FROM (
    SELECT b.id, coalesce(last.nth, 0) + b.rank AS nth
    FROM unnest($1::text[], $2::text[]) AS k(endpoint, queue)
    LEFT JOIN LATERAL (
      SELECT r.nth, r.due FROM {{schema}}.delivery r
      WHERE r.endpoint = k.endpoint AND r.queue = k.queue AND r.state = 'waiting' AND NOT r.blocked AND r.queue IS NOT NULL
      ORDER BY r.lsn, r.ordinal, r.id LIMIT 1) first ON true
    LEFT JOIN LATERAL (
      SELECT r.nth FROM {{schema}}.delivery r
      WHERE r.endpoint = k.endpoint AND r.queue = k.queue AND r.state = 'waiting' AND NOT r.blocked AND r.queue IS NOT NULL
        AND first.due IS NULL
      ORDER BY r.lsn DESC, r.ordinal DESC, r.id DESC LIMIT 1) last ON true
    CROSS JOIN LATERAL (
      SELECT x.id, row_number() OVER (ORDER BY x.lsn, x.ordinal, x.id) AS rank
      FROM (
        SELECT y.id, y.lsn, y.ordinal FROM {{schema}}.delivery y
        WHERE y.endpoint = k.endpoint AND y.queue = k.queue AND y.state = 'waiting' AND y.blocked
          AND first.due IS NULL AND coalesce(abs(last.nth - first.nth) + 1, 0) < $3::bigint / 2
        ORDER BY y.lsn, y.ordinal, y.id LIMIT $4) x) b
    ORDER BY b.rank, k.endpoint, k.queue
    OFFSET 0) o
  OFFSET 0) n
WHERE d.id = n.id`

// How many rows of a queue are let through at a time: of one all that may be readable, of many so few that the transaction
// stays short, which the endpoint's new deliveries wait for.
func (s *Store) lift(queues int) int {
	const least, all = 8, 4096
	return min(s.reach, max(least, all/queues))
}

// release lets the next rows of the queues through where nothing holds them back. A queue with blocked rows always has a
// readable one too, or one that waits for a time, and whatever settles that calls release: so none is forgotten.
func (s *Store) release(ctx context.Context, tx pgx.Tx, queues []queueID) error {
	if len(queues) == 0 {
		return nil
	}
	endpoints, names := split(unique(queues))
	if _, err := tx.Exec(ctx, s.sql(releaseSQL), endpoints, names, s.reach, s.lift(len(names))); err != nil {
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
