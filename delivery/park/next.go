package park

import (
	"context"
	"fmt"
	"math"

	"relay/delivery"
)

// cursor is how far Next has read the readable rows of one endpoint. Rows that become readable get a newer turn, so all
// that is behind it is what the lane has, or what the lane took and gave up without settling.
type cursor struct {
	turn  int64           // of the last row read
	taken map[int64]int64 // turns of the rows the lane has, by ID; at most what the lane holds
	size  int64           // of the last rows read, on average; 0: not known
}

// nextSQL reads first what was due (it is older than what waits behind it), then on by turn. What the lane has already
// is skipped, not counted, by a table of hashes: with <> ALL each row read would be compared with each of some thousand.
const nextSQL = `
WITH due AS (
  SELECT ` + waitingColumns + ` FROM {{schema}}.delivery d
  WHERE d.endpoint = $1 AND d.state = 'waiting' AND d.due IS NOT NULL AND d.due <= $2 AND d.id NOT IN (SELECT unnest($3::bigint[]))
  ORDER BY d.due LIMIT $4
), ready AS (
  SELECT ` + waitingColumns + ` FROM {{schema}}.delivery d
  WHERE d.endpoint = $1 AND d.state = 'waiting' AND NOT d.blocked AND d.due IS NULL AND d.turn > $5 AND d.id NOT IN (SELECT unnest($3::bigint[]))
  ORDER BY d.turn LIMIT $4 - (SELECT count(*) FROM due)
)
SELECT * FROM due UNION ALL SELECT * FROM ready`

// Bounds of what is read and not taken, because the bytes were reached.
const (
	firstLimit = 256     // rows, where it is not known how large they are
	passBytes  = 4 << 20 // then it is cheaper to give the connection up
)

// Next is documented at delivery.Parker. It reads through indexes only, and goes on where it stopped, so that neither
// the rows that are held back nor those already deleted cost anything.
func (s *Store) Next(ctx context.Context, endpoint string, taken []int64, limit int, size int64) ([]delivery.Parked, bool, error) {
	c := s.cursor(endpoint)
	after := c.resume(taken)
	limit = min(limit, c.suits(size))
	found, full, err := s.read(ctx, size, s.sql(nextSQL), endpoint, s.now(), taken, limit, after)
	if err != nil {
		return nil, false, fmt.Errorf("read parked deliveries: %w", err)
	}
	items := make([]delivery.Parked, len(found))
	var total int64
	for i, r := range found {
		items[i] = r.Parked
		items[i].Endpoint = endpoint
		total += r.Size
		c.taken[r.ID] = r.turn
		if r.Due.IsZero() {
			c.turn = max(c.turn, r.turn)
		}
	}
	if len(items) > 0 {
		c.size = total / int64(len(items))
	}
	return items, full || len(items) == limit, nil
}

// read returns the rows of a query until they have size bytes, and whether they have. The others it passes over, which is
// cheaper than to have the database add up sizes for each.
func (s *Store) read(ctx context.Context, size int64, query string, args ...any) ([]row, bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, query, append([]any{binaryRows}, args...)...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	var reader rowReader
	var found []row
	var total, passed int64
	for rows.Next() {
		if total < size {
			r, err := reader.read(rows.RawValues())
			if err != nil {
				return nil, false, err
			}
			found, total = append(found, r), total+r.Size
			continue
		}
		for _, value := range rows.RawValues() {
			passed += int64(len(value))
		}
		if passed > passBytes {
			cancel()
			return found, true, nil
		}
	}
	return found, total >= size, rows.Err()
}

// suits returns how many rows to ask for to have size bytes, and some to spare, if they are as large as the last ones.
func (c *cursor) suits(size int64) int {
	if c.size == 0 {
		return firstLimit
	}
	return int(min(max(1, 2*size/c.size), math.MaxInt32))
}

// cursor returns the endpoint's cursor. Its fields are used without the lock: a lane makes one call at a time.
func (s *Store) cursor(endpoint string) *cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursors[endpoint]
	if c == nil {
		c = &cursor{taken: map[int64]int64{}}
		s.cursors[endpoint] = c
	}
	return c
}

// forgetCursors has Next begin anew for every endpoint.
func (s *Store) forgetCursors() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.cursors)
}

// resume returns the turn to read on from: before the first row that the lane has given up, if there is one.
func (c *cursor) resume(taken []int64) int64 {
	after := c.turn
	now := make(map[int64]int64, len(taken))
	for _, id := range taken {
		turn, known := c.taken[id]
		if !known {
			turn = id // parked by the lane and kept; a turn is never less than the ID
		}
		now[id] = turn
	}
	for id, turn := range c.taken {
		if _, kept := now[id]; !kept {
			after = min(after, turn-1)
		}
	}
	c.taken, c.turn = now, after // also if the query fails: what was given up is not to be forgotten
	return after
}

// forget drops rows that are settled, so that they do not count as given up.
func (c *cursor) forget(ids []int64) {
	for _, id := range ids {
		delete(c.taken, id)
	}
}
