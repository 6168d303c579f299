package delivery

import (
	"container/heap"
	"time"
)

// stage is where a keyQueue stands.
type stage uint8

const (
	idle    stage = iota // empty
	ready                // its head may be attempted
	busy                 // its head is being attempted
	waiting              // its head is due later
	held                 // its head is decided and waits for the commit that says so
	tied                 // its head waits with a batch, which another queue leads
)

// keyQueue is the deliveries of one key, in commit order. Only its head is ever attempted. A key without deliveries in
// memory has no queue, so a quiet key costs nothing.
type keyQueue struct {
	key        string
	keyed      bool // false: the queue of a single delivery that has no order
	head, tail *item
	stage      stage
	batch      *batch    // the request that failed and that its head is part of
	after      *keyQueue // next in the ready list
	due        time.Time // when waiting
	index      int       // in the waiting heap
}

func (q *keyQueue) push(it *item) {
	it.queue, it.behind = q, nil
	if q.head == nil {
		q.head = it
	} else {
		q.tail.behind = it
	}
	q.tail = it
}

func (q *keyQueue) pop() *item {
	it := q.head
	q.head = it.behind
	if q.head == nil {
		q.tail = nil
	}
	it.queue, it.behind = nil, nil
	return it
}

// unlink takes an item out, wherever it stands.
func (q *keyQueue) unlink(it *item) {
	if q.head == it {
		q.pop()
		return
	}
	for p := q.head; p != nil; p = p.behind {
		if p.behind != it {
			continue
		}
		p.behind = it.behind
		if q.tail == it {
			q.tail = p
		}
		it.queue, it.behind = nil, nil
		return
	}
}

// readyList is the queues whose head may be attempted, first come first served: a key that was just served goes to the
// end, so that no key starves another.
type readyList struct {
	head, tail *keyQueue
	n          int
}

func (r *readyList) push(q *keyQueue) {
	q.stage, q.after = ready, nil
	if r.head == nil {
		r.head = q
	} else {
		r.tail.after = q
	}
	r.tail = q
	r.n++
}

func (r *readyList) pop() *keyQueue {
	q := r.head
	r.head = q.after
	if r.head == nil {
		r.tail = nil
	}
	q.after = nil
	r.n--
	return q
}

// unpop puts a queue back to where pop took it from.
func (r *readyList) unpop(q *keyQueue) {
	q.stage, q.after = ready, r.head
	r.head = q
	if r.tail == nil {
		r.tail = q
	}
	r.n++
}

// filter keeps the queues for which keep is true, in their order.
func (r *readyList) filter(keep func(*keyQueue) bool) {
	q := r.head
	*r = readyList{}
	for q != nil {
		next := q.after
		if keep(q) {
			r.push(q)
		}
		q = next
	}
}

// dueHeap is the waiting queues, the earliest due first.
type dueHeap []*keyQueue

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *dueHeap) Push(x any) {
	q := x.(*keyQueue)
	q.index = len(*h)
	*h = append(*h, q)
}

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	q := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return q
}

func (h *dueHeap) wait(q *keyQueue, due time.Time) {
	q.stage, q.due = waiting, due
	heap.Push(h, q)
}

func (h *dueHeap) remove(q *keyQueue) { heap.Remove(h, q.index) }
