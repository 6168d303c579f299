package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// writerRate is how many events a second one connection of the steady writer writes: few, so that one slow commit does not
// delay the next event.
const writerRate = 125

// follow runs one contender while the steady writer writes, and measures the time from the commit, by the server's clock,
// to the receipt.
func (b *bench) follow(ctx context.Context, c *contender) (result, error) {
	if _, err := c.db.Exec(ctx, "TRUNCATE outbox"); err != nil {
		return result{}, err
	}
	if err := b.prepare(ctx, c); err != nil {
		return result{}, err
	}
	r, err := b.receiver(c, c.rows())
	if err != nil {
		return result{}, err
	}
	defer r.close()
	p, err := b.startContender(c, r)
	if err != nil {
		return result{}, err
	}
	account := b.openAccount()
	var written *writing
	if err = p.streaming(ctx, c); err == nil {
		written, err = writeSteadily(ctx, c)
	}
	if err == nil {
		err = p.await(ctx, r.done, r.received)
	}
	res, err := b.over(p, c, r, account, err)
	if err != nil {
		return result{}, err
	}
	res.written = float64(c.rows()) / written.took.Seconds()
	all, err := latencies(ctx, c.db, r, written.xids)
	if err != nil {
		return result{}, err
	}
	at := func(part int) time.Duration { return all[(len(all)-1)*part/100] }
	res.p50, res.p90, res.p99, res.max = at(50), at(90), at(99), at(100)
	return res, nil
}

// writing is what the steady writer did.
type writing struct {
	xids []uint32 // of the events' transactions
	took time.Duration
}

func writeSteadily(ctx context.Context, c *contender) (*writing, error) {
	w := &writing{xids: make([]uint32, c.rows())}
	writers := max(4, c.rate/writerRate)
	start := time.Now().Add(200 * time.Millisecond) // all are connected by then
	group, ctx := errgroup.WithContext(ctx)
	for first := range writers {
		group.Go(func() error {
			conn, err := pgx.Connect(ctx, c.db.Config().ConnString())
			if err != nil {
				return err
			}
			defer conn.Close(ctx) //nolint:errcheck // the commits' answers are all that counts
			for n := first; n < c.rows(); n += writers {
				time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(c.rate)))) // the pace is the point
				if err := insertOne(ctx, conn, c.scenario, n, &w.xids[n]); err != nil {
					return fmt.Errorf("write an event: %w", err)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	w.took = time.Since(start)
	return w, err
}

// insertOne writes an event such as insertEvents writes, as an application does, and cheaply: it runs beside what is measured.
func insertOne(ctx context.Context, conn *pgx.Conn, s scenario, n int, xid *uint32) error {
	const insert = "INSERT INTO outbox (id, type, key, payload) VALUES ($1, 'order.created', $2, $3) RETURNING xmin"
	key := n % s.keys
	note := strings.Repeat("x", s.payload-60)
	return conn.QueryRow(ctx, insert, fmt.Sprintf("00000000-0000-4000-8000-%012x", n), fmt.Sprintf("order-%d", key),
		fmt.Sprintf(`{"order": %d, "customer": "c-%d", "note": "%s"}`, n, key, note)).Scan(xid)
}

// latencies returns, in ascending order, the time from each event's commit to its receipt at each endpoint, but for the
// first tenth, in which connections are made. Transactions are asked for, as a poller has deleted the rows.
func latencies(ctx context.Context, db *pgx.Conn, r *receiver, xids []uint32) ([]time.Duration, error) {
	rows, err := db.Query(ctx, `SELECT pg_xact_commit_timestamp(xid::text::xid)
		FROM unnest($1::bigint[]) WITH ORDINALITY AS t (xid, n) ORDER BY n`, xids)
	if err != nil {
		return nil, err
	}
	committed, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, fmt.Errorf("ask when transactions committed: %w", err)
	}
	var all []time.Duration
	for n := len(committed) / 10; n < len(committed); n++ {
		for endpoint := range r.times {
			all = append(all, time.Unix(0, r.times[endpoint][n].Load()).Sub(committed[n]))
		}
	}
	slices.Sort(all)
	return all, nil
}
