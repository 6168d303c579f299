package delivery

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// A lane that drains always has something to send: it does not settle so often that it finds no time to fetch.
func TestLane_FetchesMoreBeforeItRunsDry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rows, keys, each, call = 4000, 26, time.Millisecond, 20 * time.Millisecond
		ep, parker := testEndpoint(), &memoryParker{}
		ep.Concurrency = 16
		for i := range rows {
			parker.put(fmt.Sprintf("%c%04d", 'a'+i%keys, i), mapping.Place{Commit: streamed, Ordinal: uint32(i + 1)})
		}
		parker.delay(call)
		b := startLane(t, ep, parker, newSender(always(delivered, each)), EndpointState{})
		for len(b.sender.received()) == 0 {
			time.Sleep(each)
		}
		began := time.Now()
		for len(b.sender.received()) < rows {
			time.Sleep(each)
		}
		took, least := time.Since(began), rows/time.Duration(ep.Concurrency)*each
		require.Less(t, took, least+call, "%s is what the endpoint alone needs", least)
		requireKeyOrder(t, b.sender.received())
		time.Sleep(2*settleLinger + 10*call)
		require.Zero(t, parker.count(Waiting), "removed soon after the last")
		require.LessOrEqual(t, parker.settles, rows/settleBatch+3)
		b.stop(t)
	})
}

// What was delivered last does not wait for company, and what was delivered beside a slow one not for long.
func TestLane_RemovesWhatWasDeliveredWithinItsLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker := &memoryParker{}
		parker.put("a1", mapping.Place{Commit: streamed, Ordinal: 1})
		parker.put("b1", mapping.Place{Commit: streamed, Ordinal: 2})
		b := startLane(t, testEndpoint(), parker, newSender(func(id string, _ int) (Outcome, time.Duration) {
			if id == "a1" {
				return delivered, 10 * time.Second
			}
			return delivered, time.Millisecond
		}), EndpointState{})
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"b1"}, b.sender.received())
		require.Equal(t, 2, parker.count(Waiting), "it waits for company")
		time.Sleep(settleLinger)
		synctest.Wait()
		require.Equal(t, 1, parker.count(Waiting))
		time.Sleep(10*time.Second - settleLinger - time.Millisecond)
		synctest.Wait()
		require.Zero(t, parker.count(Waiting), "there is no company to wait for")
		b.stop(t)
	})
}

// Of a key that has more rows than may be read at a time, the rest is let through when the first are removed, which may be after
// the lane has looked for more.
func TestLane_FetchesWhatItsSettlingLetsThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker, lost := &memoryParker{reach: 1}, 0
		parker.lost = func() error {
			if lost++; lost == 1 {
				return errors.New("the connection was cut")
			}
			return nil
		}
		for i, id := range []string{"a1", "a2", "a3", "b1"} {
			parker.put(id, mapping.Place{Commit: streamed, Ordinal: uint32(i + 1)})
		}
		b := startLane(t, testEndpoint(), parker, newSender(func(id string, _ int) (Outcome, time.Duration) {
			if id == "b1" {
				return delivered, 10 * time.Second // so that the lane is not empty
			}
			return delivered, time.Millisecond
		}), EndpointState{})
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"a1", "a2", "a3"}, b.sender.received())
		b.stop(t)
	})
}
