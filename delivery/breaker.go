package delivery

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"relay/mapping"
)

// BreakerState is the state of a breaker, with the values of the metric relay_breaker_state.
type BreakerState int

// The states of a breaker.
const (
	BreakerClosed   BreakerState = 0 // attempts are made
	BreakerHalfOpen BreakerState = 1 // as many attempts as there are probes
	BreakerOpen     BreakerState = 2 // none
)

// String returns the state's name.
func (s BreakerState) String() string { return [...]string{"closed", "half-open", "open"}[s] }

// BreakerStatus is a breaker at one moment. Saved at stop and given to NewBreaker at start, it lets a breaker that was
// open start open.
type BreakerStatus struct {
	State   BreakerState
	RetryAt time.Time     // while open: when Allow grants the first probe
	OpenFor time.Duration // while not closed: how long it was opened for the last time; doubles if the next probe fails
}

// Breaker keeps attempts away from an endpoint that is not well. It is safe for concurrent use.
//
// It is gobreaker's two-step breaker with three things of its own. The count of consecutive failures does not decay with
// the window, so that an endpoint which fails rarely because it is asked rarely opens it too. The open time doubles while
// probes fail: gobreaker's is constant, so each longer one is another instance. And an answer that does not count, such
// as a 404, closes a half-open breaker: the endpoint lives, and as a result that is merely left out it would never get out of
// that state.
type Breaker struct {
	cfg      mapping.Breaker
	window   time.Duration
	onChange func(BreakerStatus)

	mu       sync.Mutex
	inner    *gobreaker.TwoStepCircuitBreaker[struct{}]
	timeout  time.Duration // inner's open time
	status   BreakerStatus
	round    uint64 // one more with each change of state; what began in an earlier round counts for nothing
	failures int    // in a row, while closed
	forcing  bool   // the next failure opens, whatever the counts
	entered  []gobreaker.State
	untold   []BreakerStatus // changes that onChange has yet to be told
	telling  bool            // a goroutine is telling them, and will tell those that are added meanwhile
}

var (
	errFailed   = errors.New("failed")
	errExcluded = errors.New("does not count")
)

// NewBreaker returns a breaker in the saved state; the zero BreakerStatus is closed, and a half-open one, whose probes are
// lost, starts open and due. timeout is the endpoint's: the window is widened to twice as long, lest slow failures
// fall out of it unseen. onChange is called after each change of state, in order, one at a time and with no lock
// held, from a goroutine that is in one of the methods; nil: nobody is told.
func NewBreaker(
	cfg mapping.Breaker, timeout time.Duration, saved BreakerStatus, onChange func(BreakerStatus),
) *Breaker {
	cfg.Open = max(cfg.Open, time.Millisecond)
	cfg.MaxOpen = max(cfg.MaxOpen, cfg.Open)
	cfg.Probes = max(cfg.Probes, 1)
	b := &Breaker{cfg: cfg, window: max(cfg.Window, 2*timeout), onChange: onChange}
	if saved.State == BreakerClosed {
		b.renew(cfg.Open)
		return b
	}
	openFor := min(max(saved.OpenFor, cfg.Open), cfg.MaxOpen)
	// A clock that was set back must not keep it open for ever.
	wait := min(max(time.Until(saved.RetryAt), 1), openFor)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(wait, openFor)
	return b
}

// Allow asks for an attempt. When it is granted, done must be called with what the attempt told, once it is over, whatever
// happens; a second call does nothing. Without it a half-open breaker waits for ever. A refusal is no attempt.
func (b *Breaker) Allow() (done func(Effect), ok bool) {
	b.mu.Lock()
	defer b.tell()
	settle, err := b.inner.Allow()
	b.follow()
	if err != nil {
		return nil, false
	}
	round, once := b.round, false
	return func(e Effect) {
		b.mu.Lock()
		defer b.tell()
		if once || round != b.round {
			return
		}
		once = true
		settle(b.count(e))
		b.follow()
	}, true
}

// Status returns the present state.
func (b *Breaker) Status() BreakerStatus {
	b.mu.Lock()
	defer b.tell()
	b.inner.State() // notices that an open one is due
	b.follow()
	return b.status
}

