package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// insertOrders writes n orders, one a second since 2026-03-01, in turn for two keys, and returns their ids.
func insertOrders(t *testing.T, r *running, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		require.NoError(t, r.Conn.QueryRow(t.Context(), `INSERT INTO outbox (type, key, payload, created_at)
			VALUES ('order.created', $1, jsonb_build_object('total', $2::int), '2026-03-01Z'::timestamptz + $2 * interval '1 s')
			RETURNING id::text`, fmt.Sprint("key-", i%2), i).Scan(&ids[i]))
	}
	return ids
}

// requireOrder is the invariant check: of what was received from the n-th request on, each key is in order.
func requireOrder(t *testing.T, ep *deliverytest.Endpoint, from int, ids []string) {
	t.Helper()
	got := ep.IDs()[from:]
	require.ElementsMatch(t, ids, got)
	of := map[string]int{}
	for i, id := range ids {
		of[id] = i
	}
	for key := range 2 {
		last := -1
		for _, id := range got {
			if i := of[id]; i%2 == key {
				require.Greater(t, i, last, "order of key-%d: %v", key, got)
				last = i
			}
		}
	}
}

func TestReplay_SendsWhatIsStillThereAgainInOrderWhetherRelayRunsOrNot(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  billing: {url: \""+ep.URL+"\", events: [\"order.*\"], where: \"payload.total >= 2\"}\n")
	ids := insertOrders(t, r, 20)
	r.Insert("invoice.paid", `{"total": 5}`, "")
	ep.Wait(t, 18)

	got := relayOut(t, "replay", "--endpoint", "billing", "--since", "2026-03-01T00:00:10Z", "--until", "2026-03-01T00:00:16Z", "--yes", "--json", "-c", r.Config)
	require.Zero(t, got.status, got.err)
	require.JSONEq(t, `{"queued":6,"skipped":0}`, got.out)
	ep.Wait(t, 24)
	requireOrder(t, ep, 18, ids[10:16])

	r.Stop()
	got = relayOut(t, "replay", "--endpoint", "billing", "--since", "2026-03-01T00:00:00Z", "--type", "*.created", "--yes", "-c", r.Config)
	require.Zero(t, got.status, got.err)
	require.Contains(t, got.out, "queued 18 deliveries for billing, skipped 3 rows")
	require.Len(t, ep.IDs(), 24)
	r.Start()
	ep.Wait(t, 42)
	requireOrder(t, ep, 24, ids[2:])
	r.eventually(func() bool { return parkedNow(t, r) == 0 }, "everything drained")
	require.Len(t, ep.IDs(), 42)
}

// parkedNow is how many deliveries are in relay's tables.
func parkedNow(t *testing.T, r *running) (n int) {
	t.Helper()
	require.NoError(t, r.Conn.QueryRow(t.Context(), `SELECT count(*) FROM relay.parked`).Scan(&n))
	return n
}

func TestReplay_AsksSuggestsAndSaysWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  billing: {url: \"http://127.0.0.1:1/\", where: \"payload.total > 0\"}\n")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	replay := func(args ...string) result {
		return relayOut(t, append([]string{"replay", "-c", r.Config, "--endpoint", "billing"}, args...)...)
	}
	none := replay("--since", "1h")
	require.Zero(t, none.status, none.err)
	require.Contains(t, none.out, "queued 0 deliveries")

	r.Insert("order.created", `{"total": 1}`, "")
	r.Insert("order.created", `{"sum": 1}`, "")
	one := replay("--since", "1h")
	require.Zero(t, one.status, one.err)
	require.Contains(t, one.out, "queued 1 delivery")
	require.Contains(t, one.err, "1 row cannot be sent; the first: ")
	require.Contains(t, one.err, "total")
	require.Equal(t, 1, parkedNow(t, r))

	r.Insert("order.created", `{"total": 2}`, "")
	refused := replay("--since", "1h")
	require.Equal(t, exitUsage, refused.status)
	require.Contains(t, refused.err, "--yes")
	require.Equal(t, 1, parkedNow(t, r))

	backwards := replay("--since", "1h", "--until", "2h")
	require.Equal(t, exitUsage, backwards.status)
	require.Contains(t, backwards.err, "--until")
	unknown := relayOut(t, "replay", "-c", r.Config, "--endpoint", "biling", "--since", "1h")
	require.Equal(t, exitUsage, unknown.status)
	require.Contains(t, unknown.err, "did you mean billing?")

	_, err := r.Conn.Exec(t.Context(), `ALTER TABLE outbox DROP created_at`)
	require.NoError(t, err)
	timeless := replay("--since", "1h", "--yes")
	require.Equal(t, exitFailed, timeless.status)
	require.Contains(t, timeless.err, "columns: {time: …}")

	messages := configFile(t, "source: {url: \""+r.URL+"\", tables: [], messages: [relay]}\nendpoints: {billing: {url: \"http://127.0.0.1:1\"}}\n")
	got := relayOut(t, "replay", "-c", messages, "--endpoint", "billing", "--since", "1h")
	require.Equal(t, exitFailed, got.status, filepath.Base(messages))
	require.Contains(t, got.err, "logical messages are kept nowhere")
}

func TestReplay_QueuesManyRowsInBatches(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  billing: {url: \"http://127.0.0.1:1/\", order: strict}\n")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	_, err := r.Conn.Exec(t.Context(), `INSERT INTO outbox (type, payload, created_at)
		SELECT 't', to_jsonb(g), '2026-03-01Z'::timestamptz + g * interval '1 s' FROM generate_series(1, 2500) g`)
	require.NoError(t, err)
	got := relayOut(t, "replay", "-c", r.Config, "--endpoint", "billing", "--since", "2026-03-01T00:00:00Z", "--yes")
	require.Zero(t, got.status, got.err)
	var disordered, all int
	require.NoError(t, r.Conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE payload::int <> n), count(*)
		FROM (SELECT payload, row_number() OVER (ORDER BY id) AS n FROM relay.parked) p`).Scan(&disordered, &all))
	require.Equal(t, 2500, all)
	require.Zero(t, disordered)
}
