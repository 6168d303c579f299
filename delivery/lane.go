package delivery

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"relay/mapping"
)

// maxBlocked is the most keys a lane holds back one by one. With more of them everything new goes to the table, where
// keys cost no memory.
const maxBlocked = 1000

// Sender makes one attempt. It is safe for concurrent use, returns by the endpoint's timeout and reports every failure as
// an Outcome.
type Sender interface {
	Send(ctx context.Context, r *Request) Outcome
	Close()
}

var _ Sender = (*Client)(nil)

// lane is everything one endpoint does: the order of its keys, its attempts, retries and breaker, and what of it is in
// the relay's own tables. An event enters by accept and leaves by being settled: delivered, or committed to the table.
//
// A key is either live, its deliveries queued in memory, or behind, its new deliveries going to the table after those
// that are there already. The lane alone decides which, under its mutex: so there is no moment in which one could
// overtake the other.
type lane struct {
	name string
	env  *environment

	received atomic.Int64 // events accepted, ever
	seen     traffic      // of the dispatcher's tick

	mu      sync.Mutex
	ep      *mapping.Endpoint
	sender  Sender
	breaker *Breaker
	limiter *rate.Limiter // nil: no rate
	metrics *laneMetrics

	earlier mapping.Position // what was settled before the lane began
	open    openList
	keys    map[string]*keyQueue
	spare   *keyQueue // an idle one to use again
	ready   readyList
	wait    dueHeap

	sated    bool
	workers  int // goroutines in work
	starting int // of them, those that have not looked for an attempt yet
	scopes   []scope
	inFlight int
	ramp     int // attempts allowed at once while the endpoint recovers; grows with each success to its concurrency
	state    BreakerState
	until    time.Time // the endpoint asked for a pause
	paused   string    // why it is paused until somebody resumes it; empty: it is not
	stopping bool
	rekeying bool // the order setting changed: what is in the air under old keys lands first
	timer    *time.Timer
	timerAt  time.Time

	table     tableWork
	delivered int64
	last      lastError
	outage    outage
}

// lastError is for people: what went wrong last.
type lastError struct {
	at     time.Time
	reason Reason
	text   string
}

// environment is what the lanes of a dispatcher share.
type environment struct {
	parker Parker
	window *Window
	hold   time.Duration
	log    *slog.Logger
	random func() float64

	suspended atomic.Bool                   // nothing may be begun
	next      atomic.Pointer[mapping.Place] // everything before it has been dispatched; nil: nothing has

	turn chan struct{} // holds the one lane that writes what it gathered

	send  context.Context // ends when attempts are to be given up
	write context.Context // ends when writing to the table is to be given up
	done  sync.WaitGroup  // every goroutine of every lane
}

func newLane(ep *mapping.Endpoint, sender Sender, env *environment, m *laneMetrics, saved EndpointState) *lane {
	l := &lane{
		name: ep.Name, env: env, ep: ep, sender: sender, metrics: m,
		breaker: NewBreaker(ep.Breaker, ep.Timeout, saved.Breaker, nil),
		keys:    make(map[string]*keyQueue), ramp: ep.Concurrency,
		earlier: saved.Position,
	}
	l.setLimiter(ep)
	switch {
	case saved.Gone:
		l.paused = pausedGone
	case saved.Paused:
		l.paused = pausedByOperator
	case ep.Paused:
		l.paused = pausedByFile
	}
	l.table.init()
	env.window.join()
	l.noteBreaker()
	return l
}

// Why a lane is paused.
const (
	pausedGone       = "the endpoint answered 410 Gone"
	pausedByOperator = "paused by an operator"
	pausedByFile     = "paused in the configuration"
)

func (l *lane) setLimiter(ep *mapping.Endpoint) {
	l.limiter = nil
	if ep.Rate > 0 {
		l.limiter = rate.NewLimiter(rate.Limit(ep.Rate), max(1, int(ep.Rate/100)))
	}
}

// accept takes an event on, unless it was settled before this process started. failure says that the delivery is dead
// already, and why. It reports whether the lane now holds the ticket.
func (l *lane) accept(ev *mapping.Event, t *ticket, failure string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.earlier.Covers(ev.Place) {
		return false
	}
	l.received.Add(1)
	it := &item{event: ev, ticket: t, since: now, born: ev.CommitTime}
	t.open.Add(1)
	l.open.push(it)
	if ev.Problem != "" {
		failure = ev.Problem
	}
	if failure != "" {
		it.dead, it.err = true, failure
	}
	l.enqueue(it)
	if !l.sated && l.plenty(4) {
		l.appetite()
	}
	l.kick(now)
	return true
}

