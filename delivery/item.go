package delivery

import (
	"sync/atomic"
	"time"

	"relay/internal/failpoint"
	"relay/mapping"
)

// Settler is told what becomes durable of one transaction. Add is called before Dispatch returns, Settle once for each
// piece added, from any goroutine.
type Settler interface {
	Add(n int)
	Settle()
}

// ticket is what an event in memory holds on to, its place in the window and its transaction, until every lane that took
// it has settled.
type ticket struct {
	open   atomic.Int32
	bytes  int64
	window *Window
	tx     Settler
}

func (t *ticket) settle() {
	if t.open.Add(-1) == 0 {
		t.window.release(t.bytes)
		t.tx.Settle()
		failpoint.Hit("settled")
	}
}

// write is how far an item is on its way into the relay's own tables.
type write uint8

const (
	unwritten write = iota
	buffered        // waits in the lane's buffer; may still be taken out
	underway        // in a statement that may commit at any moment
)

// item is one delivery in a lane's memory. It is live, holding a ticket, until it is parked or done; from then on, or from
// the start if it was drained, it stands for the parked row with its id. All of it is under the lane's mutex, but what
// event points at.
type item struct {
	event  *mapping.Event
	ticket *ticket   // nil: settled
	since  time.Time // taken on by this process: what source.hold counts from
	born   time.Time // committed, or made to wait again by an operator: what retry.max_age counts from
	id     int64     // of the parked row; 0: none
	size   int64     // with id: bytes it counts for

	attempts int
	due      time.Time
	status   int
	err      string
	dead     bool

	flying bool  // an attempt is under way
	noted  bool  // among the rows to change
	keep   bool  // with noted: stays in memory
	write  write // on its way into the table
	result *result

	queue      *keyQueue // nil: not, or no longer, in memory for an attempt
	behind     *item     // next in the queue of its key
	prev, next *item     // live items in commit order
}

// live reports whether the item still holds its transaction back.
func (it *item) live() bool { return it.ticket != nil }

// openList is a lane's live items in commit order.
type openList struct {
	head, tail *item
	n          int
	bytes      int64
}

func (o *openList) push(it *item) {
	it.prev = o.tail
	if o.tail == nil {
		o.head = it
	} else {
		o.tail.next = it
	}
	o.tail = it
	o.n++
	o.bytes += it.ticket.bytes
}

func (o *openList) remove(it *item) {
	if it.prev == nil {
		o.head = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		o.tail = it.prev
	} else {
		it.next.prev = it.prev
	}
	it.prev, it.next = nil, nil
	o.n--
	o.bytes -= it.ticket.bytes
}
