package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relay/cdc"
	"relay/internal/failpoint"
	"relay/mapping"
)

// Rhythms of a lost slot: how often a tenure looks whether its slot is lost, and how long what is parked drains on before
// making another is tried again.
const (
	slotLookout   = 500 * time.Millisecond
	recreateRetry = time.Minute
)

// slotLost returns a channel that is closed when the stream says that its slot is lost and the configuration asks for
// another.
func (t *tenure) slotLost(ctx context.Context) <-chan struct{} {
	if t.relay.cfg.Load().Source.OnSlotLost != mapping.SlotLostRecreate || t.unmade.forGood {
		return nil
	}
	rest := time.Duration(0)
	if t.unmade.why != "" {
		rest = recreateRetry
	}
	gone := make(chan struct{})
	go func() {
		began := time.Now()
		tick := time.NewTicker(slotLookout)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if cdc.SlotLost(t.stream.Status().Err) && time.Since(began) >= rest {
				close(gone)
				return
			}
		}
	}()
	return gone
}

// unmade says why a lost slot is not made anew.
type unmade struct {
	why     string // empty: it is not lost, or it was
	forGood bool   // trying again does not help
}

// recreate makes a slot in the place of one that is lost (source.on_slot_lost: recreate), and queues the rows again that are
// still in the outbox and were not known to be settled: those of the transactions since the last settled horizon, see
// park.TakeHorizon. Nothing is delivered meanwhile: this process holds the lock and has no tenure yet. Killed half-way
// it starts over. If it cannot be done now, the tenure begins without: what is parked drains on.
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
		t.unmade = unmade{"the slot is lost, and is not made anew because it is not known up to where rows were delivered: " + lost.Error(), true}
		r.log.Error("slot is not made anew: it is not known up to where rows were delivered", "err", lost)
		return nil
	}
	r.phase.Store(&phase{why: "the slot is lost, making another"})
	r.log.Warn("slot is lost, making another and sending again what is in the outbox since the last known position", "err", lost)
	e := &existing{cfg: cfg, store: r.store, router: mapping.NewRouter(cfg), now: time.Now(), lost: true, origin: t.origin, since: since}
	src.Existing = e.wish()
	src.Existing.Condition = cdc.SinceXID(since)
	err = cdc.Recreate(ctx, src)
	if e.begun != nil {
		e.begun.Close(context.Background())
	}
	switch {
	case err != nil && e.begun == nil && ctx.Err() == nil: // nothing was queued yet
		t.unmade = unmade{why: "the slot is lost, and another cannot be made yet: " + err.Error()}
		r.log.Error("slot is not made anew yet, what is parked drains on", "err", err, "retry", recreateRetry.String())
		return nil
	case err != nil:
		return errors.Join(fmt.Errorf("make the slot anew: %w", err), lost)
	}
	failpoint.Hit("remade")
	if err := r.store.EndExisting(ctx, cfg.Source.Slot); err != nil {
		return err
	}
	t.sayRemade(e)
	return nil
}

// sayRemade tells what was queued again, and what may be missing: rows that were inserted and are not there any more.
func (t *tenure) sayRemade(e *existing) {
	log := t.relay.log.With("rows", e.rows, "deliveries", e.total)
	switch gone := e.inserted - int64(e.rows); {
	case !e.counted:
		log.Warn("slot was made anew; some of these may have been delivered before; how many rows were deleted from the outbox meanwhile, and may be missing, is not known",
			"may_be_missing", "unknown")
	case gone > 0:
		log.Warn("slot was made anew; some of these may have been delivered before, and rows that were deleted from the outbox before they were delivered are missing",
			"may_be_missing", gone)
	default:
		log.Warn("slot was made anew; some of these may have been delivered before, and by the server's statistics no row is missing", "may_be_missing", 0)
	}
	if len(e.cfg.Source.Messages) > 0 {
		t.relay.log.Warn("logical messages that were emitted before the slot was made anew and were not delivered are missing")
	}
}
