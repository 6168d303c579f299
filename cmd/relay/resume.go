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
	own, err := t.relay.store.Reconcile(ctx, t.origin, own)
	if err != nil {
		return 0, err
	}
	start := now
	for name, p := range own {
		state := states[name]
		state.Position = p
		states[name] = state
		if p.Least().Before(start) {
			start = p.Least()
		}
	}
	return start.Commit, nil
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
	added, err := t.relay.store.Reconcile(ctx, t.origin, added)
	if err != nil {
		return err
	}
	for name, p := range added {
		state := states[name]
		state.Position = p
		states[name] = state
	}
	return nil
}
