package delivery

import (
	"fmt"
	"time"
)

// result is what becomes of a key's head: delivered, dead, or neither, which is another attempt when it is due.
type result struct {
	delivered, dead bool
	due             time.Time
}

// judge turns the outcome of an attempt into a result, by the table in the contract.
func (l *lane) judge(it *item, out Outcome, now time.Time) result {
	switch out.Verdict {
	case Delivered:
		return result{delivered: true}
	case Aborted:
		return result{due: now}
	case Denied, Invalid:
		return result{dead: true}
	case Gone:
		l.leave()
		return result{due: now}
	case Rejected:
		if it.attempts >= l.ep.Retry.Rejected {
			return result{dead: true}
		}
		return l.retry(it, 0, now)
	case Throttled:
		if until := now.Add(out.RetryAfter); out.RetryAfter > 0 && until.After(l.until) {
			l.until = until
			if out.RetryAfter > l.env.hold {
				l.divert()
			}
		}
		return l.retry(it, out.RetryAfter, now)
	default:
		return l.retry(it, out.RetryAfter, now)
	}
}

// retry schedules another attempt, or gives the delivery up.
func (l *lane) retry(it *item, hint time.Duration, now time.Time) result {
	d, ok := Delay(l.ep.Retry, it.attempts, hint, l.env.random)
	switch {
	case !ok:
		it.err = fmt.Sprintf("gave up after %d attempts, the last: %s", it.attempts, it.err)
	case now.Add(d).Sub(it.born) > l.ep.Retry.MaxAge:
		it.err = fmt.Sprintf("gave up: older than retry.max_age %s at the next attempt; the last: %s", l.ep.Retry.MaxAge, it.err)
		ok = false
	}
	return result{dead: !ok, due: now.Add(d)}
}

// resolve applies a result to the head of a queue.
func (l *lane) resolve(q *keyQueue, r result) {
	it := q.head
	if it.write == underway { // only its commit tells whether there is a row to change
		it.result = &r
		q.stage = held
		return
	}
	it.result = nil
	switch {
	case r.delivered:
		l.deliver(it)
		q.pop()
		l.proceed(q)
	case r.dead:
		q.stage = held
		it.dead = true
		l.record(it, false)
	default:
		it.due = r.due
		l.again(q)
	}
}

// deliver settles an item that the endpoint took.
func (l *lane) deliver(it *item) {
	l.metrics.delivered.Inc()
	l.delivered++
	switch {
	case it.live():
		it.write = unwritten // if it waited to be parked, that is not needed any more
		l.settle(it)
	case it.id != 0:
		l.table.delivers(it.id)
		l.table.drop(it)
	}
}

// settle lets go of what a live item held back. What it stands for is durable: delivered, or committed to the table.
func (l *lane) settle(it *item) {
	l.open.remove(it)
	t := it.ticket
	it.ticket = nil
	t.settle()
	if l.sated {
		l.appetite()
	}
}

// record has the item's state written to the table: as a new row, or to the one it stands for. keep says that it stays
// in memory for its next attempt.
func (l *lane) record(it *item, keep bool) {
	switch {
	case it.live():
		if it.write == unwritten {
			l.park(it)
		}
		if q := it.queue; q != nil && q.stage == held {
			l.table.parks.hasten()
		}
	case it.id != 0:
		l.table.change(it, keep)
	default: // its row was there before this process took it on, and will be drained
		if q := it.queue; q != nil && !keep {
			q.pop()
			l.proceed(q)
		}
	}
}

// again keeps the head of a queue for its next attempt: in memory if that is soon, otherwise in the table, and its key
// with it.
func (l *lane) again(q *keyQueue) {
	it := q.head
	key, keyed := l.laneKey(it.event)
	switch {
	case keyed != q.keyed || key != q.key: // it was in the air when the order changed: under the new one others may come first
		l.retreat(q)
	case it.live() && it.write == unwritten && !l.table.diverted && !it.due.After(it.since.Add(l.env.hold)):
		l.wait.wait(q, it.due)
		l.wakeAt(it.due)
	case !it.live() && !l.stopping && l.state == BreakerClosed && l.paused == "" && time.Until(it.due) <= l.env.hold:
		l.record(it, true)
		l.wait.wait(q, it.due)
		l.wakeAt(it.due)
	default:
		l.retreat(q)
	}
}

