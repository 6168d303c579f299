package delivery

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/mapping"
)

// TestLane_RepeatsOnlyWhatALifeThatWasKilledDelivered is a lane's history over several processes: each begins with the position
// that was saved last, has the stream bring again as much as it likes, and is stopped or killed wherever it is. What a process
// delivered that was stopped never comes again, whatever happened to those before it.
func TestLane_RepeatsOnlyWhatALifeThatWasKilledDelivered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{
			n:       rapid.Uint32Range(1, 40).Draw(rt, "events"),
			keys:    rapid.Uint32Range(1, 6).Draw(rt, "keys"),
			badness: rapid.IntRange(0, 70).Draw(rt, "percent bad"),
			table:   rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "percent table errors"),
			lost:    rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "percent answers lost"),
			order:   rapid.SampledFrom([]mapping.Order{mapping.OrderKey, mapping.OrderKey, mapping.OrderStrict, mapping.OrderNone}).Draw(rt, "order"),
			reach:   rapid.SampledFrom([]int{0, 1, 3}).Draw(rt, "reach"),
			seed:    rapid.Uint64().Draw(rt, "seed"),
			faults:  &faults{},
		}
		lives := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) life {
			return life{
				killed:  rapid.Bool().Draw(rt, "killed"),
				back:    rapid.Uint32Range(0, 10).Draw(rt, "back"),
				brings:  rapid.Uint32Range(0, 40).Draw(rt, "brings"),
				saves:   rapid.SampledFrom([]int{0, 10, 50}).Draw(rt, "percent saves"),
				pause:   rapid.SampledFrom([]time.Duration{0, time.Millisecond, 200 * time.Millisecond, time.Minute}).Draw(rt, "pause"),
				outlook: rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Minute}).Draw(rt, "outlook"),
			}
		}), 1, 5).Draw(rt, "lives")
		synctest.Test(t, func(*testing.T) { h.run(lives) })
		if h.faults.text != "" {
			rt.Fatalf("%s\n%s", h.faults.text, strings.Join(h.faults.lines, "\n"))
		}
	})
}

// life is one process.
type life struct {
	killed         bool          // at its end; otherwise stopped
	back           uint32        // events that the slot lies behind the position
	brings         uint32        // events
	saves          int           // percent of the events after which the position is saved
	pause, outlook time.Duration // after an event, at most, and before the end
}

type history struct {
	n, keys     uint32
	badness     int // percent of attempts that fail
	table, lost int // percent of the calls
	order       mapping.Order
	faults      *faults

	mu   sync.Mutex
	seed uint64

	reach  int // rows of a key
	parker *memoryParker
	saved  mapping.Position
	got    []string
	last   map[string]int // the life that delivered the event
}

func (h *history) roll(percent int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seed = h.seed*6364136223846793005 + 1442695040888963407
	return int(h.seed>>33)%100 < percent
}

func (h *history) run(lives []life) {
	h.last = make(map[string]int)
	h.parker = &memoryParker{reach: h.reach, trace: h.faults.trace, fail: func() error {
		if h.roll(h.table) {
			return errors.New("table fault")
		}
		return nil
	}, lost: func() error {
		if h.roll(h.lost) {
			return errors.New("lost answer")
		}
		return nil
	}}
	for i, l := range lives {
		h.faults.trace("life %d: %+v from %+v", i, l, h.saved)
		h.live(i, l)
		for id, by := range h.last {
			if l.killed && by == i {
				delete(h.last, id) // it may come again
			}
		}
	}
	h.badness, h.table, h.lost = 0, 0, 0
	h.live(len(lives), life{brings: h.n, outlook: time.Hour})
	seen := make(map[string]bool)
	for _, id := range h.got {
		seen[id] = true
	}
	for _, r := range h.parker.rows {
		seen[r.Event.ID] = seen[r.Event.ID] || r.State == Dead
	}
	if len(seen) < int(h.n) {
		h.faults.Errorf("%d of %d received or dead, %d in the table", len(seen), h.n, len(h.parker.rows))
	}
	if h.parker.count(Waiting) > 0 {
		h.faults.Errorf("%d are left", h.parker.count(Waiting))
	}
	if h.order != mapping.OrderNone {
		requireKeyOrder(h.faults, h.firsts())
	}
}

func (h *history) live(i int, l life) {
	s := newSender(nil)
	s.trace = h.faults.trace
	s.answer = func(string, int) (Outcome, time.Duration) {
		d := time.Duration(0)
		if h.roll(30) {
			d = 50 * time.Millisecond
		}
		if h.roll(h.badness) {
			return failed, d
		}
		return delivered, d
	}
	ep := testEndpoint()
	ep.Order = h.order
	if h.order == mapping.OrderNone {
		s.keyOf = func(string) string { return "" }
	}
	b := startLane(h.faults, ep, h.parker, s, EndpointState{Position: h.saved})
	b.places = max(h.saved.Least().Ordinal, 1+l.back) - 1 - l.back
	for n := range l.brings {
		if b.places == h.n {
			break
		}
		b.send(fmt.Sprintf("%c%03d", 'a'+b.places%h.keys, b.places))
		if l.pause > 0 && h.roll(50) {
			time.Sleep(l.pause)
		}
		if n > 0 && h.roll(l.saves) {
			h.saved = b.Positions()["e"]
		}
	}
	time.Sleep(l.outlook)
	h.faults.trace("life %d ends", i)
	if l.killed {
		b.Abandon()
	} else {
		b.stop(h.faults)
		h.saved = b.Positions()["e"]
	}
	require.Zero(h.faults, s.twice, "in one life")
	for _, id := range s.received() {
		if by, before := h.last[id]; before {
			h.faults.Errorf("%s was delivered by life %d, which was stopped, and again by life %d", id, by, i)
		}
		h.last[id] = i
		h.got = append(h.got, id)
	}
}

// firsts returns the events in the order of their first receipts.
func (h *history) firsts() []string {
	var ids []string
	seen := make(map[string]bool)
	for _, id := range h.got {
		if !seen[id] {
			ids = append(ids, id)
		}
		seen[id] = true
	}
	return ids
}
