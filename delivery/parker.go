package delivery

import (
	"context"
	"time"

	"relay/mapping"
)

// State is what a parked delivery waits for.
type State string

// The states of a parked delivery.
const (
	Waiting State = "waiting" // for its turn, its endpoint or its next attempt
	Dead    State = "dead"    // for a person: retry or discard
)

// Parked is one delivery in the relay's own tables.
type Parked struct {
	ID       int64 // assigned by the store, ascending in the order parked
	Endpoint string
	Event    *mapping.Event

	// Lane is the key by which the endpoint orders its deliveries, which its order setting decides: the event's key,
	// one constant for all of them (strict), or none (Ordered false).
	Lane    string
	Ordered bool

	State    State
	Attempts int
	Due      time.Time // earliest next attempt; zero: at once
	Status   int       // HTTP status of the last answer; 0: none
	Err      string    // of the last attempt; for a dead delivery, why it is dead
	Since    time.Time // when the event committed: what retry.max_age counts from
	Size     int64     // about what it takes in memory, in bytes; set by Next
}

// Backlog is what an endpoint has waiting in the relay's own tables.
type Backlog struct {
	Waiting bool      // there is at least one waiting delivery
	Blocked []string  // Lane keys held back by a delivery that is due later, at most the limit asked for, plus one
	Due     time.Time // when the earliest of those that wait for a later time is due; zero: none
}

// Parker is the relay's own tables, as a lane uses them. Every method returns after its transaction committed, so that
// what it was given may be settled; after an error nothing of the call may be assumed and it may be repeated.
// Methods are safe for concurrent use; for one endpoint the lane calls them one at a time.
type Parker interface {
	// Park adds deliveries and returns their IDs. Those of one endpoint and Lane key follow each other by their event's place, in
	// commit order, whatever the order of items and calls: one may go before what is parked already. Where the place is the
	// same, as without one, the order parked counts. One whose (endpoint, place) is parked already is left as it is, so that the
	// call may be repeated whose answer was lost. A waiting one with a Due holds back the later ones of its key, those of
	// the same call included.
	Park(ctx context.Context, items []Parked) ([]int64, error)

	// Next returns up to limit waiting deliveries of the endpoint that may be attempted now: not those in taken (which the
	// lane has in memory already), and none of a key held back by an earlier one that is due later. First come those whose
	// Due has come, the earliest first, then the others as they became ready to be read; those of a key in their order.
	//
	// It stops where their payloads are size bytes or more, or sooner where it is not known how large they are, but returns one
	// at least: more says that there may be others.
	Next(ctx context.Context, endpoint string, taken []int64, limit int, size int64) (rows []Parked, more bool, err error)

	// Settle removes delivered ones, and stores the new State, Attempts, Due, Status and Err of the others. A waiting one
	// with a Due holds back the later ones of its key until it is due; a dead one no longer does.
	Settle(ctx context.Context, endpoint string, delivered []int64, changed []Parked) error

	// Review returns those of the deliveries that are still there and waiting, of each its ID, Attempts and Since alone: the
	// lane has read them before somebody else discarded some, or gave others their attempts back.
	Review(ctx context.Context, endpoint string, ids []int64) ([]Parked, error)

	// Reorder puts the waiting deliveries of an endpoint under the Lane keys of its order setting, where they were parked
	// under another. The lane calls it before it looks at them.
	Reorder(ctx context.Context, endpoint string, order mapping.Order) error

	// SetGone notes that the endpoint answered 410 Gone, until an operator resumes it.
	SetGone(ctx context.Context, endpoint string) error

	// SaveBreaker notes until when the endpoint's breaker is open, zero if it is closed, and how long it was opened for,
	// so that a restart does not greet an endpoint that is down with a flood.
	SaveBreaker(ctx context.Context, endpoint string, until time.Time, open time.Duration) error

	// Backlog looks at what the endpoint has waiting: at start, and when the lane believes it has drained. It lists at most
	// limit+1 Blocked keys. It looks with the eyes of the last Next: a time that has come since is still to come, so
	// that what Next has left out is either Blocked or, if it could be fetched by now, announced by a Due in the past.
	Backlog(ctx context.Context, endpoint string, limit int) (Backlog, error)
}
