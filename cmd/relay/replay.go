package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"relay/cdc"
	"relay/delivery"
	"relay/delivery/park"
	"relay/mapping"
)

// How many deliveries of a replay are parked in one transaction: as many as take about so many bytes.
const (
	replayBatch = 1000
	replayBytes = 4 << 20
)

// replayed is what a replay came to.
type replayed struct {
	Queued  int64  `json:"queued"`
	Skipped int64  `json:"skipped"`          // not of --type, or not what the endpoint is subscribed to
	Failed  int64  `json:"failed,omitempty"` // cannot be sent, as when they were new
	Reason  string `json:"reason,omitempty"` // why, of the first that cannot
}

func newReplayCommand(c *console) *cobra.Command {
	r := &replay{}
	cmd := &cobra.Command{
		Use:   "replay --endpoint ENDPOINT --since TIME",
		Short: "Send rows that are still in the outbox table again",
		Long: `Reads rows that are still in the outbox tables again, by their time column, and queues those that the
endpoint is subscribed to as parked deliveries, in order of their time. A running relay delivers them at once, another one when it
starts. They carry the same webhook-id as the first time.

Rows that the application, or retention, has deleted are gone, and so are logical messages.`,
		Example: `  relay replay --endpoint billing --since 24h
  relay replay --endpoint search --since 2026-01-31T18:00:00Z --until 2026-01-31T19:00:00Z --type 'order.*'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !r.until.IsZero() && !r.since.Before(r.until.Time) {
				return usagef("--until %s is not after --since %s", &r.until, &r.since)
			}
			return withStore(cmd.Context(), c, func(cfg *mapping.Config, store *park.Store) error {
				return r.run(cmd.Context(), c, cfg, store)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.endpoint, "endpoint", "", "the `endpoint` to send them to")
	f.Var(&r.since, "since", "rows since: RFC 3339, or an age such as 24h")
	f.Var(&r.until, "until", "rows before: RFC 3339, or an age such as 1h")
	f.StringVar((*string)(&r.typ), "type", "", "only this event `type`; * stands for any run of characters")
	f.BoolVarP(&r.assent, "yes", "y", false, "do not ask")
	must(cmd.MarkFlagRequired("endpoint"))
	must(cmd.MarkFlagRequired("since"))
	must(cmd.RegisterFlagCompletionFunc("endpoint", completeEndpoint(c)))
	return cmd
}

// replay is one run of the command.
type replay struct {
	endpoint     string
	since, until when
	typ          mapping.Pattern
	assent       bool

	source cdc.Source
	ep     *mapping.Endpoint
	router *mapping.Router
}

func (r *replay) run(ctx context.Context, c *console, cfg *mapping.Config, store *park.Store) error {
	if r.ep = cfg.Endpoint(r.endpoint); r.ep == nil {
		return unknownEndpoint(cfg, r.endpoint)
	}
	if len(cfg.Source.Tables) == 0 {
		return errors.New("source.tables is empty: logical messages are kept nowhere, so there is nothing to send again")
	}
	r.source, r.router = sourceOf(cfg), mapping.NewRouter(cfg)
	if err := r.ask(ctx, c); err != nil {
		return err
	}
	done, err := r.queue(ctx, store)
	if err != nil {
		return fmt.Errorf("replay to %s, after %s: %w", r.endpoint, count(int(done.Queued), "delivery was queued", "deliveries were queued"), err)
	}
	if c.json {
		return c.printJSON(done)
	}
	c.printf("queued %s for %s", count(int(done.Queued), "delivery", "deliveries"), r.endpoint)
	if done.Skipped > 0 {
		c.printf(", skipped %s, not of --type or not what it is subscribed to", count(int(done.Skipped), "row", "rows"))
	}
	c.printf("\n")
	if done.Failed > 0 {
		c.note("%s cannot be sent; the first: %s\n", count(int(done.Failed), "row", "rows"), done.Reason)
	}
	return nil
}

var errEnough = errors.New("enough")

// ask asks before more than one is queued. Only a person is told how many it would be, which takes reading all of them.
func (r *replay) ask(ctx context.Context, c *console) error {
	if r.assent {
		return nil
	}
	n := 0
	err := r.read(ctx, &replayed{}, func(*mapping.Event) error {
		n++
		if n > 1 && !c.interactive() {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || n < 2 {
		return err
	}
	if !c.interactive() {
		return c.confirm(ctx, "replay more than one row to "+r.endpoint, false)
	}
	return c.confirm(ctx, fmt.Sprintf("replay %s to %s", count(n, "row", "rows"), r.endpoint), false)
}

// read hands over the events that are for the endpoint, in order, and counts the other rows.
func (r *replay) read(ctx context.Context, done *replayed, each func(*mapping.Event) error) error {
	return cdc.Scan(ctx, r.source, cdc.Range{Since: r.since.Time, Until: r.until.Time}, func(row *cdc.Row) error {
		ev, err := r.router.Event(row)
		if err != nil {
			return err
		}
		wanted, err := r.wants(ev)
		switch {
		case err != nil: // it is a dead letter since it was new, and would be another
			if done.Failed++; done.Reason == "" {
				done.Reason = err.Error()
			}
			return nil
		case !wanted:
			done.Skipped++
			return nil
		}
		return each(ev)
	})
}

// wants reports whether an event is asked for and for the endpoint. An error says why it can be sent to nobody.
func (r *replay) wants(ev *mapping.Event) (bool, error) {
	if ev == nil || r.typ != "" && !r.typ.Match(ev.Type) {
		return false, nil
	}
	wanted, err := r.ep.Match(ev)
	if err == nil && wanted && ev.Problem != "" {
		err = errors.New(ev.Problem)
	}
	return wanted, err
}

// queue parks the events. Each transaction is told to a running relay, which begins with the first while the last are read.
func (r *replay) queue(ctx context.Context, store *park.Store) (replayed, error) {
	var done replayed
	if err := store.Order(ctx, r.ep.Name, r.ep.Order); err != nil { // the relay that begins may have read another file
		return done, err
	}
	var batch []delivery.Parked
	size := 0
	flush := func() error {
		if _, err := store.Add(ctx, batch); err != nil {
			return err
		}
		done.Queued += int64(len(batch))
		batch, size = batch[:0], 0
		return nil
	}
	now := time.Now()
	err := r.read(ctx, &done, func(ev *mapping.Event) error {
		p := delivery.Parked{Endpoint: r.ep.Name, Event: ev, State: delivery.Waiting, Since: now}
		p.Lane, p.Ordered = delivery.LaneKey(r.ep.Order, ev)
		batch = append(batch, p)
		for _, v := range ev.Values {
			size += len(v)
		}
		if len(batch) < replayBatch && size < replayBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return done, err
	}
	return done, flush()
}
