package delivery

import (
	"runtime"
	"time"

	"relay/internal/failpoint"
)

// Limits of a lane's work with the table.
const (
	drainAhead = 4096      // most parked deliveries in a lane's memory while it drains
	drainTotal = 16 * 2048 // most in all lanes', before each has but what its concurrency needs
	drainBytes = 64 << 10  // least that a lane may have of half the window
	backOffMin = 100 * time.Millisecond
	backOffMax = 5 * time.Second
)

// tableWork is what a lane has to do with the relay's own tables. It is under the lane's mutex; one goroutine at a time,
// tend, carries it out, so that reads and writes of one endpoint have one order.
type tableWork struct {
	// diverted: everything new goes to the table. It starts so, and ends when the table is known to hold nothing that is
	// not in memory or held back key by key.
	diverted bool
	blocked  map[string]struct{} // keys whose new deliveries go to the table although others do not

	parks     parkBuffer
	unsure    []*item   // of a Park that ended with an error: they may be rows, until it is done again
	delivered []int64   // rows to remove
	settleDue time.Time // when the first of them is to be
	changed   []*item   // rows to change
	taken     map[int64]*item
	held      int64 // bytes of the taken
	gone      bool  // it answered 410, to be written
	breaker   bool  // its breaker opened or closed, to be written
	ordered   bool  // the rows are under the keys of the endpoint's order

	fetching bool
	left     map[string]struct{} // keys that left memory during the fetch: what it brings of them is not their head

	more      bool // the table may hold deliveries that may be attempted and are not in memory
	exhausted bool // Next returned all there was, and nothing was parked since
	check     bool // Backlog is to be asked
	review    bool // somebody else has changed rows, of which some may be in memory
	dueAt     time.Time
	running   bool
	failures  int // of the table, in a row
}

func (t *tableWork) init() {
	t.diverted, t.check = true, true
	t.blocked = make(map[string]struct{})
	t.taken = make(map[int64]*item)
	t.left = make(map[string]struct{})
}

// park has a live item become a row.
func (l *lane) park(it *item) {
	it.write = buffered
	l.table.parks.put(it, l.linger())
}

// change has the row of an item follow it. keep says that the item stays in memory for its next attempt.
func (t *tableWork) change(it *item, keep bool) {
	it.keep = keep
	if !it.noted {
		it.noted = true
		t.changed = append(t.changed, it)
	}
}

// drop forgets a parked item that was in memory.
func (t *tableWork) drop(it *item) {
	if t.taken[it.id] == it {
		t.held -= it.size
	}
	delete(t.taken, it.id)
}

// take notes that a parked item is in memory.
func (t *tableWork) take(it *item, size int64) {
	it.size = size
	t.taken[it.id] = it
	t.held += size
}

// leave notes that a key's deliveries leave memory.
func (t *tableWork) leave(q *keyQueue) {
	if t.fetching && q.keyed {
		t.left[q.key] = struct{}{}
	}
}

// pending reports whether there is something to write, though it be in a while.
func (t *tableWork) pending() bool {
	return len(t.parks.items) > 0 || len(t.unsure) > 0 || t.stale()
}

// stale reports whether rows there are no longer say what is so.
func (t *tableWork) stale() bool {
	return len(t.delivered) > 0 || len(t.changed) > 0 || t.gone || t.breaker
}

// kickTable starts tend if it has work.
func (l *lane) kickTable(now time.Time) {
	t := &l.table
	if t.running {
		return
	}
	if !(l.wantsSave(now) || l.wantsCheck() || l.wantsReview() || l.wantsMore(now)) {
		if len(t.parks.items) > 0 {
			l.wakeAt(t.parks.due)
		}
		if len(t.delivered) > 0 {
			l.wakeAt(t.settleDue)
		}
		return
	}
	t.running = true
	l.env.done.Go(l.tend)
}

// wantsSave reports whether something is to be written now.
func (l *lane) wantsSave(now time.Time) bool { return l.wantsSettle(now) || l.wantsPark(now) }

func (l *lane) wantsCheck() bool {
	return l.table.check && len(l.table.unsure) == 0 && !l.stopping && l.paused == "" && l.state == BreakerClosed && !l.rekeying
}

// wantsMore reports whether parked deliveries should be fetched: they may be sent now, and memory runs low of them.
func (l *lane) wantsMore(now time.Time) bool {
	return l.table.more && l.permitted(now) && 2*len(l.table.taken) <= l.ahead() && 2*l.table.held <= l.aheadBytes()
}

// aheadBytes is how many bytes of parked deliveries may be in memory: half of the window, shared by all lanes.
func (l *lane) aheadBytes() int64 {
	w := l.env.window
	return max(drainBytes, w.maxBytes/2/max(1, int64(w.lanes.Load())))
}

// ahead is how many parked deliveries may be in memory: all that a healthy endpoint can be sent in the time of a query, no
// more than may be attempted while it recovers.
func (l *lane) ahead() int {
	if l.state != BreakerClosed || l.ramp < l.ep.Concurrency {
		return l.limit()
	}
	share := drainTotal / max(1, int(l.env.window.lanes.Load()))
	return max(min(drainAhead, share), 4*l.ep.Concurrency)
}

// tend does the lane's work with the table until there is none.
func (l *lane) tend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.env.write.Err() == nil {
		var err error
		switch now := time.Now(); {
		case !l.table.ordered:
			err = l.reorder()
		case l.wantsCheck():
			err = l.settleRows()
			if err == nil && l.wantsCheck() {
				err = l.look()
			}
		case l.wantsSave(now):
			err = l.save()
		case l.wantsReview():
			err = l.review()
		case l.wantsMore(now):
			err = l.fetch()
		default:
			l.table.running = false
			l.kickTable(now) // for what it leaves to be woken for
			return
		}
		l.afterTable(err)
		now := time.Now()
		l.arm(now)
		l.kick(now)
	}
	l.table.running = false
}

