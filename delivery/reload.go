package delivery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/mapping"
)

// Reload goes over to other endpoints. Everything that can fail happens before anything live is touched. An endpoint
// that is unchanged, by its hash, keeps everything; a changed one keeps its queue and order; one that is gone from the
// configuration has what it holds parked, until it is discarded or the endpoint comes back; a new one starts with what
// is dispatched next. It returns a line for each change. Nothing is dispatched while it runs.
func (d *Dispatcher) Reload(endpoints []*mapping.Endpoint, saved map[string]EndpointState) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reap()
	old := make(map[string]*lane)
	for _, l := range *d.lanes.Load() {
		old[l.name] = l
	}
	senders, err := d.prepare(endpoints, old)
	if err != nil {
		return nil, err
	}
	var changes []string
	lanes := make([]*lane, len(endpoints))
	var begin []*lane
	for i, ep := range endpoints {
		l := old[ep.Name]
		delete(old, ep.Name)
		switch {
		case l == nil:
			l = newLane(ep, senders[i], d.env, d.cfg.Metrics.lane(ep.Name), saved[ep.Name])
			begin = append(begin, l)
			changes = append(changes, "endpoint "+ep.Name+" added")
		case senders[i] != nil:
			was := l.configure(ep, senders[i])
			changes = append(changes, "endpoint "+ep.Name+" changed: "+strings.Join(was.Changes(ep), ", "))
		}
		lanes[i] = l
	}
	d.lanes.Store(&lanes)
	for _, l := range begin {
		l.begin()
	}
	for name, l := range old {
		d.retiring[name] = l
		l.stop()
		changes = append(changes, "endpoint "+name+" removed")
	}
	slices.Sort(changes)
	return changes, nil
}

// prepare makes the senders of new and changed endpoints.
func (d *Dispatcher) prepare(endpoints []*mapping.Endpoint, old map[string]*lane) ([]Sender, error) {
	senders := make([]Sender, len(endpoints))
	for i, ep := range endpoints {
		if l := old[ep.Name]; l != nil && l.hash() == ep.Hash() {
			continue
		}
		if d.retiring[ep.Name] != nil {
			return nil, fmt.Errorf("endpoint %s is still being taken out; try again in a moment", ep.Name)
		}
		sender, err := d.cfg.NewSender(ep)
		if err != nil {
			return nil, fmt.Errorf("prepare endpoint %s: %w", ep.Name, err)
		}
		senders[i] = sender
	}
	return senders, nil
}

// reap forgets lanes that were taken out and have nothing left to do.
func (d *Dispatcher) reap() {
	if d.retiring == nil {
		d.retiring = make(map[string]*lane)
	}
	for name, l := range d.retiring {
		if l.finished() {
			l.sender.Close()
			d.cfg.Metrics.forget(name)
			delete(d.retiring, name)
		}
	}
}

func (l *lane) hash() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ep.Hash()
}

// finished reports whether a stopped lane has landed and written everything.
func (l *lane) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopping && l.workers == 0 && l.open.n == 0 && !l.table.pending() && !l.table.running
}

// configure has the lane go on under another configuration, and returns the one before. What is in the air lands under it.
func (l *lane) configure(ep *mapping.Endpoint, sender Sender) *mapping.Endpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.ep
	l.ep = ep
	l.sender.Close()
	l.sender = sender
	l.setLimiter(ep)
	if was.Breaker != ep.Breaker || was.URL != ep.URL || was.Timeout != ep.Timeout {
		l.breaker = NewBreaker(ep.Breaker, ep.Timeout, BreakerStatus{}, nil)
		l.noteBreaker()
	}
	l.ramp = ep.Concurrency
	if was.Order != ep.Order {
		l.divert()
		l.ground()
		l.table.parks.hasten() // under this order it may come before what is there
		l.table.ordered = false
		l.rekeying = l.inFlight > 0
	}
	if was.Batch != ep.Batch {
		l.untieAll()
	}
	if was.Paused != ep.Paused {
		l.pauseAs(l.paused == pausedGone, l.paused == pausedByOperator)
	}
	if was.URL != ep.URL {
		l.until = time.Time{}
	}
	l.table.more = true
	now := time.Now()
	l.arm(now)
	l.kick(now)
	return was
}
