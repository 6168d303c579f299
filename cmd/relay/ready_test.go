package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc"
)

func TestReady_MeansThatTheServerIsHeardAndTheSlotIsOursOrAnothers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	lost := &cdc.Fault{Kind: cdc.FaultSlotInvalidated, Problem: "the slot is lost"}
	for _, c := range []struct {
		status          cdc.StreamStatus
		problem, unmade string
		ok              bool
		why             string
	}{
		{status: cdc.StreamStatus{State: cdc.StateStreaming, LastByte: now.Add(-59 * time.Second)}, ok: true, why: "streaming"},
		{status: cdc.StreamStatus{State: cdc.StateStreaming, LastByte: now.Add(-61 * time.Second)}, why: "the server has been silent since 2026-01-02T03:03:04Z"},
		{status: cdc.StreamStatus{State: cdc.StateStreaming, LastByte: now}, problem: "rows do not come", why: "rows do not come"},
		{status: cdc.StreamStatus{State: cdc.StateWaiting, Err: errors.New("in use")}, ok: true, why: "standing by: the slot is in use by another process"},
		{status: cdc.StreamStatus{State: cdc.StateConnecting}, why: "connecting"},
		{status: cdc.StreamStatus{State: cdc.StateConnecting, Err: errors.New("no server")}, why: "no server"},
		{status: cdc.StreamStatus{State: cdc.StateConnecting, Err: lost}, why: "the slot is lost"},
		{status: cdc.StreamStatus{State: cdc.StateConnecting, Err: lost}, unmade: "not made anew", why: "not made anew"},
		{status: cdc.StreamStatus{State: cdc.StatePaused}, why: "paused"},
	} {
		ok, why := judgeStream(c.status, c.problem, c.unmade, now)
		require.Equal(t, c.ok, ok, c.why)
		require.Equal(t, c.why, why)
	}
}

func TestReady_SaysWhatComesAfterATenure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(r *running, stop func())
		says string
	}{
		"slot lost": {func(r *running, _ func()) { r.loseSlot() }, "the slot is lost, beginning again"},
		"stop":      {func(_ *running, stop func()) { stop() }, "stopping"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := prepareRelay(t, "  one: {url: \"http://127.0.0.1:1\"}\n")
			r.amend("hold: 1s", "hold: 1s, on_slot_lost: recreate")
			require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
			s := r.inside()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			served := make(chan error, 1) // 1: its only value
			go func() { served <- s.serve(ctx) }()
			r.eventually(func() bool { ok, why := s.ready(); return ok && why == "streaming" }, "it streams")
			c.end(r, stop)
			require.NoError(t, <-served)
			ok, why := s.ready()
			require.False(t, ok)
			require.Equal(t, c.says, why)
		})
	}
}
