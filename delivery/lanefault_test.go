package delivery

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

var notFound = Outcome{Verdict: Retry, Reason: ReasonClient, Status: 404, Err: "404"}

// reorder has the endpoint go over to another order, as a reload does.
func (b *bench) reorder(order mapping.Order) {
	ep := *b.ep
	ep.Order = order
	b.ep = &ep
	(*b.lanes.Load())[0].configure(&ep, b.sender)
}

// stopwatch is the Settler of one event: it knows how long the event held the slot.
type stopwatch struct {
	mu    sync.Mutex
	began time.Time
	held  time.Duration
}

func (s *stopwatch) Add(int) { s.mu.Lock(); s.began = time.Now(); s.mu.Unlock() }
func (s *stopwatch) Settle() { s.mu.Lock(); s.held = time.Since(s.began); s.mu.Unlock() }

// longest returns how long it was, or is if that is not over.
func (s *stopwatch) longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == 0 {
		return time.Since(s.began)
	}
	return s.held
}

// Each key that fails has the lane look at its table, which takes what is about to be parked out of its buffer and in again:
// that is not to begin its wait for company anew.
func TestLane_HoldsTheSlotNoLongerThanHoldWhileOneKeyAfterAnotherFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hold = 5 * time.Second
		sender := newSender(always(notFound, 0))
		sender.keyOf = func(id string) string { return id }
		ep := testEndpoint()
		d, err := NewDispatcher(Config{
			Parker: &memoryParker{slow: time.Millisecond}, Window: mapping.Window{Events: 20000, Bytes: 1 << 30}, Hold: hold,
			Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
			NewSender: func(*mapping.Endpoint) (Sender, error) { return sender, nil },
		}, []*mapping.Endpoint{ep}, nil)
		require.NoError(t, err)
		var watches []*stopwatch
		for i := range uint32(600) {
			id, watch := fmt.Sprint(i), &stopwatch{}
			ev := &mapping.Event{ID: id, Type: "t", Key: id, Keyed: true, CommitTime: time.Now(), Place: mapping.Place{Commit: streamed, Ordinal: i}}
			d.Dispatch(ev, []mapping.Target{{Endpoint: ep}}, 2, watch)
			watches = append(watches, watch)
			time.Sleep(50 * time.Millisecond)
		}
		var longest time.Duration
		for _, w := range watches {
			longest = max(longest, w.longest())
		}
		require.LessOrEqual(t, longest, hold+time.Second)
		d.Abandon()
	})
}

// A batch that is parked in the air, and fails before the commit, goes on in memory as it was: all of it.
func TestLane_SendsABatchOnceThatFailsWhileItIsBeingParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		inBatches(ep, 2)
		ep.Concurrency, ep.Batch.Wait = 1, 100*time.Millisecond
		s := newSender(func(_ string, attempt int) (Outcome, time.Duration) {
			if attempt == 1 {
				slow := notFound
				slow.RetryAfter = 3 * time.Second // longer than it takes to read the table
				return slow, 5200 * time.Millisecond
			}
			return delivered, 0
		})
		parker := &memoryParker{}
		b := startLane(t, ep, parker, s, EndpointState{})
		time.Sleep(time.Second)
		parker.delay(600 * time.Millisecond) // from hold on, and the answer comes in the middle of it
		b.send("a1", "a2")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1", "a2"}, s.received())
		require.Zero(t, s.twice)
		require.Equal(t, 2, s.tried("a2"))
		b.stop(t)
	})
}

// What a fetch brings that began under another order may be anything but what comes first under this one.
func TestLane_TakesNothingInThatWasReadUnderAnotherOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		ep.Rate = 1
		parker := backlog("a1", "b1", "a2", "b2", "a3", "b3")
		parker.slow = 300 * time.Millisecond
		s := newSender(always(delivered, 0))
		b := startLane(t, ep, parker, s, EndpointState{})
		time.Sleep(2300 * time.Millisecond)
		require.Equal(t, []string{"a1", "b1"}, s.received(), "the others wait in memory for the rate")
		parker.put("c1", mapping.Place{Commit: 1, Ordinal: 99})
		b.Notify("e", EndpointState{})     // Review until 2.6
		time.Sleep(400 * time.Millisecond) // Next until 2.9
		b.reorder(mapping.OrderStrict)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1", "b1", "a2", "b2", "a3", "b3", "c1"}, s.received())
		b.stop(t)
	})
}

// Which keys are held back is said in the keys of the order that was asked about.
func TestLane_GoesLiveByNoLookFromUnderAnotherOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		ep.Order = mapping.OrderNone
		parker := backlog("a1")
		parker.rows[0].Due, parker.rows[0].Ordered, parker.rows[0].Lane = time.Now().Add(10*time.Second), false, ""
		parker.slow = 300 * time.Millisecond
		s := newSender(always(delivered, 0))
		b := startLane(t, ep, parker, s, EndpointState{})
		b.places = 100
		time.Sleep(time.Second) // Reorder, Backlog, Next, and the second Backlog from 0.9 to 1.2
		b.reorder(mapping.OrderKey)
		time.Sleep(300 * time.Millisecond)
		b.send("a2")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1", "a2"}, s.received())
		b.stop(t)
	})
}