// reorder has the rows follow the endpoint's order setting, which may have changed since they were parked.
func (l *lane) reorder() error {
	order := l.ep.Order
	err := l.unlocked(func() error { return l.env.parker.Reorder(l.env.write, l.name, order) })
	l.table.ordered = err == nil && order == l.ep.Order
	return err
}

// afterTable waits after an error, unlocked, and says when trouble begins and ends.
func (l *lane) afterTable(err error) {
	t := &l.table
	if err == nil {
		if t.failures > 0 {
			l.env.log.Info("relay tables reachable again", "endpoint", l.name, "failures", t.failures)
		}
		t.failures = 0
		return
	}
	t.failures++
	if t.failures == 1 && l.env.write.Err() == nil {
		l.env.log.Warn("relay tables not reachable, retrying", "endpoint", l.name, "err", err)
	}
	wait := time.NewTimer(min(backOffMin<<min(t.failures-1, 10), backOffMax))
	defer wait.Stop()
	l.mu.Unlock()
	select {
	case <-wait.C:
	case <-l.env.write.Done():
	}
	l.mu.Lock()
}

// save writes what there is to write. The rows come first and are settled after: a crash between the two sends
// them again, which the table recognises; the other way round would lose them.
func (l *lane) save() error {
	if l.wantsPark(time.Now()) {
		if err := l.saveParks(); err != nil {
			return err
		}
	}
	if l.wantsSettle(time.Now()) {
		if err := l.settleRows(); err != nil {
			return err
		}
	}
	return l.saveState()
}

func (l *lane) saveParks() error {
	defer l.takeTurn()()
	t := &l.table
	items := t.unsure
	if len(items) == 0 {
		if items = t.parks.take(); len(items) == 0 {
			return nil
		}
	}
	rows := make([]Parked, len(items))
	for i, it := range items {
		rows[i] = l.row(it)
	}
	l.mu.Unlock()
	ids, err := l.env.parker.Park(l.env.write, rows)
	l.mu.Lock()
	if err != nil { // perhaps only the answer was lost
		t.unsure = items
		return err
	}
	t.unsure = nil
	failpoint.Hit("parked")
	t.exhausted = false
	for i, it := range items {
		l.breathe(i)
		l.parked(it, ids[i])
	}
	return nil
}

// row is what the table is to hold of an item.
func (l *lane) row(it *item) Parked {
	p := Parked{
		ID: it.id, Endpoint: l.name, Event: it.event, State: Waiting,
		Attempts: it.attempts, Due: it.due, Status: it.status, Err: it.err, Since: it.born,
	}
	p.Lane, p.Ordered = l.laneKey(it.event)
	if it.dead {
		p.State, p.Due = Dead, time.Time{}
	}
	if it.keep {
		p.Due = time.Time{}
	}
	return p
}

// parked takes in that an item has become a row.
func (l *lane) parked(it *item, id int64) {
	it.write, it.id = unwritten, id
	l.settle(it)
	if it.dead {
		l.metrics.dead.Inc()
	} else {
		l.metrics.parked.Inc()
	}
	q := it.queue
	if id != 0 && q != nil {
		l.table.take(it, int64(len(it.event.Payload)))
	}
	switch {
	case it.result != nil:
		if q.head == it { // otherwise its turn comes
			l.resolve(q, *it.result)
		}
	case q != nil && (it.flying || q.head != it): // its attempt goes on, or it waits with the rest of its batch
	case q != nil:
		l.release(it)
	case !it.dead:
		l.follow(it)
	}
}

// follow sees to it that a row without an item is fetched in time. One whose key is held back comes with its key.
func (l *lane) follow(it *item) {
	key, keyed := l.laneKey(it.event)
	_, blocked := l.table.blocked[key]
	if !keyed || !blocked || !it.due.IsZero() {
		l.later(it.due)
	}
}

// release lets the key of a held item go on.
func (l *lane) release(it *item) {
	if q := it.queue; q != nil && q.head == it && q.stage == held {
		q.pop()
		l.proceed(q)
	}
	l.table.drop(it)
}

// later notes that the table holds something to attempt at a time; zero is now.
func (l *lane) later(due time.Time) {
	t := &l.table
	if !due.After(time.Now()) {
		t.more = true
	} else if t.dueAt.IsZero() || due.Before(t.dueAt) {
		t.dueAt = due
	}
}

// saveState writes the endpoint's own row: that it is gone, and its breaker.
func (l *lane) saveState() error {
	t := &l.table
	if t.gone {
		t.gone = false
		if err := l.unlocked(func() error { return l.env.parker.SetGone(l.env.write, l.name) }); err != nil {
			t.gone = true
			return err
		}
	}
	if t.breaker {
		t.breaker = false
		st := l.breaker.Status()
		if err := l.unlocked(func() error {
			return l.env.parker.SaveBreaker(l.env.write, l.name, st.RetryAt, st.OpenFor)
		}); err != nil {
			t.breaker = true
			return err
		}
	}
	return nil
}

// breath is how many rows are taken in at a time.
const breath = 64

// breathe lets others have the mutex now and then while rows are taken in, the i-th of which is next: the reader hands events over
// to all endpoints one after the other, and would wait for this one. What is not taken in yet is still under way.
func (l *lane) breathe(i int) {
	if i%breath != breath-1 {
		return
	}
	l.mu.Unlock()
	runtime.Gosched() // or it would be taken again before anyone who waits wakes up
	l.mu.Lock()
}

// unlocked calls f without the mutex.
func (l *lane) unlocked(f func() error) error {
	l.mu.Unlock()
	defer l.mu.Lock()
	return f()
}