// RetryAt returns when the next probe may go while the breaker is open, and the zero time otherwise. Half-open, whether
// one may go depends on those under way: ask again when one of them is done.
func (b *Breaker) RetryAt() time.Time { return b.Status().RetryAt }

// count returns the effect as inner is to be told, and counts the failures in a row.
func (b *Breaker) count(e Effect) error {
	switch {
	case e == EffectFailure:
		b.failures++
		return errFailed
	case e == EffectSuccess:
		b.failures = 0
		return nil
	case e == EffectAlive && b.status.State == BreakerHalfOpen:
		return nil
	default:
		return errExcluded
	}
}

// follow takes note of the states that inner entered in the call just made.
func (b *Breaker) follow() {
	for len(b.entered) > 0 {
		state := b.entered[0]
		b.entered = b.entered[1:]
		switch state {
		case gobreaker.StateHalfOpen:
			b.enter(BreakerStatus{State: BreakerHalfOpen, OpenFor: b.status.OpenFor})
		case gobreaker.StateOpen:
			b.reopen()
		case gobreaker.StateClosed:
			b.enter(BreakerStatus{}) // should inner's open time be a longer one, reopen sees to it
		}
	}
}

// reopen follows inner into the open state, for twice as long as the last time if a probe failed.
func (b *Breaker) reopen() {
	openFor := b.cfg.Open
	if b.status.State == BreakerHalfOpen {
		openFor = min(2*b.status.OpenFor, b.cfg.MaxOpen)
	}
	if openFor != b.timeout {
		b.open(openFor, openFor)
	}
	b.enter(opened(openFor, openFor))
}

// open makes inner one that is open for wait.
func (b *Breaker) open(wait, openFor time.Duration) {
	b.renew(wait)
	b.forcing = true
	if settle, err := b.inner.Allow(); err == nil {
		settle(errFailed)
	}
	b.forcing = false
	b.entered = nil
	b.status = opened(wait, openFor)
}

// opened returns the status of a breaker that opens now. At the very end of its time gobreaker still refuses, hence the
// nanosecond.
func opened(wait, openFor time.Duration) BreakerStatus {
	return BreakerStatus{State: BreakerOpen, RetryAt: time.Now().Add(wait + 1), OpenFor: openFor}
}

func (b *Breaker) enter(s BreakerStatus) {
	b.status = s
	b.round++
	b.failures = 0
	if b.onChange != nil {
		b.untold = append(b.untold, s)
	}
}

// renew makes inner a fresh, closed one with the given open time.
func (b *Breaker) renew(timeout time.Duration) {
	const buckets = 10
	b.timeout = timeout
	b.inner = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(b.cfg.Probes),
		Interval:     b.window,
		BucketPeriod: max(b.window/buckets, time.Millisecond),
		Timeout:      timeout,
		ReadyToTrip:  b.readyToTrip,
		IsExcluded:   func(err error) bool { return errors.Is(err, errExcluded) },
		// It is called with inner's lock held: only take note.
		OnStateChange: func(_ string, _, to gobreaker.State) { b.entered = append(b.entered, to) },
	})
}

// readyToTrip is called by inner after a failure while closed, within a method that holds mu.
func (b *Breaker) readyToTrip(counts gobreaker.Counts) bool {
	if b.forcing || b.cfg.Failures > 0 && b.failures >= b.cfg.Failures {
		return true
	}
	// Not counts.Requests, which has those under way in it.
	settled := counts.TotalSuccesses + counts.TotalFailures
	return b.cfg.Ratio > 0 && int(settled) >= b.cfg.Requests &&
		float64(counts.TotalFailures) >= b.cfg.Ratio*float64(settled)
}

// tell unlocks mu and tells the changes to onChange. Whoever finds another goroutine telling leaves them to it: two at
// once could tell them in the wrong order.
func (b *Breaker) tell() {
	defer b.mu.Unlock()
	if b.telling {
		return
	}
	b.telling = true
	for len(b.untold) > 0 {
		changes := b.untold
		b.untold = nil
		b.mu.Unlock()
		for _, s := range changes {
			b.onChange(s)
		}
		b.mu.Lock()
	}
	b.telling = false
}