// enqueue puts an item where its key's deliveries are.
func (l *lane) enqueue(it *item) {
	key, keyed := l.laneKey(it.event)
	if l.behind(key, keyed) {
		l.park(it)
		return
	}
	q := l.queue(key, keyed)
	q.push(it)
	if q.stage == idle {
		l.proceed(q)
	}
}

// laneKey is the key by which the endpoint wants its deliveries in order.
func (l *lane) laneKey(ev *mapping.Event) (string, bool) { return LaneKey(l.ep.Order, ev) }

// behind reports whether a new delivery of the key has to queue up in the table.
func (l *lane) behind(key string, keyed bool) bool {
	if l.table.diverted {
		return true
	}
	if !keyed || len(l.table.blocked) == 0 {
		return false
	}
	_, blocked := l.table.blocked[key]
	return blocked
}

func (l *lane) queue(key string, keyed bool) *keyQueue {
	if keyed {
		if q := l.keys[key]; q != nil {
			return q
		}
	}
	q := l.spare
	if q == nil {
		q = &keyQueue{}
	} else {
		l.spare = q.after
	}
	*q = keyQueue{key: key, keyed: keyed}
	if keyed {
		l.keys[key] = q
	}
	return q
}

// proceed moves a queue on after its head changed.
func (l *lane) proceed(q *keyQueue) {
	switch {
	case q.head == nil:
		l.forget(q)
	case q.head.result != nil:
		l.resolve(q, *q.head.result)
	case q.head.dead:
		q.stage = held
		l.record(q.head, false)
	default:
		l.ready.push(q)
	}
}

// forget lets go of an empty queue.
func (l *lane) forget(q *keyQueue) {
	q.stage = idle
	if q.keyed {
		delete(l.keys, q.key)
	}
	*q = keyQueue{after: l.spare}
	l.spare = q
}

// permitted reports whether an attempt may be made now, as far as the lane knows without asking breaker and limiter.
func (l *lane) permitted(now time.Time) bool {
	return l.allowed() && (l.until.IsZero() || !now.Before(l.until)) &&
		(l.state != BreakerOpen || !now.Before(l.breaker.RetryAt()))
}

// allowed reports whether attempts are to be begun at all.
func (l *lane) allowed() bool {
	return !l.stopping && l.paused == "" && !l.env.suspended.Load() && !l.rekeying
}

// kick starts whatever has become possible. It is called after every change, with the mutex held.
func (l *lane) kick(now time.Time) {
	if l.ready.n > 0 && l.permitted(now) {
		n := min(l.limit()-l.workers, l.ready.n-l.starting)
		if l.limiter != nil {
			n = min(n, 1) // the next is started when this one got a token
		}
		l.start(n)
	}
	l.kickTable(now)
}

// start starts n workers.
func (l *lane) start(n int) {
	for range n {
		l.workers++
		l.starting++
		l.env.done.Go(l.work)
	}
}

// limit is how many attempts may be under way at once.
func (l *lane) limit() int { return max(1, min(l.ep.Concurrency, l.ramp)) }

// wakeAt makes sure that wake is called at t, or earlier.
func (l *lane) wakeAt(t time.Time) {
	if t.IsZero() || (!l.timerAt.IsZero() && !t.Before(l.timerAt)) {
		return
	}
	l.timerAt = t
	d := max(0, time.Until(t))
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.wake)
		return
	}
	l.timer.Reset(d)
}

// wake looks at everything that waits for a time.
func (l *lane) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.timerAt = time.Time{}
	if l.stopping {
		return
	}
	for len(l.wait) > 0 && !now.Before(l.wait[0].due) {
		q := l.wait[0]
		l.wait.remove(q)
		l.ready.push(q)
	}
	if !l.table.dueAt.IsZero() && !now.Before(l.table.dueAt) {
		l.table.dueAt, l.table.more = time.Time{}, true
	}
	l.arm(now)
	l.kick(now)
}

// arm sets the timer to the next time at which something changes by itself.
func (l *lane) arm(now time.Time) {
	if len(l.wait) > 0 {
		l.wakeAt(l.wait[0].due)
	}
	l.wakeAt(l.table.dueAt)
	if l.until.After(now) {
		l.wakeAt(l.until)
	}
	if l.state == BreakerOpen {
		if at := l.breaker.RetryAt(); at.After(now) {
			l.wakeAt(at)
		}
	}
}

func defaultRandom() float64 { return rand.Float64() }
