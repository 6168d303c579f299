package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// pollerCommand makes this program the poller instead of the benchmark.
const pollerCommand = "poll"

// What a user's own relay would be like.
const (
	pollBatch    = 500
	pollInFlight = 64
	pollPause    = 50 * time.Millisecond // when there was less than a batch
)

// poller is what one writes instead of relay: take a batch of the oldest rows, so locked that a second poller takes others,
// post them, delete them, commit. It keeps no order of keys, and one slow endpoint holds up the batch.
type poller struct {
	conn     *pgx.Conn
	standard bool
	posters  []poster // one for each endpoint
}

func runPoller(ctx context.Context, config string) error {
	defer sayMallocs()
	var cfg pipeConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	cfg.Concurrency = pollInFlight
	conn, err := pgx.Connect(ctx, cfg.URL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what it committed counts
	p := &poller{conn: conn, standard: cfg.Format == "standard"}
	for _, endpoint := range cfg.Endpoints {
		posters, err := newPosters(&cfg, endpoint)
		if err != nil {
			return err
		}
		p.posters = append(p.posters, posters[0])
	}
	for ctx.Err() == nil {
		n, err := p.batch(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if n < pollBatch {
			select {
			case <-ctx.Done():
			case <-time.After(pollPause):
			}
		}
	}
	return nil
}

const pollRows = `SELECT id::text, type, key, payload, created_at::text FROM outbox
	ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED`

// batch delivers the oldest rows and returns how many.
func (p *poller) batch(ctx context.Context) (n int, err error) {
	err = pgx.BeginFunc(ctx, p.conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, pollRows, pollBatch)
		if err != nil {
			return err
		}
		posts, ids := []*post{}, []string{}
		var id, kind, key, created string
		var payload []byte // a new one for each row
		_, err = pgx.ForEachRow(rows, []any{&id, &kind, &key, &payload, &created}, func() error {
			if p.standard {
				payload = envelope([]byte(kind), []byte(created), payload)
			}
			posts, ids = append(posts, &post{id: id, key: key, body: payload}), append(ids, id)
			payload = nil
			return nil
		})
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		if n = len(posts); n == 0 {
			return nil
		}
		if err := p.post(posts); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM outbox WHERE id = ANY($1::uuid[])", ids)
		return err
	})
	return n, err
}

func (p *poller) post(posts []*post) error {
	var group errgroup.Group
	group.SetLimit(pollInFlight)
	for _, e := range posts {
		for _, to := range p.posters {
			group.Go(func() error { return to.post(e) })
		}
	}
	return group.Wait()
}
