package cdc

import (
	"sync"
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
	length() int
}

type realMark struct{ *Watermark }

func (r realMark) begin() any           { return r.Begin() }
func (r realMark) add(tx any)           { tx.(*Tx).Add(1) }
func (r realMark) settle(tx any)        { tx.(*Tx).Settle() }
func (r realMark) commit(tx any, e LSN) { r.Commit(tx.(*Tx), e) }
func (r realMark) keepalive(end LSN)    { r.Keepalive(end) }
func (r realMark) durable() LSN         { return r.Durable() }

// length counts the list, and -1 says that it does not read the same in both directions.
func (r realMark) length() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last *Tx
	for t := r.head; t != nil; t = t.next {
		if t.prev != last {
			return -1
		}
		last = t
		n++
	}
	if last != r.tail {
		return -1
	}
	return n
}

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

// open is how many transactions have work that is not settled, or no end yet.
func (m *model) open() (n int) {
	for _, e := range m.entries {
		if e.open > 0 || !e.committed {
			n++
		}
	}
	return n
}

// runModel drives w and the model through the same random life and reports the first difference.
func runModel(rt *rapid.T, w watermark) {
	var m model
	var lsn LSN = 100
	var current *entry
	rt.Repeat(map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			require.Equal(rt, max(m.durable(), 0), w.durable())
			require.Equal(rt, m.open(), w.length(), "what is settled takes no memory, whatever is open before it")
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

// One endpoint cannot park, another delivers: everything settles but the head, from many goroutines at once.
func TestWatermark_KeepsNothingOfWhatIsSettledBehindAStuckHead(t *testing.T) {
	t.Parallel()
	const n, workers = 20_000, 4
	w := NewWatermark(0)
	stuck := w.Begin()
	stuck.Add(1)
	w.Commit(stuck, 1)
	work := make(chan *Tx)
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for tx := range work {
				tx.Settle()
			}
		})
	}
	for i := range LSN(n) {
		tx := w.Begin()
		tx.Add(2)
		work <- tx // one piece while it is received, one when it was
		w.Commit(tx, 2+i)
		w.Keepalive(2 + i)
		work <- tx
		require.LessOrEqual(t, realMark{w}.length(), 2+workers)
	}
	close(work)
	done.Wait()
	require.Equal(t, 1, realMark{w}.length())
	require.Zero(t, w.Durable())
	stuck.Settle()
	require.Equal(t, LSN(n+1), w.Durable())
	require.Zero(t, realMark{w}.length())
}

func TestPosition_CoversAllBeforeItsMarkButTheOpenAndWhatLiesBeyond(t *testing.T) {
	t.Parallel()
	p := Position{Mark: Place{10, 5}, Open: []Place{{8, 0}, {10, 2}}, Beyond: []Place{{10, 7}, {12, 0}}}
	require.True(t, p.Covers(Place{7, 3}))
	require.False(t, p.Covers(Place{8, 0}))
	require.True(t, p.Covers(Place{8, 1}))
	require.False(t, p.Covers(Place{10, 2}))
	require.True(t, p.Covers(Place{10, 4}))
	require.False(t, p.Covers(Place{10, 5}))
	require.False(t, p.Covers(Place{11, 0}))
	require.True(t, p.Covers(Place{10, 7}))
	require.False(t, p.Covers(Place{10, 8}))
	require.True(t, p.Covers(Place{12, 0}))
	require.False(t, p.Covers(Place{13, 0}))
	require.Equal(t, Place{8, 0}, p.Least())
	require.Equal(t, "000000000000000A.00000002", Place{10, 2}.String())
}

func TestPosition_WithPlacesCoversThemToo(t *testing.T) {
	t.Parallel()
	p := Position{Mark: Place{10, 5}, Open: []Place{{8, 0}, {10, 2}, {10, 3}}, Beyond: []Place{{10, 7}, {12, 0}}}
	require.Equal(t, p, p.With(nil))
	q := p.With([]Place{{12, 0}, {10, 6}, {7, 0}, {10, 2}, {10, 5}, {10, 4}})
	require.Equal(t, Position{Mark: Place{10, 5}, Open: []Place{{8, 0}, {10, 3}}, Beyond: []Place{{10, 5}, {10, 6}, {10, 7}, {12, 0}}}, q)
	require.Len(t, p.Open, 3, "what it was made from stays")
	require.True(t, q.Equal(q.With([]Place{{10, 7}})))
	require.False(t, q.Equal(p))
}

func TestPosition_FromLeavesOutWhatIsPassed(t *testing.T) {
	t.Parallel()
	p := Position{Mark: Place{10, 5}, Open: []Place{{8, 0}, {10, 2}}, Beyond: []Place{{10, 7}, {12, 0}}}
	require.Equal(t, p, p.From(Place{}))
	require.Equal(t, Position{Mark: p.Mark, Open: []Place{{10, 2}}, Beyond: p.Beyond}, p.From(Place{10, 2}))
	require.Equal(t, Position{Mark: p.Mark, Beyond: []Place{{12, 0}}}, p.From(Place{10, 8}))
	require.Equal(t, Position{Mark: p.Mark}, p.From(Place{12, 1}))
}

// BenchmarkWatermark_Stuck is a transaction that is delivered while an older one stays open.
func BenchmarkWatermark_Stuck(b *testing.B) {
	w := NewWatermark(0)
	stuck := w.Begin()
	stuck.Add(1)
	w.Commit(stuck, 1)
	b.ReportAllocs()
	for i := range b.N {
		oneRowTransaction(w, LSN(2+i))
	}
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