// What is in the air under the key of another order comes back before what the new one has behind it.
func TestLane_ThatChangesItsOrderLetsNothingPassWhatFailsInTheAir(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		ep.Concurrency = 1
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt == 1 {
				return notFound, time.Second
			}
			return delivered, 0
		})
		b := startLane(t, ep, backlog("a1", "b1", "a2"), s, EndpointState{})
		time.Sleep(500 * time.Millisecond)
		b.reorder(mapping.OrderStrict)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1", "b1", "a2"}, s.received())
		b.stop(t)
	})
}

// The same of a live one, and while the lane is looking whether it may go live.
func TestLane_ThatChangesItsOrderGoesLiveWhenTheLastAttemptUnderTheOtherHasLanded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt == 1 {
				return notFound, 1500 * time.Millisecond
			}
			return delivered, 0
		})
		b := startLane(t, testEndpoint(), &memoryParker{slow: 300 * time.Millisecond}, s, EndpointState{})
		time.Sleep(2 * time.Second)
		b.send("a1")
		b.Notify("e", EndpointState{})     // Next until 0.3
		time.Sleep(400 * time.Millisecond) // Backlog until 0.6
		b.reorder(mapping.OrderStrict)
		b.send("b1")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1", "b1"}, s.received())
		b.stop(t)
	})
}

// What a change of order sends to the table may come before rows that are there under the new one.
func TestLane_ThatChangesItsOrderParksAtOnceWhatWaitedInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "c1" && attempt == 1 {
				slow := notFound
				slow.RetryAfter = 4 * time.Second
				return slow, 0
			}
			return delivered, 0
		})
		parker := backlog("b0")
		parker.rows[0].Due = time.Now().Add(3 * time.Second)
		b := startLane(t, testEndpoint(), parker, s, EndpointState{})
		b.places = 100
		time.Sleep(100 * time.Millisecond)
		b.send("c1", "b1") // c1 waits in memory, b1 in the table behind b0
		time.Sleep(2890 * time.Millisecond)
		b.reorder(mapping.OrderStrict)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"b0", "c1", "b1"}, s.received())
		b.stop(t)
	})
}

func TestLane_SendsNothingThatAnOperatorDiscardedThoughItWaitsInABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		inBatches(ep, 4)
		s := newSender(func(_ string, attempt int) (Outcome, time.Duration) {
			if attempt < 3 {
				return notFound, 0
			}
			return delivered, 0
		})
		parker := backlog("a1", "a2", "b1")
		b := startLane(t, ep, parker, s, EndpointState{})
		time.Sleep(time.Second)
		require.Equal(t, [][]string{{"a1", "a2", "b1"}, {"a1", "a2", "b1"}}, s.sent())
		require.Equal(t, []string{"a2"}, parker.discard("a2"))
		b.Notify("e", EndpointState{})
		time.Sleep(time.Minute)
		require.ElementsMatch(t, []string{"a1", "b1"}, s.received())
		require.Equal(t, 2, s.tried("a2"))
		b.stop(t)
	})
}

// A pause gives the endpoint more time, not less.
func TestLane_KeepsTheTimeOfARetryThatWaitsInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt < 3 {
				return notFound, 0
			}
			return delivered, 0
		})
		b := startLane(t, testEndpoint(), backlog("a1", "a2"), s, EndpointState{})
		time.Sleep(time.Second)
		require.Equal(t, 2, s.tried("a1"), "the third is in four and a half seconds")
		b.Notify("e", EndpointState{Paused: true})
		time.Sleep(time.Second)
		b.Notify("e", EndpointState{})
		time.Sleep(3 * time.Second)
		require.Equal(t, 2, s.tried("a1"))
		time.Sleep(time.Second)
		require.Equal(t, []string{"a1", "a2"}, s.received())
		b.stop(t)
	})
}

// What an operator retries has no time that a pause could keep.
func TestLane_KeepsNoTimeOfWhatAnOperatorRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt < 3 {
				return notFound, 0
			}
			return delivered, 0
		})
		parker := backlog("a1", "a2")
		b := startLane(t, testEndpoint(), parker, s, EndpointState{})
		time.Sleep(time.Second)
		b.Suspend()
		parker.retry()
		b.Notify("e", EndpointState{})
		synctest.Wait()
		b.Notify("e", EndpointState{Paused: true})
		b.Resume()
		time.Sleep(time.Second)
		b.Notify("e", EndpointState{})
		time.Sleep(time.Second)
		require.Equal(t, []string{"a1", "a2"}, s.received())
		b.stop(t)
	})
}

// What is in the air when it is parked, and is taken by the endpoint while the answer of the database does not arrive, may have
// become a row: it is not delivered again out of the table.
func TestLane_RemovesTheRowOfWhatWasTakenWhileItsCommitWasInDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker := &memoryParker{}
		lost := 2
		parker.lost = func() error {
			if lost--; lost >= 0 {
				return errors.New("the connection was cut")
			}
			return nil
		}
		s := newSender(always(delivered, 1200*time.Millisecond))
		b := startLane(t, testEndpoint(), parker, s, EndpointState{})
		time.Sleep(time.Second)
		b.send("a1", "a2")
		time.Sleep(900 * time.Millisecond)
		b.Notify("e", EndpointState{Paused: true}) // a1 is in the air
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1"}, s.received())
		require.Equal(t, 1, parker.count(Waiting), "a2")
		b.Notify("e", EndpointState{})
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a1", "a2"}, s.received())
		require.Zero(t, s.twice)
		b.stop(t)
	})
}
