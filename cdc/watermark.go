package cdc

import (
	"sync"
	"sync/atomic"
)

// Watermark knows up to where everything received is durable. It counts, it never compares: each transaction carries
// the number of its open pieces of work, and the watermark is the end of the longest run of transactions, in commit
// order, that have none. It belongs to one slot and outlives the connections to it.
//
// Its memory is that of the open transactions: one that is settled and has an open one before it leaves the list at once, and
// its end goes to that one. An endpoint that cannot be parked for may keep a transaction open for hours, while the others
// settle thousands a second.
//
// The reader calls Begin, Commit and Keepalive in stream order from one goroutine; Tx.Settle may be called from any.
type Watermark struct {
	mu      sync.Mutex
	durable atomic.Uint64 // written under mu
	head    *Tx           // oldest transaction not yet passed; from it to tail, the open ones in commit order
	tail    *Tx
	moved   chan struct{} // capacity 1: a token says that durable moved since it was taken
}

// Tx is one transaction in a Watermark.
type Tx struct {
	mark *Watermark
	open atomic.Int64 // pieces of work, plus one until the reader has seen the commit

	// Under mark.mu.
	end        LSN // where to confirm once this and all before are settled, and those after it that are settled already
	prev, next *Tx // nil, both, once it has left the list
}

// NewWatermark returns a watermark at start, where the slot is confirmed already.
func NewWatermark(start LSN) *Watermark {
	w := &Watermark{moved: make(chan struct{}, 1)}
	w.durable.Store(uint64(start))
	return w
}

// Begin opens the transaction that the reader receives next. Exactly one Commit follows before another Begin.
func (w *Watermark) Begin() *Tx {
	t := &Tx{mark: w}
	t.open.Store(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tail == nil {
		w.head = t
	} else {
		w.tail.next, t.prev = t, w.tail
	}
	w.tail = t
	return t
}

// Commit closes t for further work. end is the end LSN of the transaction: confirming there, and nowhere before it,
// spares the server sending it again.
func (w *Watermark) Commit(t *Tx, end LSN) {
	w.mu.Lock()
	t.end = end
	w.mu.Unlock()
	t.Settle()
}

// Keepalive notes that the server has nothing for us before end beyond what was received. It becomes durable when all
// of that is: at once when nothing is open, and with the last transaction otherwise. A keepalive in the middle of a
// transaction says nothing and is to be left out by the caller.
func (w *Watermark) Keepalive(end LSN) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tail == nil {
		w.advance(end)
		return
	}
	w.tail.end = max(w.tail.end, end)
}

// Durable returns the LSN before which everything received is durable. It never goes back.
func (w *Watermark) Durable() LSN { return LSN(w.durable.Load()) }

// Moved returns a channel that yields after Durable has moved. It holds one token, so moves between two looks count as one.
func (w *Watermark) Moved() <-chan struct{} { return w.moved }

// Add opens n more pieces of work. It is called by the reader's goroutine only, before Commit.
func (t *Tx) Add(n int) { t.open.Add(int64(n)) }

// Settle closes one piece of work: it is durable.
func (t *Tx) Settle() {
	left := t.open.Add(-1)
	if left > 0 {
		return
	}
	if left < 0 {
		panic("cdc: transaction settled more often than opened")
	}
	t.mark.settled(t)
}

// settled takes t, which has nothing open, out of the list. At the head it moves the watermark; elsewhere its end becomes that of
// the transaction before it, which is committed, since it began earlier: where the one is passed, so is the other.
func (w *Watermark) settled(t *Tx) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case t == w.head:
		w.pass()
	case t.prev != nil:
		t.prev.end = max(t.prev.end, t.end)
		w.unlink(t)
	} // else the head was settled in between, and pass has taken t along
}

// pass moves the watermark over every settled transaction at the head. Like unlink it leaves no pointer in what it takes out:
// somebody who still holds that would hold all that came after it.
func (w *Watermark) pass() {
	var end LSN
	t := w.head
	for t != nil && t.open.Load() == 0 {
		end = max(end, t.end)
		next := t.next
		if next != nil {
			t.next, next.prev = nil, nil
		}
		t = next
	}
	if w.head = t; t == nil {
		w.tail = nil
	}
	w.advance(end)
}

// unlink takes t, which is not the head, out of the list.
func (w *Watermark) unlink(t *Tx) {
	t.prev.next = t.next
	if t.next == nil {
		w.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}

func (w *Watermark) advance(end LSN) {
	if end <= LSN(w.durable.Load()) {
		return
	}
	w.durable.Store(uint64(end))
	select {
	case w.moved <- struct{}{}:
	default:
	}
}
