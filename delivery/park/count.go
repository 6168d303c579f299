package park

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Count is how many deliveries of an endpoint are in the tables.
type Count struct{ Waiting, Dead int64 }

// countShare is the part of the time that counting may take, as one in so many.
const countShare = 20

// counter keeps the last counts. Counting goes through all that is parked, and whoever scrapes does not know how much that is.
type counter struct {
	once sync.Once
	turn chan struct{} // 1: in it while one counts. Who asks meanwhile gets the same answer, if he has the time to wait for it

	counts map[string]Count // these two by turn
	until  time.Time        // when to count again
}

// enter waits for the turn, which ends with the function that it returns.
func (c *counter) enter(ctx context.Context) (leave func(), err error) {
	c.once.Do(func() { c.turn = make(chan struct{}, 1) })
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const countSQL = `
SELECT endpoint, count(*), 0 FROM {{schema}}.delivery WHERE state = 'waiting' AND NOT blocked AND due IS NULL GROUP BY endpoint
UNION ALL
SELECT endpoint, count(*), 0 FROM {{schema}}.delivery WHERE state = 'waiting' AND (blocked OR due IS NOT NULL) GROUP BY endpoint
UNION ALL
SELECT endpoint, 0, count(*) FROM {{schema}}.delivery WHERE state = 'dead' GROUP BY endpoint`

// Counts counts per endpoint, in indexes: about a fifth of a second for a million rows. What it returns may be as old as
// twenty times what counting took, so that it never takes more than a twentieth of a core, however often it is called.
func (s *Store) Counts(ctx context.Context) (map[string]Count, error) {
	c := &s.counter
	leave, err := c.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("count parked deliveries: %w", err)
	}
	defer leave()
	if time.Now().Before(c.until) {
		return maps.Clone(c.counts), nil
	}
	start := time.Now()
	counts, err := s.count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count parked deliveries: %w", err)
	}
	end := time.Now()
	c.counts, c.until = counts, end.Add((countShare-1)*end.Sub(start))
	return maps.Clone(counts), nil
}

func (s *Store) count(ctx context.Context) (map[string]Count, error) {
	found, err := s.query(ctx, countSQL)
	if err != nil {
		return nil, err
	}
	counts := map[string]Count{}
	var endpoint string
	var waiting, dead int64
	_, err = pgx.ForEachRow(found, []any{&endpoint, &waiting, &dead}, func() error {
		c := counts[endpoint]
		counts[endpoint] = Count{c.Waiting + waiting, c.Dead + dead}
		return nil
	})
	return counts, err
}
