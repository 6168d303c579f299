package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"relay/cdc"
	"relay/delivery"
	"relay/delivery/park"
	"relay/internal/failpoint"
	"relay/mapping"
)

// Rhythms of a tenure.
const (
	saveEvery   = time.Second
	saveTimeout = 5 * time.Second
)

// tenure is the time in which this process holds the lock, and so is the only one that delivers. It ends with the process,
// or when the lock was lost and somebody else delivered meanwhile.
type tenure struct {
	relay      *sidecar
	origin     park.Origin
	dispatcher *delivery.Dispatcher
	pump       *pump
	mark       *cdc.Watermark
	stream     *cdc.Stream
	lookout    *lookout
	unmade     unmade // of begin

	prepared *mapping.Config // what the parts were built from

	lease     atomic.Pointer[park.Lease]
	suspended atomic.Bool // the lease was lost, and is waited for

	mu    sync.Mutex
	saved map[string]mapping.Position // as the table has them
	tried map[string]mapping.Position // as it may have them, where a save ended with an error
}

// begin waits until this process may deliver and prepares a tenure from what the last one left.
func (r *sidecar) begin(ctx context.Context) (*tenure, error) {
	src := &r.cfg.Load().Source
	system, err := cdc.Identify(ctx, src.URL)
	if err != nil {
		return nil, err
	}
	if err := r.store.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("prepare the relay's own tables: %w", err)
	}
	r.phase.Store(&phase{why: "beginning"})
	lease, err := r.store.Lock(ctx, func() {
		r.phase.Store(&phase{standby: true, why: "standing by: another relay delivers from this database"})
	})
	if err != nil {
		return nil, err
	}
	r.phase.Store(&phase{why: "beginning"}) // nobody stands by who has the lock
	t := &tenure{relay: r, origin: park.Origin{System: system, Slot: src.Slot}}
	t.lease.Store(lease)
	if err := t.settleIn(ctx); err != nil {
		lease.Release()
		return nil, err
	}
	return t, nil
}

// settleIn does what is done with the lock and before anything is delivered.
func (t *tenure) settleIn(ctx context.Context) error {
	lease := t.lease.Load()
	if lease.Server.System != t.origin.System {
		return errors.New("the server is another one than a moment ago")
	}
	if err := lease.Arm(); err != nil {
		return err
	}
	adopted, err := t.relay.store.Adopt(ctx, t.origin)
	if err != nil {
		return err
	}
	if adopted {
		t.relay.log.Warn("the tables come from another database cluster: what is parked is kept, how far endpoints were there is not applied, "+
			"and delivery begins where the slot stands", "system", t.origin.System)
	}
	if err := t.recreate(ctx); err != nil {
		return err
	}
	return t.prepare(ctx)
}

// prepare builds the parts from what is saved.
func (t *tenure) prepare(ctx context.Context) error {
	r := t.relay
	positions, err := r.store.LoadPositions(ctx, t.origin)
	if err != nil {
		return err
	}
	t.saved = maps.Clone(positions)
	states, err := t.endpointStates(ctx)
	if err != nil {
		return err
	}
	var cfg *mapping.Config
	var start cdc.LSN
	for cfg != r.cfg.Load() { // it may be replaced while the database is asked
		cfg = r.cfg.Load()
		if start, err = t.resume(ctx, cfg, positions, states); err != nil {
			return err
		}
		if err := t.enrol(ctx, cfg, states); err != nil {
			return err
		}
	}
	t.prepared = cfg
	t.dispatcher, err = delivery.NewDispatcher(delivery.Config{
		Parker: r.store, Window: cfg.Source.Window, Hold: cfg.Source.Hold,
		Metrics: r.metrics.delivery, Log: r.log, NewSender: t.newSender,
	}, cfg.Endpoints, states)
	if err != nil {
		return err
	}
	t.pump = newPump(mapping.NewRouter(cfg), t.dispatcher, r.metrics.rows)
	t.mark = cdc.NewWatermark(0)
	t.stream = cdc.NewStream(cdc.StreamConfig{
		URL: cfg.Source.URL, Slot: cfg.Source.Slot, Publication: cfg.Source.Publication,
		Tables: tableNames(cfg), Messages: cfg.Source.Messages, Start: start, Logger: r.log,
		System: t.origin.System, Timeline: t.lease.Load().Server.Timeline, Exclusive: true,
	}, t.mark, t.pump)
	t.lookout = newLookout(sourceOf(cfg), r.log)
	return nil
}

func tableNames(cfg *mapping.Config) []string {
	var names []string
	for _, t := range cfg.Source.Tables {
		names = append(names, cdc.QualifiedName(t.Schema, t.Name))
	}
	return names
}

// endpointStates returns what is known of the endpoints from before, but their positions.
func (t *tenure) endpointStates(ctx context.Context) (map[string]delivery.EndpointState, error) {
	known, err := t.relay.store.LoadEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	states := make(map[string]delivery.EndpointState, len(known))
	for name, e := range known {
		state := delivery.EndpointState{Paused: e.Paused, Gone: e.Gone}
		if !e.OpenUntil.IsZero() {
			state.Breaker = delivery.BreakerStatus{State: delivery.BreakerOpen, RetryAt: e.OpenUntil, OpenFor: e.OpenTime}
		}
		states[name] = state
	}
	return states, nil
}

