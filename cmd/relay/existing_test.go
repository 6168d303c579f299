package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// prepareExisting is a database with an outbox and n rows in it, of which the key is in turn one of two, and no slot.
func prepareExisting(t *testing.T, existing, endpoints string, n int) *running {
	t.Helper()
	r := prepareRelay(t, endpoints)
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	require.Zero(t, relayOut(t, "teardown", "--yes", "-c", r.Config).status)
	r.exec(r.Conn, `INSERT INTO outbox (type, key, payload, created_at)
		SELECT 't', 'key-' || n % 2, to_jsonb(n), '2026-03-01Z'::timestamptz + n * interval '1 s' FROM generate_series(1, $1::int) n`, n)
	r.amend("hold: 1s", fmt.Sprintf("hold: 1s, existing: %q", existing))
	return r
}

func TestExisting_RowsThatMeetTheConditionGoBeforeLiveOnesInOrder(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareExisting(t, "payload::int > 10 -- the last ten", "  all: {url: \""+ep.URL+"\", format: raw}\n  none: {url: \"http://127.0.0.1:1\", events: [x]}\n", 20)
	got := relayOut(t, "setup", "-c", r.Config)
	require.Zero(t, got.status, got.err)
	require.Contains(t, got.out+got.err, "queued 10 deliveries of 10 rows")
	again := relayOut(t, "setup", "-c", r.Config)
	require.Zero(t, again.status, again.err)
	require.NotContains(t, again.out+again.err, "queued")
	r.exec(r.Conn, `INSERT INTO outbox (type, key, payload) SELECT 't', 'key-' || n % 2, to_jsonb(n) FROM generate_series(21, 30) n`)
	r.Start()
	ep.Wait(t, 20)
	last := [2]int{}
	for _, receipt := range ep.Receipts() {
		var n int
		_, err := fmt.Sscan(string(receipt.Body), &n)
		require.NoError(t, err)
		require.Greater(t, n, 10)
		require.Greater(t, n, last[n%2])
		last[n%2] = n
	}
	require.Len(t, ep.IDs(), 20)
}

func TestExisting_QueuedByOneOrderGoByTheOneThatTheFileHasWhenRelayBegins(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, func(r deliverytest.Receipt) deliverytest.Answer {
		if r.N == 0 { // it waits in the table, longer than source.hold
			return deliverytest.Answer{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"2"}}}
		}
		return deliverytest.Answer{}
	})
	r := prepareExisting(t, "send", "  all: {url: \""+ep.URL+"\", format: raw, order: none}\n", 10)
	got := relayOut(t, "setup", "-c", r.Config)
	require.Zero(t, got.status, got.err)
	r.amend("order: none", "order: strict")
	r.Start()
	ep.Wait(t, 11)
	var bodies []string
	for _, receipt := range ep.Receipts() {
		bodies = append(bodies, string(receipt.Body))
	}
	require.Equal(t, []string{"1", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, bodies)
}

func TestExisting_NoGapAndNoDuplicateAtTheSeamUnderConcurrentWriters(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareExisting(t, "send", "  all: {url: \""+ep.URL+"\"}\n", 2000)
	var stop atomic.Bool
	var writers sync.WaitGroup
	for w := range 4 {
		conn := r.connect()
		writers.Go(func() {
			for n := 0; !stop.Load(); n++ {
				r.exec(conn, `INSERT INTO outbox (type, key, payload) VALUES ('t', $1, '1')`, fmt.Sprint("w", w))
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	got := relayOut(t, "setup", "-c", r.Config)
	stop.Store(true)
	writers.Wait()
	require.Zero(t, got.status, got.err)
	written := r.number(rowsLeft)
	r.Start()
	ep.Wait(t, written)
	r.Stop()
	ids := ep.IDs()
	require.Len(t, ids, written, "none twice")
	distinct := map[string]bool{}
	for _, id := range ids {
		distinct[id] = true
	}
	require.Len(t, distinct, written, "none missing")
}

func TestExisting_ASetupThatWasKilledInTheMiddleStartsOver(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareExisting(t, "send", "  all: {url: \""+ep.URL+"\"}\n", 20000)
	killed := relayCommand(t, "setup", "-c", r.Config)
	require.NoError(t, killed.Start())
	require.Eventually(t, func() bool { return parkedNow(t, r) > 0 }, 30*time.Second, time.Millisecond)
	require.NoError(t, killed.Process.Kill())
	_ = killed.Wait() // killed
	require.Less(t, parkedNow(t, r), 20000)
	require.Zero(t, r.number(`SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT temporary`))
	r.exec(r.Conn, `DELETE FROM outbox WHERE payload::int > 2000`) // taken back by the application
	r.Start()
	ep.Wait(t, 2000)
	r.eventually(func() bool { return parkedNow(t, r) == 0 }, "everything drained")
	require.Len(t, ep.IDs(), 2000)
}

func TestExisting_AConditionThatIsWrongIsNamedAndLeavesNoSlot(t *testing.T) {
	t.Parallel()
	r := prepareExisting(t, "nonsense = 1", "  all: {url: \"http://127.0.0.1:1\"}\n", 1)
	got := relayOut(t, "setup", "-c", r.Config)
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, got.err, `column "nonsense" does not exist`)
	require.Zero(t, r.number(`SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT temporary`))
	printed := relayOut(t, "setup", "--print", "-c", r.Config)
	require.True(t, strings.HasPrefix(printed.out, "-- source.existing:"))
}
