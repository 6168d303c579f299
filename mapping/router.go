package mapping

import "relay/cdc"

// Target is an endpoint that an event is for.
type Target struct {
	Endpoint *Endpoint
	Err      error // its where expression failed on this event: the delivery is dead, with this error
}

// Router turns rows into events and finds the endpoints subscribed to them. It serves one goroutine.
type Router struct {
	cfg *Config
}

// NewRouter returns a router for the configuration.
func NewRouter(cfg *Config) *Router { return &Router{cfg: cfg} }

// Event returns the row as an event. It returns nil if the row is of a table, or a message of a prefix, that is not
// the relay's, and an error that names the remedy if the table has not the columns that the configuration names. What is
// wrong with the row itself is the event's Problem.
func (r *Router) Event(row *cdc.Row) (*Event, error) { return nil, nil }

// Route returns the endpoints that the event is for. The slice is valid until the next call.
func (r *Router) Route(ev *Event) []Target { return nil }

// Match reports whether the event is for the endpoint. An error is that of its where expression.
func (e *Endpoint) Match(ev *Event) (bool, error) { return false, nil }
