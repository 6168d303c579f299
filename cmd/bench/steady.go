package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// writers is how many connections the steady writer has, so that one slow commit does not delay the next event.
const writers = 4

// latency is what one run under a steady writer showed.
type latency struct {
	usage
	p50, p99 time.Duration
}

// steadily measures the time from the commit, by the server's clock, to the receipt.
func (b *bench) steadily(ctx context.Context) error {
	t := newTable("receiver", "", "p50 ms", "p99 ms", "CPU-s per 100,000 deliveries", "peak MiB")
	db, err := b.database(ctx, "steady")
	if err != nil {
		return err
	}
	for _, s := range b.scenarios() {
		results := map[string][]latency{}
		cs, err := b.contenders(ctx, db, s, "steady", b.systems...)
		if err != nil {
			return err
		}
		for _, c := range cs {
			result, err := b.follow(ctx, c)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s, c.system, err)
			}
			progress("%s: %s p50 %s, p99 %s", s, c.system, result.p50, result.p99)
			results[c.system] = append(results[c.system], result)
		}
		for _, system := range b.systems {
			runs := results[system]
			t.add(s.String(), system,
				fmt.Sprintf("%.2f", median(runs, func(l latency) float64 { return milliseconds(l.p50) })),
				fmt.Sprintf("%.2f", median(runs, func(l latency) float64 { return milliseconds(l.p99) })),
				fmt.Sprintf("%.2f", median(runs, func(l latency) float64 {
					return l.cpu.Seconds() * 100_000 / float64(b.steadyEvents()*s.endpoints)
				})), mebibytes(runs, func(l latency) usage { return l.usage }))
		}
	}
	t.print(fmt.Sprintf("Commit to receipt at %d events/s", b.rate))
	return nil
}

func (b *bench) steadyEvents() int { return int(float64(b.rate) * b.steady.Seconds()) }

// follow runs one contender while the writer writes.
func (b *bench) follow(ctx context.Context, c *contender) (latency, error) {
	if _, err := c.db.Exec(ctx, "TRUNCATE outbox"); err != nil {
		return latency{}, err
	}
	// Its slot was made with all the others, and has since kept what was written for those that ran before.
	if _, err := c.db.Exec(ctx, "SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", c.slot); err != nil {
		return latency{}, fmt.Errorf("pass over earlier events: %w", err)
	}
	r, err := receive(c.delay, c.endpoints, b.steadyEvents())
	if err != nil {
		return latency{}, err
	}
	defer r.close()
	p, err := b.startContender(c, r)
	if err != nil {
		return latency{}, err
	}
	if err = p.streaming(ctx, c); err == nil {
		err = b.writeSteadily(ctx, c.db.Config().ConnString())
	}
	if err == nil {
		err = p.await(ctx, r.done, r.received)
	}
	u, stopErr := p.stop()
	for _, err := range []error{err, stopErr, r.verdict()} {
		if err != nil {
			return latency{}, err
		}
	}
	all, err := latencies(ctx, c.db, r)
	if err != nil {
		return latency{}, err
	}
	return latency{u, all[len(all)/2], all[len(all)*99/100]}, nil
}

func (b *bench) writeSteadily(ctx context.Context, url string) error {
	start := time.Now().Add(100 * time.Millisecond)
	group, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		group.Go(func() error {
			conn, err := pgx.Connect(ctx, url)
			if err != nil {
				return err
			}
			defer conn.Close(ctx) //nolint:errcheck // the commits' answers are all that counts
			for n := w; n < b.steadyEvents(); n += writers {
				time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(b.rate)))) // the pace is the point
				if err := write(ctx, conn, n, n+1, 1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// latencies returns, in ascending order, the time from each event's commit to its receipt at each endpoint, but for the
// first tenth, in which connections are made.
func latencies(ctx context.Context, db *pgx.Conn, r *receiver) ([]time.Duration, error) {
	rows, err := db.Query(ctx, "SELECT id::text, pg_xact_commit_timestamp(xmin) FROM outbox")
	if err != nil {
		return nil, err
	}
	var all []time.Duration
	var id string
	var committed time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &committed}, func() error {
		n, err := eventNumber([]byte(id))
		if err != nil || n < len(r.times[0])/10 {
			return err
		}
		for _, times := range r.times {
			all = append(all, time.Unix(0, times[n].Load()).Sub(committed))
		}
		return nil
	})
	slices.Sort(all)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no events: -rate times -steady is too small")
	}
	return all, err
}
