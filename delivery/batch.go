package delivery

import (
	"time"

	"relay/mapping"
)

// batch is a request that holds several deliveries: one after the other from the heads of one or more queues, in the order
// of each. It succeeds or fails as one. A batch that failed and is tried again soon is sent again whole, so that it keeps
// its webhook-id: its queues wait tied together, the first of them in the lane's heap for all.
type batch struct {
	queues []*keyQueue
	items  []*item
}

func (b *batch) events() []*mapping.Event {
	evs := make([]*mapping.Event, len(b.items))
	for i, it := range b.items {
		evs[i] = it.event
	}
	return evs
}

// filled reports whether a batch may go: it can be full, or its first delivery has waited for batch.wait. Otherwise it
// sees to it that the lane is woken then.
func (l *lane) filled() bool {
	if l.ready.head.batch != nil || l.open.n+len(l.table.taken) >= l.ep.Batch.Events*(l.inFlight+1) {
		return true
	}
	at := l.ready.head.head.since.Add(l.ep.Batch.Wait)
	if !at.After(time.Now()) {
		return true
	}
	l.wakeAt(at)
	return false
}

// load fills a request, starting with the head of q: with the batch that q leads, or else with what is ready, up to the
// limits of events and bytes. A delivery that is larger than the limit, or cannot be rendered, goes alone.
func (l *lane) load(q *keyQueue) *batch {
	if b := q.batch; b != nil {
		for _, q := range b.queues {
			q.stage, q.batch = busy, nil
		}
		for _, it := range b.items {
			it.flying = true
		}
		return b
	}
	b := &batch{}
	limit := l.ep.Batch
	size := int64(len("[]"))
	for {
		b.queues = append(b.queues, q)
		q.stage = busy
		for it := q.head; it != nil; it = it.behind {
			n, err := l.ep.Size(it.event)
			size += int64(n) + 1 // and a comma
			if len(b.items) > 0 && (err != nil || size > limit.Bytes || it.dead) {
				return l.unload(b, q, it)
			}
			it.flying = true
			b.items = append(b.items, it)
			if err != nil || len(b.items) == limit.Events {
				return b
			}
		}
		if l.ready.n == 0 || l.ready.head.batch != nil {
			return b
		}
		q = l.ready.pop()
	}
}

// unload ends the loading at an item that does not go with the others. If it is the head of its queue the queue stays ready,
// and first.
func (l *lane) unload(b *batch, q *keyQueue, it *item) *batch {
	if q.head == it {
		b.queues = b.queues[:len(b.queues)-1]
		l.ready.unpop(q)
	}
	return b
}

// landBatch takes the outcome of a batch in. All its deliveries share it.
func (l *lane) landBatch(b *batch, out Outcome, now time.Time) {
	oldest := b.items[0]
	for _, it := range b.items {
		l.landed(it, out)
		if it.attempts > oldest.attempts {
			oldest = it
		}
	}
	r := l.judge(oldest, out, now)
	if r.delivered || r.dead {
		for _, it := range b.items {
			it.err = oldest.err
			it.result = &r
		}
		for _, q := range b.queues {
			l.resolve(q, r)
		}
		return
	}
	for _, q := range b.queues {
		l.resolve(q, r)
	}
	l.tie(b)
}

// tie keeps the queues of a batch together if all of them wait in memory.
func (l *lane) tie(b *batch) {
	if l.ep.Batch.Events <= 1 {
		return // configured anew while it was in the air
	}
	for i, q := range b.queues {
		if q.stage != waiting || q.head == nil {
			return
		}
		if i > 0 && !q.due.Equal(b.queues[0].due) {
			return
		}
	}
	for i, q := range b.queues {
		q.batch = b
		if i > 0 {
			l.wait.remove(q)
			q.stage = tied
		}
	}
}

// untie lets the queues of a waiting batch wait each for itself.
func (l *lane) untie(b *batch) {
	first := b.queues[0]
	for i, q := range b.queues {
		q.batch = nil
		switch {
		case i == 0:
		case first.stage == waiting:
			l.wait.wait(q, first.due)
		default:
			l.ready.push(q)
		}
	}
}

// untieAll unties every waiting batch.
func (l *lane) untieAll() {
	var tied []*batch
	for _, q := range l.wait {
		if q.batch != nil {
			tied = append(tied, q.batch)
		}
	}
	for q := l.ready.head; q != nil; q = q.after {
		if q.batch != nil {
			tied = append(tied, q.batch)
		}
	}
	for _, b := range tied {
		l.untie(b)
	}
}
