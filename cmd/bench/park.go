package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// parked is what parking a backlog and draining it again showed.
type parked struct {
	park, drain float64 // events a second
}

// park measures how fast events are parked for a paused endpoint, and drained when it is resumed, next to live delivery
// of the same backlog.
func (b *bench) park(ctx context.Context) error {
	s := scenario{endpoints: 1, concurrency: 16}
	if b.concurrency > 0 {
		s.concurrency = b.concurrency
	}
	db, err := b.database(ctx, "park")
	if err != nil {
		return err
	}
	lives, err := b.contenders(ctx, db, s, "live", "relay")
	if err != nil {
		return err
	}
	parks, err := b.contenders(ctx, db, s, "park", "relay")
	if err != nil {
		return err
	}
	progress("write a backlog of %d rows", b.rows)
	if err := write(ctx, db, 0, b.rows, 100); err != nil {
		return err
	}
	var live []drained
	var park []parked
	for i, c := range lives {
		l, err := b.drainOne(ctx, c)
		if err != nil {
			return fmt.Errorf("live: %w", err)
		}
		p, err := b.parkOne(ctx, parks[i])
		if err != nil {
			return err
		}
		progress("live %.0f, park %.0f, drain %.0f events/s", l.rate, p.park, p.drain)
		live, park = append(live, l), append(park, p)
	}
	t := newTable("", "events/s", "of live")
	rate := median(live, func(d drained) float64 { return d.rate })
	for _, row := range []struct {
		name string
		rate float64
	}{
		{"live", rate},
		{"parking", median(park, func(p parked) float64 { return p.park })},
		{"draining what was parked", median(park, func(p parked) float64 { return p.drain })},
	} {
		t.add(row.name, fmt.Sprintf("%.0f", row.rate), fmt.Sprintf("%.2f", row.rate/rate))
	}
	t.print("Parking, 0 ms, 1 endpoint")
	return nil
}

func (b *bench) parkOne(ctx context.Context, c *contender) (result parked, err error) {
	r, err := receive(0, 1, b.rows)
	if err != nil {
		return parked{}, err
	}
	defer r.close()
	c.paused = true
	p, err := b.startContender(c, r)
	if err != nil {
		return parked{}, err
	}
	defer func() {
		if _, stopErr := p.stop(); err == nil {
			err = stopErr
		}
	}()
	if err := p.streaming(ctx, c); err != nil {
		return parked{}, err
	}
	start := time.Now()
	if err := b.awaitParked(ctx, c, p); err != nil {
		return parked{}, err
	}
	result.park = float64(b.rows) / time.Since(start).Seconds()

	c.paused = false
	if _, err := b.configure(c, []string{r.url(0)}); err != nil {
		return parked{}, err
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return parked{}, err
	}
	if err := p.await(ctx, r.done, r.received); err != nil {
		return parked{}, err
	}
	first, last := r.span()
	result.drain = float64(b.rows-1) / last.Sub(first).Seconds()
	return result, r.verdict()
}

// awaitParked returns when the whole backlog is parked. Counting costs the server a little, so it asks rarely.
func (b *bench) awaitParked(ctx context.Context, c *contender, p *process) error {
	ask := "SELECT count(*) FROM " + pgx.Identifier{c.slot, "parked"}.Sanitize()
	done := make(chan struct{})
	var last int64
	count := func() int64 { return last }
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(stall); last < int64(b.rows); {
		before := last
		if err := c.db.QueryRow(ctx, ask).Scan(&last); err != nil {
			return fmt.Errorf("count what is parked: %w", err)
		}
		if last > before {
			deadline = time.Now().Add(stall)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("parking stands still after %d events\n%s", last, p.said())
		}
		select {
		case <-p.exited:
			return p.await(ctx, done, count)
		case <-tick.C:
		}
	}
	return nil
}
