package main

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// verdicts answers each event with the status set for its type, else 200.
type verdicts struct {
	mu sync.Mutex
	of map[string]int // by path
}

func (v *verdicts) set(path string, status int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.of[path] = status
}

func (v *verdicts) answer(r deliverytest.Receipt) deliverytest.Answer {
	v.mu.Lock()
	defer v.mu.Unlock()
	return deliverytest.Answer{Status: v.of[r.Path]}
}

// noticed is how soon a running relay is to act on a command, on a machine that is busy with other tests.
const noticed = 5 * time.Second

// operated is a relay with one endpoint, and an operator.
type operated struct {
	*running
	ep       *deliverytest.Endpoint
	verdicts *verdicts
	stopped  bool // while the operator acts
}

func operate(t *testing.T, stopped bool) *operated {
	t.Helper()
	v := &verdicts{of: map[string]int{}}
	ep := deliverytest.New(t, v.answer)
	r := startRelay(t, "  shop: {url: \""+ep.URL+"\", retry: {delays: [1h, 1h], rejected: 1}}\n")
	return &operated{running: r, ep: ep, verdicts: v, stopped: stopped}
}

// insertKeyed writes an event with a key.
func (o *operated) insertKeyed(key string) string {
	o.t.Helper()
	var id string
	require.NoError(o.t, o.Conn.QueryRow(o.t.Context(),
		`INSERT INTO outbox (type, key, payload) VALUES ('t', $1, '{}') RETURNING id::text`, key).Scan(&id))
	return id
}

// act runs a command of the operator.
func (o *operated) act(args ...string) string {
	o.t.Helper()
	if o.stopped {
		o.Stop()
	}
	got := relayOut(o.t, append(args, "-c", o.Config)...)
	require.Zero(o.t, got.status, got.err)
	if o.stopped {
		o.Start()
	}
	return got.out
}

// parkedAs waits until so many deliveries are parked in a state, and returns the IDs in their order.
func (o *operated) parkedAs(state string, n int) []string {
	o.t.Helper()
	var ids []string
	o.eventually(func() bool {
		rows, err := o.Conn.Query(o.t.Context(), `SELECT id FROM relay.parked WHERE state = $1 ORDER BY id`, state)
		require.NoError(o.t, err)
		defer rows.Close()
		ids = ids[:0]
		for rows.Next() {
			var id int64
			require.NoError(o.t, rows.Scan(&id))
			ids = append(ids, strconv.FormatInt(id, 10))
		}
		return len(ids) == n
	}, strconv.Itoa(n)+" parked, "+state)
	return ids
}

// receives waits for exactly these, after what came before.
func (o *operated) receives(ids ...string) {
	o.t.Helper()
	began := time.Now()
	o.eventually(func() bool { return len(o.ep.IDs()) >= len(ids) }, "receipts")
	require.Equal(o.t, ids, o.ep.IDs())
	if !o.stopped {
		require.Less(o.t, time.Since(began), noticed)
	}
}

func whetherItRunsOrNot(t *testing.T, test func(*testing.T, *operated)) {
	t.Helper()
	for name, stopped := range map[string]bool{"while relay runs": false, "while it does not": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, operate(t, stopped))
		})
	}
}

func TestRetry_AttemptsAtOnceWhatWaitsForALaterTime(t *testing.T) {
	t.Parallel()
	whetherItRunsOrNot(t, func(t *testing.T, o *operated) {
		o.verdicts.set("/", 404)
		first := o.insertKeyed("a")
		o.ep.Wait(t, 1)
		o.parkedAs("waiting", 1)
		second := o.insertKeyed("a")
		o.parkedAs("waiting", 2)
		o.verdicts.set("/", 200)
		require.Contains(t, o.act("retry", "--endpoint", "shop", "--all", "--yes"), "retried")
		o.receives(first, first, second)
		o.parkedAs("waiting", 0)
		third := o.insertKeyed("a")
		o.receives(first, first, second, third)
	})
}

func TestRetry_AttemptsADeadDeliveryByItsID(t *testing.T) {
	t.Parallel()
	whetherItRunsOrNot(t, func(t *testing.T, o *operated) {
		o.verdicts.set("/", 400)
		first := o.insertKeyed("a")
		o.ep.Wait(t, 1)
		id := o.parkedAs("dead", 1)
		o.verdicts.set("/", 200)
		second := o.insertKeyed("a")
		o.receives(first, second)
		require.Contains(t, o.act("retry", id[0]), "retried 1 delivery")
		o.receives(first, second, first)
		o.parkedAs("dead", 0)
		o.parkedAs("waiting", 0)
	})
}

func TestDiscard_OfTheFirstLetsItsKeyGoOn(t *testing.T) {
	t.Parallel()
	whetherItRunsOrNot(t, func(t *testing.T, o *operated) {
		o.verdicts.set("/", 404)
		first := o.insertKeyed("a")
		o.ep.Wait(t, 1)
		id := o.parkedAs("waiting", 1)
		o.verdicts.set("/", 200)
		second, third := o.insertKeyed("a"), o.insertKeyed("a")
		o.parkedAs("waiting", 3)
		require.Contains(t, o.act("discard", id[0]), "discarded 1 delivery")
		o.receives(first, second, third)
		o.parkedAs("waiting", 0)
		fourth := o.insertKeyed("a")
		o.receives(first, second, third, fourth)
	})
}

func TestPause_ParksAndResumeDrainsInOrder(t *testing.T) {
	t.Parallel()
	whetherItRunsOrNot(t, func(t *testing.T, o *operated) {
		before := o.insertKeyed("a")
		o.receives(before)
		require.Contains(t, o.act("pause", "shop"), "paused shop")
		if !o.stopped {
			time.Sleep(time.Second) // to notice it
		}
		want := []string{before}
		for range 10 {
			want = append(want, o.insertKeyed("a"))
		}
		o.parkedAs("waiting", 10)
		time.Sleep(500 * time.Millisecond) // in which nothing is to happen
		o.receives(before)
		require.Contains(t, o.act("resume", "shop"), "resumed shop")
		o.receives(want...)
		o.parkedAs("waiting", 0)
	})
}

func TestDiscard_ReachesWhatTheRelayHasReadAhead(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  shop: {url: \""+ep.URL+"\", rate: 2}\n")
	o := &operated{running: r, ep: ep}
	o.act("pause", "shop")
	time.Sleep(time.Second) // to notice it
	for range 20 {
		o.insertKeyed("a")
		r.Insert("t", "{}", "")
	}
	o.parkedAs("waiting", 40)
	o.act("resume", "shop")
	ep.Wait(t, 2)
	o.act("discard", "--endpoint", "shop", "--all", "--yes")
	time.Sleep(time.Second) // to notice it
	got := len(ep.IDs())
	require.Less(t, got, 10)
	time.Sleep(2 * time.Second) // in which four more would go out
	require.Len(t, ep.IDs(), got)
	last := o.insertKeyed("a")
	ep.Wait(t, got+1)
	require.Equal(t, last, ep.IDs()[got])
}
