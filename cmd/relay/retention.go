package main

import (
	"context"
	"time"

	"relay/cdc"
	"relay/delivery/park"
	"relay/mapping"
)

// Rhythms of retention: how often a horizon is taken, as a part of the shortest retention and within limits, how long at
// least between two sweeps that look only for what is no longer parked, and between two batches.
const (
	horizonPart  = 20
	horizonMin   = 500 * time.Millisecond
	horizonMax   = time.Hour
	horizonLost  = 5 * time.Second // what on_slot_lost: recreate sends twice at least
	resweepMin   = 5 * time.Second
	erasePause   = 10 * time.Millisecond
	retainPause  = time.Second // at most this long until a horizon that has become old enough is noticed
	retainGiveUp = 30 * time.Second
)

// retainer deletes rows of outbox tables that have a retention, that long after they were settled for every endpoint. Which
// those are park.TakeHorizon explains. It works beside the stream, in small transactions, with a pause of at least their own
// length between them, and only while the stream is in order.
type retainer struct {
	tenure *tenure
	tables []keptTable
	every  time.Duration // between horizons
	most   time.Duration // longest retention

	seen  int64        // rows read by the stream when the last horizon was taken
	goal  int64        // XID that a horizon has to reach to cover what was seen
	last  park.Horizon // that was kept
	taken time.Time

	outboxes []park.Outbox // all of them, to count what is inserted
	remade   int           // how often the slot was made anew by somebody, as far as is noted
}

// keptTable is a table with a retention.
type keptTable struct {
	park.Outbox
	retention time.Duration
	xid       int64 // of the last sweep
	swept     time.Time
	parked    bool // something was, when it began
}

// newRetainer returns nil if no table has a retention, and no slot is to be made anew from the last horizon.
func newRetainer(t *tenure, src *mapping.Source) *retainer {
	r := &retainer{tenure: t, seen: -1, outboxes: outboxesOf(src)}
	shortest := time.Duration(0)
	for _, table := range src.Tables {
		if table.Retention <= 0 {
			continue
		}
		r.tables = append(r.tables, keptTable{
			Outbox: park.Outbox{Schema: table.Schema, Name: table.Name, ID: table.Columns.ID}, retention: table.Retention,
		})
		r.most = max(r.most, table.Retention)
		if shortest == 0 || table.Retention < shortest {
			shortest = table.Retention
		}
	}
	recreate := src.OnSlotLost == mapping.SlotLostRecreate
	if len(r.tables) == 0 && !recreate {
		return nil
	}
	r.every = min(max(shortest/horizonPart, horizonMin), horizonMax)
	if recreate {
		r.every = min(r.every, horizonLost)
		if len(r.tables) == 0 {
			r.every = horizonLost
		}
	}
	return r
}

func outboxesOf(src *mapping.Source) []park.Outbox {
	all := make([]park.Outbox, len(src.Tables))
	for i, table := range src.Tables {
		all[i] = park.Outbox{Schema: table.Schema, Name: table.Name, ID: table.Columns.ID}
	}
	return all
}

// retain runs until ctx is done.
func (t *tenure) retain(ctx context.Context) {
	r := newRetainer(t, &t.relay.cfg.Load().Source)
	if r == nil {
		return
	}
	tick := time.NewTicker(min(r.every, retainPause))
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if t.stream.Status().State != cdc.StateStreaming {
			continue // away, lost, or another's: what is settled stays so, and can wait
		}
		err := r.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			t.relay.log.Warn("retention does not delete rows, retrying", "err", err)
		}
	}
}

// round takes and settles horizons, and deletes what has become old enough.
func (r *retainer) round(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, retainGiveUp)
	defer cancel()
	if err := r.horizons(asking); err != nil {
		return err
	}
	for i := range r.tables {
		if err := r.table(ctx, &r.tables[i]); err != nil {
			return err
		}
	}
	return nil
}

// horizons takes one if there is something new for it to cover: an idle relay writes nothing.
func (r *retainer) horizons(ctx context.Context) error {
	t, store := r.tenure, r.tenure.relay.store
	durable := mapping.Place{Commit: t.mark.Durable()} // first: what it passes because the slot was made anew shows in Remade
	if err := r.gap(ctx); err != nil {
		return err
	}
	if seen := t.pump.seen.Load(); time.Since(r.taken) >= r.every && (seen != r.seen || r.last.XID < r.goal) {
		if err := store.CloseGap(ctx); err != nil { // of a setup, or of gap below; there is a slot by now
			return err
		}
		h, err := store.TakeHorizon(ctx, t.origin, r.last.XID, r.outboxes...)
		if err != nil {
			return err
		}
		if seen != r.seen {
			r.seen, r.goal = seen, h.Next
		}
		r.last.XID, r.taken = max(r.last.XID, h.XID), time.Now()
		if err := store.PruneHorizons(ctx, t.origin, r.most); err != nil {
			return err
		}
	}
	return store.SettleHorizons(ctx, t.origin, durable)
}

// gap notes what lies before a slot that somebody made while relay runs.
func (r *retainer) gap(ctx context.Context) error {
	t, store := r.tenure, r.tenure.relay.store
	if remade := t.stream.Status().Remade; remade != r.remade {
		if err := store.OpenGap(ctx, t.origin.System); err != nil {
			return err
		}
		r.remade, r.seen, r.last = remade, -1, park.Horizon{}
	}
	return nil
}

// table sweeps one if there may be something to delete since the last sweep.
func (r *retainer) table(ctx context.Context, k *keptTable) error {
	t, store := r.tenure, r.tenure.relay.store
	xid, err := store.SettledFor(ctx, t.origin, k.retention)
	if err != nil || xid == 0 {
		return err
	}
	if xid == k.xid {
		if time.Since(k.swept) < max(r.every, resweepMin) {
			return nil
		}
		if !k.parked && time.Since(k.swept) < horizonMax {
			return nil
		}
	}
	parked, err := store.AnyParked(ctx) // before the sweep: what is discarded during or after it is for the next
	if err != nil {
		return err
	}
	n, err := r.sweep(ctx, k.Outbox, xid)
	if n > 0 {
		t.relay.log.Debug("deleted settled rows", "table", k.Schema+"."+k.Name, "rows", n)
	}
	if err != nil {
		return err
	}
	k.xid, k.swept, k.parked = xid, time.Now(), parked
	return nil
}

func (r *retainer) sweep(ctx context.Context, outbox park.Outbox, xid int64) (total int64, err error) {
	store := r.tenure.relay.store
	blocks, err := store.Blocks(ctx, outbox)
	if err != nil {
		return 0, err
	}
	for block := int64(0); block < blocks; {
		began := time.Now()
		n, more, err := store.Erase(ctx, outbox, xid, block)
		if err != nil {
			return total, err
		}
		total += n
		if !more {
			block += park.Stretch
		}
		if n == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return total, ctx.Err()
		case <-time.After(max(erasePause, time.Since(began))):
		}
	}
	return total, nil
}
