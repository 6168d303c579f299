package cdc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// watermark is what the property test drives: the real one, or a mutant that it must catch.
type watermark interface {
	begin() (tx any)
	add(tx any)
	settle(tx any)
	commit(tx any, end LSN)
	keepalive(end LSN)
	durable() LSN
}

type realMark struct{ *Watermark }

func (r realMark) begin() any           { return r.Begin() }
func (r realMark) add(tx any)           { tx.(*Tx).Add(1) }
func (r realMark) settle(tx any)        { tx.(*Tx).Settle() }
func (r realMark) commit(tx any, e LSN) { r.Commit(tx.(*Tx), e) }
func (r realMark) keepalive(end LSN)    { r.Keepalive(end) }
func (r realMark) durable() LSN         { return r.Durable() }

// largestWins confirms the largest LSN settled, as a poller that keeps "the last acknowledged position" does.
type largestWins struct {
	realMark
	top LSN
}

type mutantTx struct {
	tx   *Tx
	open int
	end  LSN
}

func (m *largestWins) begin() any { return &mutantTx{tx: m.Begin(), open: 1} }
func (m *largestWins) add(tx any) { t := tx.(*mutantTx); t.open++; t.tx.Add(1) }
func (m *largestWins) keepalive(e LSN) {
	m.Keepalive(e)
}

func (m *largestWins) settle(tx any) {
	t := tx.(*mutantTx)
	t.open--
	if t.open == 0 {
		m.top = max(m.top, t.end)
	}
	t.tx.Settle()
}

func (m *largestWins) commit(tx any, end LSN) {
	t := tx.(*mutantTx)
	t.end = end
	t.open--
	if t.open == 0 {
		m.top = max(m.top, end)
	}
	m.Commit(t.tx, end)
}

func (m *largestWins) durable() LSN { return max(m.top, m.Durable()) }

// keepalivePasses confirms every keepalive, whatever is open.
type keepalivePasses struct {
	realMark
	top LSN
}

func (m *keepalivePasses) keepalive(end LSN) { m.top = max(m.top, end); m.Keepalive(end) }
func (m *keepalivePasses) durable() LSN      { return max(m.top, m.Durable()) }

// model is the definition: all that was received, in order, and what of it is open.
type model struct {
	entries []*entry
}

type entry struct {
	tx        any
	open      int
	committed bool
	end       LSN
}

// durable is the end of the longest prefix without open work.
func (m *model) durable() LSN {
	var end LSN
	for _, e := range m.entries {
		if e.open > 0 || !e.committed {
			break
		}
		end = max(end, e.end)
	}
	return end
}

// runModel drives w and the model through the same random life and reports the first difference.
func runModel(rt *rapid.T, w watermark) {
	var m model
	var lsn LSN = 100
	var current *entry
	rt.Repeat(map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			require.Equal(rt, max(m.durable(), 0), w.durable())
		},
		"begin": func(rt *rapid.T) {
			if current != nil {
				rt.Skip("in a transaction")
			}
			current = &entry{tx: w.begin()}
			m.entries = append(m.entries, current)
		},
		"row": func(rt *rapid.T) {
			if current == nil {
				rt.Skip("between transactions")
			}
			w.add(current.tx)
			current.open++
		},
		"commit": func(rt *rapid.T) {
			if current == nil {
				rt.Skip("between transactions")
			}
			lsn += LSN(rapid.IntRange(1, 10).Draw(rt, "step"))
			current.committed, current.end = true, lsn
			w.commit(current.tx, lsn)
			current = nil
		},
		"keepalive": func(rt *rapid.T) {
			if current != nil {
				rt.Skip("in a transaction")
			}
			lsn += LSN(rapid.IntRange(0, 10).Draw(rt, "step"))
			m.entries = append(m.entries, &entry{committed: true, end: lsn})
			w.keepalive(lsn)
		},
		"settle": func(rt *rapid.T) {
			var open []*entry
			for _, e := range m.entries {
				if e.open > 0 {
					open = append(open, e)
				}
			}
			if len(open) == 0 {
				rt.Skip("nothing open")
			}
			e := rapid.SampledFrom(open).Draw(rt, "of")
			e.open--
			w.settle(e.tx)
		},
	})
}

func TestWatermark_IsTheEndOfTheLongestSettledPrefix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) { runModel(rt, realMark{NewWatermark(0)}) })
}

func TestWatermark_PropertyCatchesMutants(t *testing.T) {
	t.Parallel()
	mutants := map[string]func() watermark{
		"largest LSN wins":           func() watermark { return &largestWins{realMark: realMark{NewWatermark(0)}} },
		"keepalive passes open work": func() watermark { return &keepalivePasses{realMark: realMark{NewWatermark(0)}} },
	}
	for name, mutant := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caught := &catcher{TB: t}
			func() {
				defer func() { _ = recover() }()
				rapid.Check(caught, func(rt *rapid.T) { runModel(rt, mutant()) })
			}()
			require.True(t, caught.failed, "the property test does not notice")
		})
	}
}

// catcher is a testing.TB that notes a failure instead of failing.
type catcher struct {
	testing.TB
	failed bool
}

func (c *catcher) Errorf(string, ...any) { c.failed = true }
func (c *catcher) Fatalf(string, ...any) { c.failed = true; panic("caught") }
func (c *catcher) Error(...any)          { c.failed = true }
func (c *catcher) Fatal(...any)          { c.failed = true; panic("caught") }
func (c *catcher) Fail()                 { c.failed = true }
func (c *catcher) FailNow()              { c.failed = true; panic("caught") }
func (c *catcher) Failed() bool          { return c.failed }

func TestWatermark_YieldsOneTokenForManyMoves(t *testing.T) {
	t.Parallel()
	w := NewWatermark(1)
	for i := range LSN(5) {
		w.Keepalive(10 + i)
	}
	<-w.Moved()
	select {
	case <-w.Moved():
		t.Fatal("two tokens")
	default:
	}
	require.Equal(t, LSN(14), w.Durable())
	w.Keepalive(3)
	require.Equal(t, LSN(14), w.Durable(), "it never goes back")
}

func TestPosition_CoversAllBeforeItsMarkButTheOpen(t *testing.T) {
	t.Parallel()
	p := Position{Mark: Place{10, 5}, Open: []Place{{8, 0}, {10, 2}}}
	require.True(t, p.Covers(Place{7, 3}))
	require.False(t, p.Covers(Place{8, 0}))
	require.True(t, p.Covers(Place{8, 1}))
	require.False(t, p.Covers(Place{10, 2}))
	require.True(t, p.Covers(Place{10, 4}))
	require.False(t, p.Covers(Place{10, 5}))
	require.False(t, p.Covers(Place{11, 0}))
	require.Equal(t, Place{8, 0}, p.Least())
	require.Equal(t, "000000000000000A.00000002", Place{10, 2}.String())
}

func BenchmarkWatermark(b *testing.B) {
	w := NewWatermark(0)
	b.ReportAllocs()
	for i := range b.N {
		t := w.Begin()
		t.Add(1)
		w.Commit(t, LSN(i))
		t.Settle()
	}
}
