package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"relay/delivery/park"
	"relay/mapping"
)

// checkTables looks at the relay's own tables: whether they are there and of this relay's version, and what is parked in
// them for endpoints that were taken out of the file. That there is no connection, cdc has reported.
func checkTables(ctx context.Context, cfg *mapping.Config) []finding {
	store, err := park.Open(ctx, cfg.Source.URL, cfg.Source.Schema, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil
	}
	defer store.Close()
	version, err := store.Version(ctx)
	if err != nil && !errors.As(err, new(*park.DeniedError)) {
		return nil
	}
	f := checkVersion(version, err)
	f.Subject = "schema " + cfg.Source.Schema
	found := []finding{f}
	if f.Level != levelOK {
		return found
	}
	counts, err := store.Counts(ctx)
	if err != nil {
		return []finding{{
			Level: levelError, Subject: f.Subject, Problem: "the relay's own tables cannot be read: " + err.Error(),
			Remedy: "have a DBA run what relay setup --print prints",
		}}
	}
	return append(found, leftOver(cfg, counts)...)
}

// checkVersion judges the version of the relay's own tables, or the error of asking for it.
func checkVersion(version int, err error) finding {
	ours := park.Version()
	switch {
	case err != nil:
		return finding{Level: levelError, Problem: err.Error(), Remedy: "have a DBA run what relay setup --print prints"}
	case version == 0:
		return finding{
			Level: levelWarning, Problem: "holds no tables of relay's, in which it parks what an endpoint does not take",
			Remedy: "relay setup; relay run does it too, where its role may",
		}
	case version < ours:
		return finding{
			Level: levelWarning, Problem: fmt.Sprintf("holds relay's tables of version %d, and this relay wants %d", version, ours),
			Remedy: "relay setup; relay run does it too, where its role may",
		}
	case version > ours:
		return finding{
			Level: levelError, Problem: fmt.Sprintf("holds relay's tables of version %d, and this relay knows versions up to %d", version, ours),
			Remedy: "run the newer relay, or give this one another source.schema",
		}
	}
	return finding{Level: levelOK, Problem: fmt.Sprintf("holds relay's tables, version %d", version)}
}

// leftOver says what is parked for endpoints that are not in the file.
func leftOver(cfg *mapping.Config, counts map[string]park.Count) []finding {
	var found []finding
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name].Waiting + counts[name].Dead; n > 0 && cfg.Endpoint(name) == nil {
			found = append(found, finding{
				Level: levelWarning, Subject: "endpoint " + name,
				Problem: fmt.Sprintf("not in %s any more, with %s parked", cfg.File, count(int(n), "delivery", "deliveries")),
				Remedy:  "put it back, or: relay discard --endpoint " + name,
			})
		}
	}
	return found
}
