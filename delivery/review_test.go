package delivery

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// backlog is a table with one waiting delivery for each id, whose first letter is its key.
func backlog(ids ...string) *memoryParker {
	m := &memoryParker{}
	for i, id := range ids {
		ev := &mapping.Event{
			ID: id, Type: "t", Key: id[:1], Keyed: true, Payload: []byte(`{}`), CommitTime: time.Now(),
			Place: mapping.Place{Commit: 1, Ordinal: uint32(i)},
		}
		m.nextID++
		m.rows = append(m.rows, Parked{ID: m.nextID, Endpoint: "e", Event: ev, Lane: ev.Key, Ordered: true, State: Waiting, Since: time.Now()})
	}
	return m
}

func TestLane_MakesTheNextAttemptAtOnceWhenAnOperatorRetriesWhatWaitsInMemory(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, 4} {
		t.Run(fmt.Sprint("batches of ", batch), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ep := testEndpoint()
				if batch > 1 {
					inBatches(ep, batch)
				}
				parker := backlog("a1", "a2", "b1", "c1")
				s := newSender(func(_ string, attempt int) (Outcome, time.Duration) {
					if attempt < 3 {
						return Outcome{Verdict: Retry, Reason: ReasonClient, Status: 404}, 0
					}
					return delivered, 0
				})
				b := startLane(t, ep, parker, s, EndpointState{})
				time.Sleep(time.Second)
				require.Equal(t, 2, s.tried("a1"), "the third is in four and a half seconds")
				b.Notify("e", EndpointState{})
				time.Sleep(time.Second)
				require.Equal(t, 2, s.tried("a1"), "a change that is not its own does not hasten it")
				parker.retry()
				b.Notify("e", EndpointState{})
				time.Sleep(10 * time.Millisecond)
				require.Equal(t, 3, s.tried("a1"))
				time.Sleep(time.Minute)
				require.Len(t, s.received(), 4)
				requireKeyOrder(t, s.received())
				b.stop(t)
			})
		})
	}
}

func TestLane_SendsNothingThatAnOperatorDiscardedThoughItWaitsInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		ep.Concurrency = 1
		parker := backlog("a1", "b1", "a2", "c1", "b2", "a3")
		b := startLane(t, ep, parker, newSender(always(delivered, time.Second)), EndpointState{})
		time.Sleep(1500 * time.Millisecond)
		parker.discard()
		b.Notify("e", EndpointState{})
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1", "b1"}, b.sender.received(), "the second was in the air")
		b.places = 100
		b.send("a4", "c2")
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"a1", "b1", "a4", "c2"}, b.sender.received())
		b.stop(t)
	})
}
