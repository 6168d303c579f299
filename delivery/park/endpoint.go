package park

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Endpoint is what is known of an endpoint over a restart.
type Endpoint struct {
	Paused    bool // by a person
	Gone      bool // it answered 410; until it is resumed
	OpenUntil time.Time
	OpenTime  time.Duration // how long the breaker stays open; it doubles
}

// LoadEndpoints returns what is known, by name. An endpoint that nothing was ever said of is not among them.
func (s *Store) LoadEndpoints(ctx context.Context) (map[string]Endpoint, error) {
	found, err := s.pool.Query(ctx, s.sql(`SELECT name, paused, gone, open_until, open_time FROM {{schema}}.endpoint`))
	if err != nil {
		return nil, fmt.Errorf("load endpoints: %w", err)
	}
	endpoints := map[string]Endpoint{}
	var name string
	var e Endpoint
	var until *time.Time
	var millis int64
	_, err = pgx.ForEachRow(found, []any{&name, &e.Paused, &e.Gone, &until, &millis}, func() error {
		e.OpenUntil, e.OpenTime = fromTime(until), time.Duration(millis)*time.Millisecond
		endpoints[name] = e
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load endpoints: %w", err)
	}
	return endpoints, nil
}

// SaveBreaker saves until when the endpoint's breaker is open, zero if it is closed, so that it does not start closed with
// a flood.
func (s *Store) SaveBreaker(ctx context.Context, endpoint string, until time.Time, open time.Duration) error {
	return s.setEndpoint(ctx, endpoint, false, "open_until = $2, open_time = $3", toTime(until), open.Milliseconds())
}

// SetGone is documented at delivery.Parker.
func (s *Store) SetGone(ctx context.Context, endpoint string) error {
	return s.setEndpoint(ctx, endpoint, false, "gone = true")
}

// Pause stops the endpoint until Resume; a running relay is told.
func (s *Store) Pause(ctx context.Context, endpoint string) error {
	return s.setEndpoint(ctx, endpoint, true, "paused = true")
}

// Resume starts the endpoint again, whether a person or a 410 stopped it, and tells a running relay. Its breaker starts
// closed.
func (s *Store) Resume(ctx context.Context, endpoint string) error {
	return s.setEndpoint(ctx, endpoint, true, "paused = false, gone = false, open_until = NULL, open_time = 0")
}

// setEndpoint changes only what set names: the other columns may be another process's.
func (s *Store) setEndpoint(ctx context.Context, endpoint string, tell bool, set string, args ...any) error {
	err := s.write(ctx, nil, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, s.sql(`INSERT INTO {{schema}}.endpoint (name) VALUES ($1) ON CONFLICT DO NOTHING`), endpoint); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.sql(`UPDATE {{schema}}.endpoint SET `+set+`, changed_at = now() WHERE name = $1`), append([]any{endpoint}, args...)...); err != nil {
			return err
		}
		if !tell {
			return nil
		}
		return s.notify(ctx, tx, endpoint)
	})
	if err != nil {
		return fmt.Errorf("save endpoint %s: %w", endpoint, err)
	}
	return nil
}
