package park

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/delivery"
	"relay/mapping"
)

// remembering returns a store that holds the lock, and knows endpoint "a".
func remembering(t *testing.T, s *Store) *Lease {
	t.Helper()
	lease := lock(t, s)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderKey))
	return lease
}

// It fails when the lease is not compared: the other relay's calls count no changes.
func TestMemory_IsOfOneLease(t *testing.T) {
	t.Parallel()
	s := setup(t)
	lease := remembering(t, s)
	ids := park(t, s, item(1, "y"))
	require.Len(t, s.memory.endpoints["a"].queues, 1)
	lease.Release()

	other := open(t, s.pool.Config().ConnString())
	lease = lock(t, other)
	settle(t, other, ids)
	head := item(2, "y")
	head.Due = time.Now().Add(time.Hour)
	park(t, other, head)
	lease.Release()

	remembering(t, s)
	park(t, s, item(3, "y"), item(4, "x"))
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-4"}, names)
}

// It fails when what a call took is given back although its transaction failed.
func TestMemory_ForgetsWhatWasRolledBack(t *testing.T) {
	t.Parallel()
	s := setup(t)
	remembering(t, s)
	park(t, s, item(1, "x"))
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE relay.delivery ADD CONSTRAINT never CHECK (event_id <> 'event-3')`)
	require.NoError(t, err)
	head, never := item(2, "y"), item(3, "z")
	head.Due = time.Now().Add(time.Hour)
	_, err = s.Park(t.Context(), []delivery.Parked{head, never, item(4, "x")})
	require.ErrorContains(t, err, "never")
	require.Empty(t, s.memory.endpoints["a"].queues)

	park(t, s, item(5, "y"), item(6, "x"))
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-1", "event-5", "event-6"}, names, "nothing is behind what is not there")
}

// TestMemory_IsOfTheLastCall has calls take and give in any order. It fails when a call may give what a later one has changed,
// or when queues are not counted.
func TestMemory_IsOfTheLastCall(t *testing.T) {
	t.Parallel()
	lease := &Lease{}
	rapid.Check(t, func(r *rapid.T) {
		var m memory
		type call struct {
			endpoint string
			taken    remembered
		}
		var calls []call
		last := map[string]int{} // of each endpoint the last call's number
		r.Repeat(map[string]func(*rapid.T){
			"take": func(r *rapid.T) {
				c := call{endpoint: rapid.SampledFrom([]string{"a", "b"}).Draw(r, "endpoint")}
				c.taken = m.take(c.endpoint, lease)
				last[c.endpoint] = c.taken.call
				calls = append(calls, c)
			},
			"give": func(r *rapid.T) {
				if len(calls) == 0 {
					return
				}
				i := rapid.IntRange(0, len(calls)-1).Draw(r, "call")
				c := calls[i]
				calls = slices.Delete(calls, i, i+1)
				c.taken.queues = map[string]*queueState{}
				for n := range rapid.IntRange(1, 5).Draw(r, "queues") {
					c.taken.queues[fmt.Sprint(n)] = &queueState{first: int64(c.taken.call)}
				}
				m.give(c.endpoint, c.taken)
			},
			"": func(r *rapid.T) {
				size := 0
				for name, kept := range m.endpoints {
					size += len(kept.queues)
					require.Equal(r, last[name], kept.call)
					for _, q := range kept.queues {
						require.EqualValues(r, last[name], q.first)
					}
				}
				require.Equal(r, size, m.size)
			},
		})
	})
}

func TestMemory_IsBounded(t *testing.T) {
	t.Parallel()
	var m memory
	lease := &Lease{}
	fill := func(endpoint string, n int) {
		taken := m.take(endpoint, lease)
		taken.queues = map[string]*queueState{}
		for i := range n {
			taken.queues[fmt.Sprint(i)] = &queueState{}
		}
		m.give(endpoint, taken)
	}
	fill("a", maxRemembered-1)
	fill("b", 2)
	require.Equal(t, maxRemembered-1, m.size)
	fill("b", 1)
	require.Equal(t, maxRemembered, m.size)
	fill("a", maxRemembered)
	require.Equal(t, 1, m.size, "what is too much is not kept in part")
	require.Empty(t, m.take("a", lease).queues)
}

// It fails when suffices takes the least that the first number can be for the first number: what is settled then counts as readable.
func TestMemory_AsksForWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.reach = 4
	remembering(t, s)
	ids := park(t, s, items(1, 3, "x")...)
	settle(t, s, ids[:2])
	park(t, s, item(4, "x"))
	park(t, s, item(5, "x"))
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-3", "event-4", "event-5"}, names)
}