// retreat moves a key from memory to the table, its head first, and has newer deliveries follow it there.
func (l *lane) retreat(q *keyQueue) {
	l.block(q)
	l.table.leave(q)
	for q.head != nil {
		it := q.pop()
		switch {
		case it.live():
			if it.write == unwritten {
				l.park(it)
			}
		case it.due.IsZero():
			l.table.drop(it)
		default:
			l.record(it, false)
		}
	}
	l.forget(q)
}

// block makes a key's newer deliveries queue up in the table.
func (l *lane) block(q *keyQueue) {
	l.table.more = true
	if !q.keyed || l.table.diverted {
		return
	}
	l.table.blocked[q.key] = struct{}{}
	if len(l.table.blocked) > maxBlocked {
		l.divert()
	}
}

// trim moves what stands behind the head of a queue, and is not in the air with it, to the table, or leaves it there.
func (l *lane) trim(q *keyQueue) {
	if q.head == nil {
		return
	}
	l.table.leave(q)
	last := q.head
	for last.behind != nil && (last.behind.flying || last.behind.result != nil) { // the rest of a batch
		last = last.behind
	}
	it := last.behind
	last.behind, q.tail = nil, last
	for it != nil {
		next := it.behind
		it.queue, it.behind = nil, nil
		if it.live() {
			if it.write == unwritten {
				l.park(it)
			}
		} else {
			l.table.drop(it)
		}
		it = next
	}
}

// divert sends everything to the table, in commit order, but what is in the air, which gets a row too: should its attempt
// fail, it still comes before what was parked behind it.
func (l *lane) divert() {
	if l.table.diverted {
		return
	}
	l.table.diverted, l.table.more = true, true
	clear(l.table.blocked)
	for it := l.open.head; it != nil; it = it.next {
		if it.write == unwritten {
			l.park(it)
		}
	}
	l.ground()
}

// ground takes everything out of memory that is not in the air or waiting for a commit.
func (l *lane) ground() {
	l.untieAll()
	for _, q := range l.wait {
		l.clearQueue(q)
	}
	l.wait = nil
	l.ready.filter(func(q *keyQueue) bool {
		l.clearQueue(q)
		return false
	})
	for _, q := range l.keys {
		l.trim(q)
	}
	l.table.more = true
}

// clearQueue takes a queue out of memory. What waited there for its time goes on waiting in the table.
func (l *lane) clearQueue(q *keyQueue) {
	l.table.leave(q)
	for q.head != nil {
		switch it := q.pop(); {
		case it.live():
		case it.due.IsZero():
			l.table.drop(it)
		default:
			l.record(it, false)
		}
	}
	l.forget(q)
}

// leave is for an endpoint that says it is gone: nothing more is sent until somebody resumes it.
func (l *lane) leave() {
	if l.paused != "" {
		return
	}
	l.paused = pausedGone
	l.table.gone = true
	l.divert()
	l.env.log.Warn("endpoint gone, paused until resumed", "endpoint", l.name)
}

// tick parks what has waited too long. age is how long the oldest delivery has waited for nothing but its turn.
func (l *lane) tick(now time.Time) (age time.Duration, diverted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping || l.table.diverted {
		return 0, true
	}
	for it := l.open.head; it != nil && now.Sub(it.since) >= l.env.hold && !l.table.diverted; it = it.next {
		if it.write == unwritten {
			l.overstayed(it.queue)
		}
		l.table.parks.hasten()
	}
	l.kick(now)
	if l.ready.head != nil && l.ready.head.head.live() {
		age = now.Sub(l.ready.head.head.since)
	}
	return age, l.table.diverted
}

// overstayed parks a key whose head has held the slot too long; if only the want of a free worker kept it, the endpoint is
// too slow for what it is sent, and all of it goes to the table.
func (l *lane) overstayed(q *keyQueue) {
	if q.batch != nil {
		l.untie(q.batch)
	}
	switch q.stage {
	case ready:
		l.divert()
	case waiting:
		l.wait.remove(q)
		l.retreat(q)
	default:
		for it := q.head; it != nil && (it == q.head || it.flying); it = it.behind {
			if it.live() && it.write == unwritten {
				l.park(it)
			}
		}
		l.block(q)
		l.trim(q)
	}
}
