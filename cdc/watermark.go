package cdc

import (
	"sync"
	"sync/atomic"
)

// Watermark knows up to where everything received is durable. It counts, it never compares: each transaction carries
// the number of its open pieces of work, and the watermark is the end of the longest run of transactions, in commit
// order, that have none. It belongs to one slot and outlives the connections to it.
//
// The reader calls Begin, Commit and Keepalive in stream order from one goroutine; Tx.Settle may be called from any.
type Watermark struct {
	mu      sync.Mutex
	durable atomic.Uint64 // written under mu
	head    *Tx           // oldest transaction not yet passed
	tail    *Tx
	moved   chan struct{} // capacity 1: a token says that durable moved since it was taken
}

// Tx is one transaction in a Watermark.
type Tx struct {
	mark *Watermark
	open atomic.Int64 // pieces of work, plus one until the reader has seen the commit
	end  LSN          // where to confirm once this and all before are settled; under mark.mu
	next *Tx
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
		w.tail.next = t
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

// Idle reports whether nothing received is open.
func (w *Watermark) Idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head == nil
}

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
	t.mark.pass()
}

// pass moves the watermark over every settled transaction at the head.
func (w *Watermark) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var end LSN
	for w.head != nil && w.head.open.Load() == 0 {
		end = max(end, w.head.end)
		w.head = w.head.next
	}
	if w.head == nil {
		w.tail = nil
	}
	w.advance(end)
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
