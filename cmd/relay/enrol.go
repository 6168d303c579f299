package main

import (
	"context"
	"fmt"
	"maps"

	"relay/delivery"
	"relay/mapping"
)

// enrol has the saved positions follow the file when a tenure begins: an endpoint that is new starts at now, also if this
// process dies before it saved anything; one that was taken out starts at now too should it ever come back, and not where
// it was left, months ago perhaps.
func (t *tenure) enrol(ctx context.Context, cfg *mapping.Config, states map[string]delivery.EndpointState) error {
	added := make(map[string]mapping.Position)
	for _, ep := range cfg.Endpoints {
		if _, known := t.saved[ep.Name]; !known && len(t.saved) > 0 {
			added[ep.Name] = states[ep.Name].Position
		}
	}
	t.mu.Lock()
	t.tried = added
	err := t.relay.store.SavePositions(ctx, t.origin, added)
	if err == nil {
		maps.Copy(t.saved, added)
	}
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return t.strike(ctx, cfg)
}

// strike forgets the positions of endpoints that are not in the file. It does not wait for what such an endpoint has in
// memory: that is parked, and keeps the slot where it is until then.
func (t *tenure) strike(ctx context.Context, cfg *mapping.Config) error {
	t.mu.Lock() // a save in between would bring them back
	defer t.mu.Unlock()
	var gone []string
	for name := range t.saved {
		if cfg.Endpoint(name) == nil {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := t.relay.store.DeletePositions(ctx, gone...); err != nil {
		return fmt.Errorf("forget endpoints that are not in %s: %w", cfg.File, err)
	}
	for _, name := range gone {
		delete(t.saved, name)
	}
	return nil
}
