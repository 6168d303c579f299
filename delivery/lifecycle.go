package delivery

import (
	"time"

	"relay/mapping"
)

// begin starts the lane's work with the table: what is parked from before decides whether it may deliver live.
func (l *lane) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kick(time.Now())
}

// refresh looks at everything anew.
func (l *lane) refresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.more = true
	now := time.Now()
	l.arm(now)
	l.kick(now)
}

// overflow sends what has queued up in memory, and what follows, to the table.
func (l *lane) overflow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping || l.table.diverted {
		return
	}
	l.divert()
	l.kick(time.Now())
}

// notify takes in what somebody else changed: parked deliveries, or whether the endpoint is paused.
func (l *lane) notify(state EndpointState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pauseAs(state.Gone, state.Paused)
	l.table.more, l.table.review = true, true
	now := time.Now()
	l.arm(now)
	l.kick(now)
}

// pauseAs pauses or resumes by the first of these that holds: gone, paused by an operator, paused in the file.
func (l *lane) pauseAs(gone, operator bool) {
	switch {
	case gone:
		l.pause(pausedGone)
	case operator:
		l.pause(pausedByOperator)
	case l.ep.Paused:
		l.pause(pausedByFile)
	default:
		l.paused = ""
	}
}

func (l *lane) pause(why string) {
	l.paused = why
	l.divert()
	l.ground()
}

// stop takes everything out of memory that is not in the air. What is in the air gets a row if something is parked behind
// it; otherwise it has until the dispatcher gives up to be delivered, and then a row as well.
func (l *lane) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopping {
		l.env.window.leave(l.sated)
		l.sated = false
	}
	l.stopping = true
	l.vacate()
	if l.timer != nil {
		l.timer.Stop()
	}
	diverted := l.table.diverted
	l.table.diverted = true
	if !diverted {
		for it := l.open.head; it != nil; it = it.next {
			if it.write == unwritten && (!it.flying || it.behind != nil) {
				l.park(it)
			}
		}
	}
	l.ground()
	l.kick(time.Now())
}

// position is how far the lane is settled, where next is the first place that was not dispatched. It lists at most limit
// open places.
func (l *lane) position(next mapping.Place, limit int) mapping.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	var open []mapping.Place
	for it := l.open.head; it != nil && len(open) <= limit && it.event.Place.Before(next); it = it.next {
		open = append(open, it.event.Place)
	}
	l.earlier = l.earlier.From(next)
	p := mapping.Position{Mark: next, Open: append(open, l.earlier.Open...), Beyond: l.earlier.Beyond}
	if next.Before(l.earlier.Mark) {
		p.Mark = l.earlier.Mark
	}
	if len(p.Open) > limit {
		p.Mark, p.Open = p.Open[limit], p.Open[:limit]
	}
	return p
}
