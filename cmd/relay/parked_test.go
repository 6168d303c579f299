package main

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/delivery/park"
	"relay/mapping"
)

// parkFor parks one dead delivery for each endpoint named, as a lane would.
func parkFor(t *testing.T, cfg *mapping.Config, endpoints ...string) {
	t.Helper()
	store, err := park.Open(t.Context(), cfg.Source.URL, cfg.Source.Schema, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer store.Close()
	for i, name := range endpoints {
		_, err := store.Park(t.Context(), []delivery.Parked{{
			Endpoint: name, State: delivery.Dead, Attempts: 3, Status: 400, Err: "400 Bad Request \x1b[2J", Since: time.Now(),
			Event: &mapping.Event{
				ID: name + "-event", Type: "order.created", Key: "42", Keyed: true, Payload: []byte(`{"total": 99.90}`),
				Time: time.Now(), Place: mapping.Place{Commit: 100, Ordinal: uint32(i)}, CommitTime: time.Now(),
			},
		}})
		require.NoError(t, err)
	}
}

func TestParkedListsRetriesAndDiscards(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	cfg, err := mapping.Load(path)
	require.NoError(t, err)
	parkFor(t, cfg, "billing", "shipping", "shipping", "shipping")

	list := func(args ...string) []parkedDelivery {
		got := relayOut(t, append([]string{"parked", "--json", "-c", path}, args...)...)
		require.Zero(t, got.status, got.err)
		var all []parkedDelivery
		require.NoError(t, json.Unmarshal([]byte(got.out), &all), got.out)
		return all
	}
	all := list()
	require.Len(t, all, 4)
	require.Equal(t, "billing-event", all[0].EventID)
	require.Equal(t, "42", *all[0].Key)
	require.Equal(t, delivery.Dead, all[0].State)
	require.Equal(t, map[string]any{"total": 99.90}, all[0].Payload)
	require.Len(t, list("--endpoint", "shipping"), 3)
	require.Len(t, list("--event", "billing-event"), 1)
	require.Len(t, list("--dead", "--limit", "2"), 2)

	text := relayOut(t, "parked", "-c", path, "--endpoint", "billing")
	require.Contains(t, text.out, "order.created")
	require.NotContains(t, text.out, "\x1b", "what an endpoint answered must not reach the terminal raw")

	refused := relayOut(t, "retry", "--dead", "-c", path)
	require.Equal(t, exitUsage, refused.status, "more than one, and nobody to ask")
	require.Contains(t, refused.err, "--yes")
	one := relayOut(t, "retry", "--endpoint", "billing", "-c", path)
	require.Zero(t, one.status, one.err)
	require.Contains(t, one.out, "retried 1 delivery\n")
	require.Len(t, list("--dead"), 3)

	require.Empty(t, relayOut(t, "discard", "--until", "1h", "--all", "-c", path).err, "none is that old")
	gone := relayOut(t, "discard", "--endpoint", "shipping", "--since", "1h", "--yes", "--json", "-c", path)
	require.Zero(t, gone.status, gone.err)
	require.JSONEq(t, `{"discarded":3}`, gone.out)
	require.Len(t, list(), 1)
}
