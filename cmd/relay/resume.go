package main

import (
	"context"

	"relay/cdc"
	"relay/delivery"
	"relay/mapping"
)

// resume gives each endpoint its position, and returns where the stream has to start for all of them. An endpoint that
// has none is new, and starts where the last relay stopped; if nothing was ever saved, all start where the slot stands.
func (t *tenure) resume(ctx context.Context, cfg *mapping.Config, positions map[string]mapping.Position, states map[string]delivery.EndpointState) (cdc.LSN, error) {
	var now mapping.Place
	for _, p := range positions {
		if now.Before(p.Mark) {
			now = p.Mark
		}
	}
	own := make(map[string]mapping.Position, len(cfg.Endpoints))
	for _, ep := range cfg.Endpoints {
		p, known := positions[ep.Name]
		if !known {
			p = mapping.Position{Mark: now}
		}
		own[ep.Name] = p
	}
	if err := t.reconcile(ctx, own, states); err != nil {
		return 0, err
	}
	start := now
	for name := range own {
		if least := states[name].Position.Least(); least.Before(start) {
			start = least
		}
	}
	return start.Commit, nil
}

// reconcile gives endpoints these positions, with what is parked as settled.
func (t *tenure) reconcile(ctx context.Context, positions map[string]mapping.Position, states map[string]delivery.EndpointState) error {
	positions, err := t.relay.store.Reconcile(ctx, t.origin, positions)
	for name, p := range positions {
		state := states[name]
		state.Position = p
		states[name] = state
	}
	return err
}

// returning gives endpoints that are to be added what is parked for them and the stream has yet to bring, from when they were in
// the file before.
func (t *tenure) returning(ctx context.Context, cfg *mapping.Config, states map[string]delivery.EndpointState) error {
	added := make(map[string]mapping.Position)
	for _, ep := range cfg.Endpoints {
		if !t.dispatcher.Has(ep.Name) {
			added[ep.Name] = mapping.Position{}
		}
	}
	if len(added) == 0 {
		return nil
	}
	return t.reconcile(ctx, added, states)
}
