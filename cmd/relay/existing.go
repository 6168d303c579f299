package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"relay/cdc"
	"relay/delivery"
	"relay/delivery/park"
	"relay/internal/failpoint"
	"relay/mapping"
)

// existing parks the rows that are there when the slot is made (source.existing). A relay that runs later sends them
// before the live ones.
type existing struct {
	cfg    *mapping.Config
	store  *park.Store
	router *mapping.Router
	begun  *park.Existing // nil: there was a slot already
	now    time.Time

	lost     bool        // a slot was lost: after what is parked, and not what is parked
	origin   park.Origin // of the lost slot
	since    int64       // XID of its last settled horizon
	inserted int64       // rows since then, those that are not there any more included
	counted  bool        // inserted is known

	batch []delivery.Parked
	size  int
	rows  int
	total int // deliveries
}

func newExisting(cfg *mapping.Config) (*existing, error) {
	store, err := park.Open(context.Background(), cfg.Source.URL, cfg.Source.Schema, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &existing{cfg: cfg, store: store, router: mapping.NewRouter(cfg), now: time.Now()}, nil
}

// wish is what Setup is asked for.
func (e *existing) wish() *cdc.Existing {
	w := &cdc.Existing{Begin: e.begin, Each: e.row, End: e.flush}
	if e.cfg.Source.Existing != mapping.ExistingSend {
		w.Condition = e.cfg.Source.Existing
	}
	return w
}

func (e *existing) begin(ctx context.Context, point cdc.LSN) (err error) {
	var before mapping.Place
	if e.lost {
		before.Commit = point
		if e.inserted, e.counted, err = e.store.InsertedSince(ctx, e.origin, e.since, outboxesOf(&e.cfg.Source)...); err != nil {
			return err
		}
	}
	if err := e.forget(ctx); err != nil {
		return err
	}
	if err := e.order(ctx); err != nil {
		return err
	}
	e.begun, err = e.store.BeginExisting(ctx, e.cfg.Source.Slot, before)
	return err
}

// order notes by which order the deliveries are queued: the relay that begins may have read another file.
func (e *existing) order(ctx context.Context) error {
	for _, ep := range e.cfg.Endpoints {
		if err := e.store.Order(ctx, ep.Name, ep.Order); err != nil {
			return err
		}
	}
	return nil
}

// forget has retention know that a slot is about to be made. A condition keeps rows out, which nothing sends: they, and with
// them those that are queued, as nothing tells these apart once they were sent, are left alone. Where all are queued, or
// all since the last settled horizon, it is enough not to take for settled what is older than the slot.
func (e *existing) forget(ctx context.Context) error {
	if e.lost || e.cfg.Source.Existing == mapping.ExistingSend {
		return e.store.ForgetHorizons(ctx)
	}
	system, err := cdc.Identify(ctx, e.cfg.Source.URL)
	if err != nil {
		return err
	}
	return e.store.OpenGap(ctx, system)
}

func (e *existing) close() {
	if e.begun != nil {
		e.begun.Close(context.Background())
	}
	e.store.Close()
}

// row parks one for every endpoint that it is for, dead where it cannot be sent, as the stream would have.
func (e *existing) row(row *cdc.Row) error {
	ev, err := e.router.Event(row)
	if err != nil || ev == nil {
		return err
	}
	ev.Place = e.begun.Place(uint32(e.rows))
	e.rows++
	for _, target := range e.router.Route(ev) {
		p := delivery.Parked{Endpoint: target.Endpoint.Name, Event: ev, State: delivery.Waiting, Since: e.now, Err: ev.Problem}
		if target.Err != nil {
			p.Err = target.Err.Error()
		}
		if p.Err != "" {
			p.State = delivery.Dead
		}
		p.Lane, p.Ordered = delivery.LaneKey(target.Endpoint.Order, ev)
		e.batch = append(e.batch, p)
	}
	e.size += row.Size()
	if len(e.batch) < replayBatch && e.size < replayBytes {
		return nil
	}
	return e.flush(context.Background())
}

func (e *existing) flush(ctx context.Context) error {
	batch := e.batch
	if e.lost {
		var err error
		if batch, err = e.begun.Lacking(ctx, batch); err != nil {
			return err
		}
	}
	if err := e.begun.Add(ctx, batch); err != nil {
		return err
	}
	failpoint.Hit("requeued")
	e.total += len(batch)
	e.batch, e.size = e.batch[:0], 0
	return nil
}

// setUpWithExisting is cdc.Setup where existing rows are sent. The relay's own tables come first, to park them in.
func setUpWithExisting(ctx context.Context, cfg *mapping.Config) ([]string, error) {
	step, err := migrate(ctx, &cfg.Source)
	if err != nil {
		return nil, err
	}
	e, err := newExisting(cfg)
	if err != nil {
		return nil, err
	}
	defer e.close()
	src := sourceOf(cfg)
	src.Existing = e.wish()
	done, err := cdc.Setup(ctx, src)
	if step != "" {
		done = append([]string{step}, done...)
	}
	if err != nil {
		return done, err
	}
	if e.begun != nil {
		done = append(done, fmt.Sprintf("queued %s of %s that were there before the slot (source.existing)",
			count(e.total, "delivery", "deliveries"), count(e.rows, "row", "rows")))
	}
	if err := e.store.EndExisting(ctx, cfg.Source.Slot); err != nil {
		return done, err
	}
	return done, e.store.CloseGap(ctx) // there is a slot, whoever made it
}
