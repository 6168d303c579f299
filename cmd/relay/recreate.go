package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relay/cdc"
	"relay/mapping"
)

// slotLookout is how often a tenure looks whether its slot is lost.
const slotLookout = 500 * time.Millisecond

// slotLost returns a channel that is closed when the stream says that its slot is lost and the configuration asks for
// another.
func (t *tenure) slotLost(ctx context.Context) <-chan struct{} {
	if t.relay.cfg.Load().Source.OnSlotLost != mapping.SlotLostRecreate {
		return nil
	}
	gone := make(chan struct{})
	go func() {
		tick := time.NewTicker(slotLookout)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if cdc.SlotLost(t.stream.Status().Err) {
				close(gone)
				return
			}
		}
	}()
	return gone
}

// recreate makes a slot in the place of one that is lost (source.on_slot_lost: recreate), and queues the rows again that are
// still in the outbox and were not known to be settled: those of the transactions since the last settled horizon, see
// park.TakeHorizon. Nothing is delivered meanwhile: this process holds the lock and has no tenure yet. Killed half-way
// it starts over.
func (t *tenure) recreate(ctx context.Context) error {
	r, cfg := t.relay, t.relay.cfg.Load()
	if cfg.Source.OnSlotLost != mapping.SlotLostRecreate {
		return nil
	}
	src := sourceOf(cfg)
	lost := cdc.CheckSlot(ctx, src)
	if lost == nil {
		return r.store.EndExisting(ctx, cfg.Source.Slot)
	}
	if !cdc.SlotLost(lost) {
		return nil // the stream says so
	}
	since, err := r.store.SettledFor(ctx, t.origin, 0)
	if err != nil {
		return err
	}
	if since == 0 {
		r.log.Error("slot is not made anew: it is not known up to where rows were delivered", "err", lost)
		return nil
	}
	r.log.Warn("slot is lost, making another and sending again what is in the outbox since the last known position", "err", lost)
	e := &existing{cfg: cfg, store: r.store, router: mapping.NewRouter(cfg), now: time.Now(), lost: true}
	src.Existing = e.wish()
	src.Existing.Condition = cdc.SinceXID(since)
	err = cdc.Recreate(ctx, src)
	if e.begun != nil {
		e.begun.Close(context.Background())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make the slot anew: %w", err), lost)
	}
	if err := r.store.EndExisting(ctx, cfg.Source.Slot); err != nil {
		return err
	}
	r.log.Warn("slot was made anew; some of these may have been delivered before, and rows that were deleted from the outbox, and logical messages, may be missing",
		"rows", e.rows, "deliveries", e.total)
	return nil
}
