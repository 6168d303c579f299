package delivery

import (
	"context"
	"time"

	"relay/internal/failpoint"
	"relay/mapping"
)

// flight is one attempt under way.
type flight struct {
	it     *item
	queue  *keyQueue
	batch  *batch // what the request holds, if it may hold more than one
	ep     *mapping.Endpoint
	sender Sender
	done   func(Effect)
}

// work makes attempts until there is none to make, then ends: an endpoint that is quiet has no goroutines. It takes the
// next ready key whichever that is, so a slow answer occupies one worker and no key but its own.
func (l *lane) work() {
	var f flight
	l.mu.Lock()
	l.starting--
	s := l.enter()
	for l.takeOff(&f) {
		l.mu.Unlock()
		out := l.attempt(s.ctx, &f)
		l.mu.Lock()
		l.land(&f, out)
	}
	l.workers--
	l.exit(s)
	l.mu.Unlock()
}

// scope is the context of a worker: attempts come and go at one of their own, without a lock that all workers of all lanes
// share. It outlives the worker, because at a low rate each event has a new one.
type scope struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func (l *lane) enter() scope {
	if n := len(l.scopes); n > 0 {
		s := l.scopes[n-1]
		l.scopes = l.scopes[:n-1]
		return s
	}
	ctx, cancel := context.WithCancel(l.env.send)
	return scope{ctx, cancel}
}

func (l *lane) exit(s scope) {
	if l.stopping {
		s.cancel()
		return
	}
	l.scopes = append(l.scopes, s)
}

// vacate ends the scopes that nobody uses; the others end with their workers.
func (l *lane) vacate() {
	for _, s := range l.scopes {
		s.cancel()
	}
	l.scopes = nil
}

// takeOff picks the next attempt, if one may be made now.
func (l *lane) takeOff(f *flight) bool {
	if l.ready.n == 0 || l.workers > l.limit() {
		return false
	}
	if !l.allowed() {
		return false
	}
	if !l.until.IsZero() && !l.pauseOver() {
		return false
	}
	if l.ep.Batch.Wait > 0 && !l.filled() {
		return false
	}
	if l.limiter != nil && !l.token() {
		return false
	}
	done, ok := l.breaker.Allow()
	if l.state != BreakerClosed {
		l.noteBreaker()
	}
	if !ok {
		l.noteBreaker()
		if l.state == BreakerOpen {
			l.wakeAt(l.breaker.RetryAt())
		}
		return false
	}
	q := l.ready.pop()
	q.stage = busy
	q.head.flying = true
	*f = flight{it: q.head, queue: q, ep: l.ep, sender: l.sender, done: done}
	if l.ep.Batch.Events > 1 || q.batch != nil {
		f.batch = l.load(q)
	}
	l.inFlight++
	l.metrics.inFlight.Inc()
	if l.limiter != nil && l.ready.n > 0 && l.workers < l.limit() {
		l.start(1)
	}
	return true
}

func (l *lane) pauseOver() bool {
	if time.Now().Before(l.until) {
		l.wakeAt(l.until)
		return false
	}
	l.until = time.Time{}
	return true
}

// token takes a token of the rate, or sees to it that the lane is woken when there is one.
func (l *lane) token() bool {
	now := time.Now()
	r := l.limiter.ReserveN(now, 1)
	d := r.DelayFrom(now)
	if d == 0 {
		return true
	}
	r.CancelAt(now)
	l.wakeAt(now.Add(d))
	return false
}

// attempt renders and sends. It holds no lock.
func (l *lane) attempt(ctx context.Context, f *flight) Outcome {
	var req Request
	var err error
	if f.batch != nil {
		req.Body, req.ID, err = f.ep.RenderBatch(f.batch.events())
	} else {
		req, err = NewRequest(f.ep, f.it.event)
	}
	if err != nil {
		return Outcome{Verdict: Invalid, Reason: ReasonInvalid, Err: err.Error()}
	}
	out := f.sender.Send(ctx, &req)
	if out.Verdict == Delivered {
		failpoint.Hit("answered")
		l.observe(f)
	}
	return out
}

func (l *lane) observe(f *flight) {
	if f.batch == nil {
		l.metrics.latency.Observe(time.Since(f.it.event.CommitTime).Seconds())
		return
	}
	for _, ev := range f.batch.events() {
		l.metrics.latency.Observe(time.Since(ev.CommitTime).Seconds())
	}
}

// land takes an attempt's outcome in.
func (l *lane) land(f *flight, out Outcome) {
	f.done(out.Effect())
	l.inFlight--
	l.metrics.inFlight.Dec()
	l.metrics.attempt(out)
	rekeyed := l.rekeying && l.inFlight == 0
	if rekeyed {
		l.rekeying = false
		l.table.more = true
	}
	if f.batch == nil && out.Verdict == Delivered && l.state == BreakerClosed && !rekeyed {
		f.it.flying = false
		l.succeed(f.queue)
		return
	}
	now := time.Now()
	if out.Verdict != Delivered && out.Verdict != Aborted { // first: what opens the breaker is why it opens
		l.last = lastError{at: now, reason: out.Reason, text: out.Err}
	}
	l.noteBreaker()
	if f.batch != nil {
		l.landBatch(f.batch, out, now)
	} else {
		l.landed(f.it, out)
		l.resolve(f.queue, l.judge(f.it, out, now))
	}
	if out.Verdict == Delivered && l.ramp < l.ep.Concurrency {
		l.ramp++
	}
	l.kick(now)
}

// landed notes what an attempt did to an item.
func (l *lane) landed(it *item, out Outcome) {
	it.flying = false
	if out.Attempted() {
		it.attempts++
	}
	if out.Verdict != Delivered && out.Verdict != Aborted {
		it.status, it.err = out.Status, out.Err
	}
}

// succeed is land's short way: delivered by an endpoint that is well.
func (l *lane) succeed(q *keyQueue) {
	l.resolve(q, result{delivered: true})
	if l.ramp < l.ep.Concurrency {
		l.ramp++
	}
	if l.table.pending() || l.ready.n > 1 && l.workers < l.limit() {
		l.kick(time.Now())
	}
}

// noteBreaker follows the breaker's state: what it opens for is the table's until a probe succeeds.
func (l *lane) noteBreaker() {
	state := l.breaker.Status().State
	if state == l.state {
		return
	}
	was := l.state
	l.state = state
	l.metrics.breaker.Set(float64(state))
	switch state {
	case BreakerOpen:
		l.ramp = l.ep.Breaker.Probes
		l.divert()
		l.table.more = true
		l.wakeAt(l.breaker.RetryAt())
		if was == BreakerClosed {
			l.outage.opened(time.Now(), l.env.log, l.name, l.last, l.breaker.RetryAt())
		}
		l.table.breaker = true
	case BreakerClosed:
		l.table.breaker = true
		l.outage.recovered(time.Now(), l.env.log, l.name)
	case BreakerHalfOpen:
		l.ramp = l.ep.Breaker.Probes
		l.table.more = true // for a probe: a lane may begin so, and nothing new come for days
	}
}
