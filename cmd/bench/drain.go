package main

import (
	"context"
	"fmt"
)

// drained is what one drain of a backlog showed.
type drained struct {
	usage
	rate float64 // events a second, each to all endpoints
}

// drain measures how fast a backlog goes out. All runs of one number of endpoints drain the same backlog, from slots
// made before it was written.
func (b *bench) drain(ctx context.Context) error {
	t := newTable("receiver", "", "events/s", "of the pipe", "of concurrency/latency", "CPU-s per 100,000 deliveries", "peak MiB")
	for i, endpoints := range b.endpoints {
		runs, err := b.backlog(ctx, fmt.Sprintf("drain%d", i), endpoints)
		if err != nil {
			return err
		}
		for _, cs := range runs {
			if err := b.compare(ctx, cs, t); err != nil {
				return err
			}
		}
	}
	t.print("Draining a backlog")
	return nil
}

// backlog prepares the runs of all scenarios with so many endpoints and writes what they will drain.
func (b *bench) backlog(ctx context.Context, name string, endpoints int) ([][]*contender, error) {
	db, err := b.database(ctx, name)
	if err != nil {
		return nil, err
	}
	var runs [][]*contender
	for _, s := range b.scenarios() {
		if s.endpoints != endpoints {
			continue
		}
		cs, err := b.contenders(ctx, db, s, name, b.systems...)
		if err != nil {
			return nil, err
		}
		runs = append(runs, cs)
	}
	progress("write a backlog of %d rows", b.rows/endpoints)
	return runs, write(ctx, db, 0, b.rows/endpoints, 100)
}

// compare runs the contenders of one scenario in turns and adds their medians to the table.
func (b *bench) compare(ctx context.Context, cs []*contender, t *table) error {
	results := map[string][]drained{}
	for _, c := range cs {
		result, err := b.drainOne(ctx, c)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", c.scenario, c.system, err)
		}
		progress("%s: %s %.0f events/s", c.scenario, c.system, result.rate)
		results[c.system] = append(results[c.system], result)
	}
	s := cs[0].scenario
	limit := median(results["pipe"], func(d drained) float64 { return d.rate })
	for _, system := range b.systems {
		runs := results[system]
		rate := median(runs, func(d drained) float64 { return d.rate })
		t.add(s.String(), system, fmt.Sprintf("%.0f", rate), ratio(rate, limit), ratio(rate, s.ideal()),
			fmt.Sprintf("%.2f", median(runs, b.cpu)), mebibytes(runs, func(d drained) usage { return d.usage }))
	}
	return nil
}

// cpu is the time per 100,000 deliveries, of which each drain makes b.rows.
func (b *bench) cpu(d drained) float64 { return d.cpu.Seconds() * 100_000 / float64(b.rows) }

func (b *bench) drainOne(ctx context.Context, c *contender) (drained, error) {
	events := b.rows / c.endpoints
	r, err := receive(c.delay, c.endpoints, events)
	if err != nil {
		return drained{}, err
	}
	defer r.close()
	p, err := b.startContender(c, r)
	if err != nil {
		return drained{}, err
	}
	err = p.await(ctx, r.done, r.received)
	u, stopErr := p.stop()
	for _, err := range []error{err, stopErr, r.verdict()} {
		if err != nil {
			return drained{}, err
		}
	}
	// From the first receipt, so that starting is not counted, which needs no backlog to be measured.
	first, last := r.span()
	return drained{u, float64(events-1) / last.Sub(first).Seconds()}, nil
}
