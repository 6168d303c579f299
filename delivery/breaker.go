package delivery

import (
	"time"

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
type Breaker struct{}

// NewBreaker returns a breaker in the saved state; the zero BreakerStatus is closed. timeout is the endpoint's: the
// window is widened to twice as long, lest slow failures fall out of it unseen. onChange is called after each change of
// state, in order, with no lock held, from the goroutine that brought it about; nil: nobody is told.
func NewBreaker(
	cfg mapping.Breaker, timeout time.Duration, saved BreakerStatus, onChange func(BreakerStatus),
) *Breaker {
	return &Breaker{}
}

// Allow asks for an attempt. When it is granted, done must be called with what the attempt told, once it is over; only
// the first call counts. A refusal is no attempt.
func (b *Breaker) Allow() (done func(Effect), ok bool) { return func(Effect) {}, true }

// Status returns the present state.
func (b *Breaker) Status() BreakerStatus { return BreakerStatus{} }

// RetryAt returns when the next probe may go while the breaker is open, and the zero time otherwise.
func (b *Breaker) RetryAt() time.Time { return time.Time{} }