// run lives through the tenure. When ctx is done it stops softly: reading ends, attempts under way finish, the rest is
// parked, positions are saved, the slot is confirmed.
func (t *tenure) run(ctx context.Context) error {
	defer func() { t.lease.Load().Release() }() // the last one: regain takes others
	r := t.relay
	background, end := context.WithCancel(context.Background())
	var helpers sync.WaitGroup
	helpers.Go(func() { t.savePositions(background) })
	helpers.Go(func() { t.listen(background) })
	helpers.Go(func() { t.retain(background) })
	helpers.Go(func() { t.lookout.run(background) })
	streaming, endStream := context.WithCancel(context.Background())
	streamed := make(chan struct{}) // closed when streamErr is set
	var streamErr error
	go func() {
		defer close(streamed)
		streamErr = t.stream.Run(streaming)
	}()
	defer func() { // before the lock is released
		end()
		helpers.Wait()
		endStream()
		<-streamed
	}()

	slotLost, promoted, again := t.slotLost(background), t.promoted(background), false
	for ctx.Err() == nil && !again {
		select {
		case <-ctx.Done():
		case <-slotLost:
			again = true // what is in memory is parked below, and the next tenure begins with another slot
		case <-promoted:
			return t.abandon(t.stream.Status().Err)
		case <-t.lease.Load().Lost():
			if err := t.regain(ctx); err != nil {
				return t.abandon(err)
			}
		}
	}

	r.log.Info("stopping", "timeout", r.cfg.Load().ShutdownTimeout)
	t.stream.Pause()
	t.pump.close()
	limit, cancel := context.WithTimeout(context.Background(), r.cfg.Load().ShutdownTimeout)
	defer cancel()
	if err := t.dispatcher.Stop(limit); err != nil {
		r.log.Warn("stopped with work left", "err", err)
	}
	end()
	helpers.Wait()
	t.saveNow()
	endStream()
	<-streamed
	if streamErr != nil {
		r.log.Warn("last confirmation may not have arrived", "err", streamErr)
	}
	r.log.Info("stopped")
	return nil
}

// unmoved reports whether the positions are as this process saved them, or as it tried to without hearing the answer.
func (t *tenure) unmoved(ctx context.Context) (bool, error) {
	t.mu.Lock() // over the query too: a save in between would be taken for somebody else's
	defer t.mu.Unlock()
	positions, err := t.relay.store.LoadPositions(ctx, t.origin)
	if err != nil {
		return false, err
	}
	cfg := t.relay.cfg.Load()
	for name := range t.saved {
		if _, there := positions[name]; !there && cfg.Endpoint(name) != nil {
			return false, nil
		}
	}
	for name, p := range positions {
		if cfg.Endpoint(name) == nil {
			continue // on its way out: see strike
		}
		was, known := t.saved[name]
		tried, unsure := t.tried[name]
		if !(known && p.Equal(was)) && !(unsure && p.Equal(tried)) {
			return false, nil
		}
	}
	return true, nil
}

// savePositions saves what moved, about once a second.
func (t *tenure) savePositions(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := t.save(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			t.relay.log.Warn("positions not saved, retrying", "err", err)
		}
		failing = err != nil
	}
}

// save writes the positions that moved. What they call settled is durable by the time they are taken: a position is
// never ahead.
func (t *tenure) save(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	moved := make(map[string]mapping.Position)
	for name, p := range t.dispatcher.Positions() {
		if was, known := t.saved[name]; !known || !was.Equal(p) {
			moved[name] = p
		}
	}
	if len(moved) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	t.tried = moved
	if err := t.relay.store.SavePositions(ctx, t.origin, moved); err != nil {
		return err
	}
	failpoint.Hit("saved")
	maps.Copy(t.saved, moved)
	return nil
}

func (t *tenure) saveNow() {
	if err := t.save(context.Background()); err != nil {
		t.relay.log.Warn("positions not saved, what was delivered last may be sent again", "err", err)
	}
}

// listen takes in what commands change while the relay runs.
func (t *tenure) listen(ctx context.Context) {
	err := t.relay.store.Listen(ctx, func(endpoint string) {
		states, err := t.endpointStates(ctx)
		if err != nil {
			return // Listen calls again when it has connected anew
		}
		for _, ep := range t.relay.cfg.Load().Endpoints {
			if endpoint == "" || endpoint == ep.Name {
				t.dispatcher.Notify(ep.Name, states[ep.Name])
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		t.relay.log.Warn("not notified of changes by commands", "err", err)
	}
}

func (t *tenure) reload(cfg *mapping.Config) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	states, err := t.endpointStates(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.returning(ctx, cfg, states); err != nil {
		return nil, err
	}
	changes, err := t.pump.reload(cfg, states)
	if err != nil {
		return nil, err
	}
	if err := t.strike(ctx, cfg); err != nil {
		t.relay.log.Warn("positions not tidied up, the next start does it", "err", err)
	}
	return changes, nil
}
