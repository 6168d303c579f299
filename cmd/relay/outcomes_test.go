package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

func TestRun_GivesUpDeliveriesThatAreOutOfDelaysTooOldOrDenied(t *testing.T) {
	t.Parallel()
	tries, ages, denied := deliverytest.New(t, deliverytest.Always(500)), deliverytest.New(t, deliverytest.Always(404)), deliverytest.New(t, nil)
	r := startRelay(t, "  tries: {url: \""+tries.URL+"\", retry: {delays: [100ms, 100ms]}}\n"+
		"  ages: {url: \""+ages.URL+"\", retry: {delays: [100ms, 500ms, 500ms, 500ms, 500ms], max_age: 1s}}\n"+
		"  denied: {url: \""+denied.URL+"\", network: public}\n")
	r.Insert("order.created", `1`, "")
	r.eventually(func() bool { return len(r.deadLetters()) == 3 }, "three dead letters")
	for _, dead := range r.deadLetters() {
		require.Contains(t, dead.LastError, map[string]string{
			"tries": "answered 500", "ages": "answered 404", "denied": "127.0.0.1 is denied by network",
		}[dead.Endpoint])
	}
	require.Len(t, tries.Receipts(), 3, "the first attempt and one after each delay")
	require.Less(t, len(ages.Receipts()), 6, "age ended it")
	require.Empty(t, denied.Receipts())
	r.Stop()
}

func TestRun_KeepsAGoneEndpointPausedOverARestartUntilItIsResumed(t *testing.T) {
	t.Parallel()
	endpoint := deliverytest.New(t, deliverytest.Statuses(http.StatusGone, http.StatusOK))
	r := startRelay(t, "  billing: {url: \""+endpoint.URL+"\"}\n")
	first := r.Insert("order.created", `1`, "")
	endpoint.Wait(t, 1)
	waiting := func() (n int) {
		require.NoError(t, r.Conn.QueryRow(t.Context(), `SELECT count(*) FROM relay.parked WHERE state = 'waiting'`).Scan(&n))
		return n
	}
	r.eventually(func() bool { return waiting() == 1 }, "it is parked")
	r.Stop()
	r.Start()
	second := r.Insert("order.created", `2`, "")
	r.eventually(func() bool { return waiting() == 2 }, "the next is parked too")
	require.Len(t, endpoint.Receipts(), 1)

	resumed := relayOut(t, "resume", "billing", "-c", r.Config)
	require.Zero(t, resumed.status, resumed.err)
	endpoint.Wait(t, 3)
	require.ElementsMatch(t, []string{first, second}, endpoint.IDs()[1:])
	r.Stop()
}
