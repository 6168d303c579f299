package main

import (
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// covered waits until a settled horizon covers all that was written so far.
func (r *running) covered() {
	r.t.Helper()
	now := r.number(`SELECT pg_current_xact_id()::text::bigint`)
	r.eventually(func() bool {
		r.Insert("tick", `0`, "") // a horizon is taken when there is something new
		return r.number(`SELECT coalesce(max(xid), 0) FROM relay.horizon WHERE settled_at IS NOT NULL`) > now
	}, "a settled horizon")
}

var mayBeMissing = regexp.MustCompile(`slot was made anew.* may_be_missing=(\d+)`)

func TestRecreate_OfASlotThatTheServerDroppedSendsWhatIsStillThereAndCountsTheRest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		leave, come func(*running)
	}{
		"while relay was stopped": {
			func(r *running) { require.NoError(t, r.cmd.Process.Signal(syscall.SIGSTOP)) },
			func(r *running) { require.NoError(t, r.cmd.Process.Signal(syscall.SIGCONT)) },
		},
		"while it was away": {(*running).kill, func(r *running) { r.run() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ep := deliverytest.New(t, nil)
			r := limited(t, "  only: {url: \""+ep.URL+"\", events: [t], format: raw}\n")
			r.amend("hold: 1s", "hold: 1s, on_slot_lost: recreate")
			r.Start()
			for range 100 {
				r.Insert("t", `1`, "")
			}
			ep.Wait(t, 100)
			r.covered()

			c.leave(r)
			for range 50 {
				r.Insert("t", `2`, "")
			}
			for range 7 {
				r.Insert("t", `3`, "")
			}
			r.exec(r.Conn, `DELETE FROM outbox WHERE payload = '3'`)
			r.fill(`wal_status = 'lost'`)
			r.eventually(func() bool {
				return r.number(`SELECT pg_stat_get_tuples_inserted('outbox'::regclass)`) == r.number(rowsLeft)+7
			}, "the server's statistics")
			c.come(r)
			r.logs("slot was made anew")
			r.isReady("ready: streaming")
			r.Insert("t", `4`, "")
			bodies := func() map[string]int { // of distinct events
				got := map[string]int{}
				seen := map[string]bool{}
				for _, receipt := range ep.Receipts() {
					if id := receipt.Header.Get("webhook-id"); !seen[id] {
						seen[id] = true
						got[string(receipt.Body)]++
					}
				}
				return got
			}
			r.eventually(func() bool {
				got := bodies()
				return got["1"] == 100 && got["2"] == 50 && got["4"] == 1 && parkedNow(t, r) == 0
			}, "all that is there arrived")
			require.Less(t, len(ep.IDs()), 158+60, "what a horizon covered is not sent again")
			missing := mayBeMissing.FindStringSubmatch(r.Log())
			require.NotNil(t, missing)
			n, err := strconv.Atoi(missing[1])
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, 7-bodies()["3"]) // at most those, and what was counted late when the horizon was taken
			require.Less(t, n, 7+250)
		})
	}
}

func TestRecreate_WaitsForAnOpenTransactionAndDrainsMeanwhile(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, deliverytest.Always(503))
	r := limited(t, "  only: {url: \""+ep.URL+"\", events: [t], retry: {delays: [100ms, 1h]}}\n")
	r.amend("hold: 1s", "hold: 1s, on_slot_lost: recreate")
	r.Start()
	r.Insert("t", `1`, "")
	r.eventually(func() bool { return r.number(waitingLong) == 1 }, "parked")
	r.covered()
	commit := r.lag()
	r.loseSlot()
	require.Eventually(t, func() bool { return strings.Contains(r.Log(), "slot is not made anew yet, what is parked drains on") },
		time.Minute, 100*time.Millisecond, "after half a minute")
	r.isReady("another cannot be made yet: replication slot relay_app waits for transactions that were open before it: PID ")
	ep.Answer(deliverytest.Always(200))
	require.Zero(t, relayOut(t, "retry", "--all", "--yes", "-c", r.Config).status)
	r.eventually(func() bool { return parkedNow(t, r) == 0 }, "drained")
	commit()
}

func TestRecreate_NamesWhyASlotIsNotMadeAnewAndSaysItOnce(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, deliverytest.Always(503))
	r := prepareRelay(t, "  only: {url: \""+ep.URL+"\", retry: {delays: [100ms, 1h]}}\n")
	r.amend("hold: 1s", "hold: 1s, on_slot_lost: recreate")
	r.Start()
	r.Insert("t", `1`, "")
	r.eventually(func() bool { return r.number(waitingLong) == 1 }, "parked")
	r.kill()
	r.exec(r.Conn, `DELETE FROM relay.horizon`) // as after a restore into another cluster
	r.loseSlot()
	r.run()
	r.isReady("is not made anew because it is not known up to where rows were delivered")
	ep.Answer(deliverytest.Always(200))
	require.Zero(t, relayOut(t, "retry", "--all", "--yes", "-c", r.Config).status)
	r.eventually(func() bool { return parkedNow(t, r) == 0 }, "what is parked drains on")
	require.Equal(t, 1, strings.Count(r.Log(), "slot is not made anew"))
	require.NotContains(t, r.Log(), "msg=stopping")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	r.isReady("ready: streaming")
}
