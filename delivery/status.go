package delivery

import "time"

// LaneStatus is an endpoint at one moment, for people.
type LaneStatus struct {
	Name        string
	State       string // live, draining, down, paused or gone
	Paused      string // why it is paused; empty: it is not
	Breaker     BreakerStatus
	InFlight    int
	Queued      int       // live in memory, not under way
	Delivered   int64     // since the process started
	Oldest      time.Time // when the oldest live one was committed; zero: there is none
	Pace        Pace
	LastError   string
	LastErrorAt time.Time
}

// Status returns every endpoint's, in the order of the configuration.
func (d *Dispatcher) Status() []LaneStatus {
	lanes := *d.lanes.Load()
	all := make([]LaneStatus, len(lanes))
	for i, l := range lanes {
		all[i] = l.status()
	}
	return all
}

func (l *lane) status() LaneStatus {
	pace := l.metrics.recent.pace(time.Now(), l.metrics.latency)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LaneStatus{
		Name: l.name, Paused: l.paused, Breaker: l.breaker.Status(), InFlight: l.inFlight,
		Pace: pace, Queued: max(0, l.open.n-l.inFlight), Delivered: l.delivered, LastError: l.last.text, LastErrorAt: l.last.at,
	}
	if l.open.head != nil {
		s.Oldest = l.open.head.born
	}
	switch {
	case l.paused == pausedGone:
		s.State = "gone"
	case l.paused != "":
		s.State = "paused"
	case s.Breaker.State != BreakerClosed:
		s.State = "down"
	case l.table.diverted:
		s.State = "draining"
	default:
		s.State = "live"
	}
	return s
}
