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

	State    State
	Attempts int
	Due      time.Time // earliest next attempt; zero: at once
	Status   int       // HTTP status of the last answer; 0: none
	Err      string    // of the last attempt; for a dead delivery, why it is dead
	Since    time.Time // when the delivery was first taken on: what retry.max_age counts from; zero: the commit time
}

// Parker is the relay's own tables, as a lane uses them. Every method returns after its transaction committed, so that
// what it was given may be settled; after an error nothing of the call may be assumed and it may be repeated.
// Methods are safe for concurrent use; for one endpoint the lane calls them one at a time.
type Parker interface {
	// Park adds deliveries behind those of the same endpoint and key, in the order given. A delivery whose
	// (endpoint, place) is parked already is left as it is, so a resend after a crash changes nothing.
	Park(ctx context.Context, items []Parked) error

	// Next returns up to limit waiting deliveries of the endpoint with an ID above after that may be attempted now, in
	// order of ID, none of a key whose earlier delivery waits for a later time (with strict: of any key). The second
	// result is when the earliest of those is due, zero if there is none.
	Next(ctx context.Context, endpoint string, strict bool, after int64, limit int) ([]Parked, time.Time, error)

	// Settle removes delivered ones, and stores the new State, Attempts, Due, Status and Err of the others. A waiting one
	// with a Due holds back the later ones of its key; a dead one no longer does.
	Settle(ctx context.Context, endpoint string, delivered []int64, changed []Parked) error

	// Backlog returns how many deliveries of the endpoint are waiting.
	Backlog(ctx context.Context, endpoint string) (int64, error)
}
