package mapping

import (
	"slices"

	"relay/cdc"
)

// Target is an endpoint that an event is for.
type Target struct {
	Endpoint *Endpoint
	Err      error // its where expression failed on this event: the delivery is dead, with this error
}

// Router turns rows into events and finds the endpoints subscribed to them. It serves one goroutine.
type Router struct {
	tables   map[[2]string]Table // by schema and name
	messages []string
	bound    map[*cdc.Table]*binding // nil: not our table
	index    *index
	act      activation // of the event routed last
	targets  []Target
}

// NewRouter returns a router for the configuration.
func NewRouter(cfg *Config) *Router {
	r := &Router{
		tables: map[[2]string]Table{}, messages: cfg.Source.Messages,
		bound: map[*cdc.Table]*binding{}, index: newIndex(cfg.Endpoints),
	}
	for _, t := range cfg.Source.Tables {
		r.tables[[2]string{t.Schema, t.Name}] = t
	}
	return r
}

// Event returns the row as an event. It returns nil if the row is of a table, or a message of a prefix, that is not
// the relay's, and an error that names the remedy if the table has not the columns that the configuration names. What is
// wrong with the row itself is the event's Problem. The event takes the row's values over.
func (r *Router) Event(row *cdc.Row) (*Event, error) {
	if row.Table == nil {
		if !slices.Contains(r.messages, row.Prefix) {
			return nil, nil //nolint:nilnil // not ours is no error
		}
		return messageEvent(row), nil
	}
	b, ok := r.bound[row.Table]
	if !ok {
		var err error
		if b, err = r.bind(row.Table); err != nil {
			return nil, err
		}
	}
	if b == nil {
		return nil, nil //nolint:nilnil // not ours is no error
	}
	return b.event(row), nil
}

// maxBound bounds the tables kept: each connection, and each ALTER TABLE, brings new ones.
const maxBound = 1000

func (r *Router) bind(t *cdc.Table) (*binding, error) {
	if len(r.bound) >= maxBound {
		clear(r.bound)
	}
	cfg, ok := r.tables[[2]string{t.Schema, t.Name}]
	if !ok {
		r.bound[t] = nil
		return nil, nil //nolint:nilnil // not ours is no error
	}
	b, err := bind(cfg, t)
	if err != nil {
		return nil, err
	}
	r.bound[t] = b
	return b, nil
}

// Route returns the endpoints that the event is for, in the order of the file. The slice is valid until the next call.
func (r *Router) Route(ev *Event) []Target {
	clear(r.targets) // lets go of the errors
	r.targets = r.targets[:0]
	r.act = activation{ev: ev} // expressions would move it to the heap, for events that meet none too
	for _, ep := range r.index.find(ev.Type) {
		if ok, err := ep.wants(&r.act); ok || err != nil {
			r.targets = append(r.targets, Target{Endpoint: ep, Err: err})
		}
	}
	return r.targets
}

// Match reports whether the event is for the endpoint. An error is that of its where expression.
func (e *Endpoint) Match(ev *Event) (bool, error) {
	if _, ok := e.subscribed(ev.Type); !ok {
		return false, nil
	}
	return e.wants(&activation{ev: ev})
}

// subscribed returns the first of the endpoint's patterns that matches the type.
func (e *Endpoint) subscribed(typ string) (Pattern, bool) {
	i := slices.IndexFunc(e.Events, func(p Pattern) bool { return p.Match(typ) })
	if i < 0 {
		return "", false
	}
	return e.Events[i], true
}

// wants reports whether an event of a type that the endpoint is subscribed to is for it. A malformed event is: as a dead
// letter it shows itself to whoever was meant to get it.
func (e *Endpoint) wants(act *activation) (bool, error) {
	if e.Where == nil || act.ev.Problem != "" {
		return true, nil
	}
	return e.Where.match(act)
}
