package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func seenBy(name string, types []string, ids ...string) *demoReceiver {
	r := &demoReceiver{name: name, types: types, seen: map[string]bool{}}
	for _, id := range ids {
		if r.seen[id] {
			r.twice++
			continue
		}
		r.seen[id] = true
		r.first = append(r.first, id)
	}
	return r
}

var committedOrders = []committedEvent{
	{"a1", "order.created", "order-1", 1},
	{"a2", "order.paid", "order-1", 2},
	{"b1", "order.created", "order-2", 1},
}

func TestVerdict_FindsEachBreachOfThePromise(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		types []string
		ids   []string
		want  endpointVerdict
	}{
		"all in order":           {nil, []string{"a1", "b1", "a2"}, endpointVerdict{Expected: 3, Received: 3}},
		"subscribed to one type": {[]string{"order.paid"}, []string{"a2"}, endpointVerdict{Expected: 1, Received: 1}},
		"lost":                   {nil, []string{"a1", "b1"}, endpointVerdict{Expected: 3, Received: 2, Lost: 1}},
		"twice":                  {nil, []string{"a1", "b1", "a2", "b1"}, endpointVerdict{Expected: 3, Received: 3, Twice: 1}},
		"out of order":           {nil, []string{"a2", "a1", "b1"}, endpointVerdict{Expected: 3, Received: 3, Reordered: 1}},
		"rolled back":            {nil, []string{"a1", "a2", "b1", "x"}, endpointVerdict{Expected: 3, Received: 3, Ghosts: 1}},
		"not subscribed to":      {[]string{"order.paid"}, []string{"a1", "a2"}, endpointVerdict{Expected: 1, Received: 1, Stray: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := judge(committedOrders, []*demoReceiver{seenBy("e", tc.types, tc.ids...)})
			tc.want.Name = "e"
			require.Equal(t, tc.want, v.Endpoints[0])
			whole := tc.want.Lost+tc.want.Twice+tc.want.Reordered+tc.want.Ghosts+tc.want.Stray == 0
			require.Equal(t, whole, v.Kept)
		})
	}
}

func TestVerdict_IsNotKeptWhenNothingHappened(t *testing.T) {
	t.Parallel()
	v := judge(nil, []*demoReceiver{seenBy("e", nil)})
	require.False(t, v.Kept)
}

func TestDemoReceiver_CountsOnlyWhatItAccepted(t *testing.T) {
	t.Parallel()
	r, err := newDemoReceiver("billing")
	require.NoError(t, err)
	defer r.close()
	r.fail(true)
	require.Equal(t, http.StatusServiceUnavailable, r.take(http.Header{}, nil, time.Now()))
	r.fail(false)
	require.Equal(t, http.StatusUnauthorized, r.take(http.Header{"Webhook-Id": {"x"}}, []byte("{}"), time.Now()))
	seen := r.Seen(time.Now())
	require.Equal(t, demoSeen{Refused: 1, Forged: 1}, seen)
	require.Empty(t, r.Receipts())
}
