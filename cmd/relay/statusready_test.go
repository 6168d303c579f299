package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

func TestStatusReady_IsWhatReadyzSaysWhateverBecomesOfAnEndpoint(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "  down: {url: \"http://127.0.0.1:1/\", breaker: {failures: 1}}\n")
	address := strings.TrimPrefix(r.Admin(), "http://")
	r.Insert("order.created", `1`, "")
	r.eventually(func() bool {
		return relayOut(t, "status", "-c", r.Config, "--address", address).status == exitFailed
	}, "an endpoint is down")
	ready := relayOut(t, "status", "-c", r.Config, "--address", address, "--ready")
	require.Zero(t, ready.status, ready.err)
	require.Contains(t, ready.out, "ready: streaming")
	r.Stop()
	stopped := relayOut(t, "status", "-c", r.Config, "--address", address, "--ready")
	require.Equal(t, exitFailed, stopped.status)
	require.Contains(t, stopped.err, "connection refused")
}

func TestStatusReady_SaysWhyNot(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  a: {url: \"http://127.0.0.1:1/\"}\n") // and not set up: there is no slot
	r.run()
	address := strings.TrimPrefix(r.Admin(), "http://")
	var got result
	r.eventually(func() bool {
		got = relayOut(t, "status", "-c", r.Config, "--address", address, "--ready", "--json")
		return strings.Contains(got.out, "relay setup")
	}, "the reason")
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, got.out, `"ready": false`)
	stranger := deliverytest.New(t, nil) // answers 200 to everything
	got = relayOut(t, "status", "-c", r.Config, "--address", strings.TrimPrefix(stranger.URL, "http://"), "--ready")
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, got.err, "is no relay")
}
