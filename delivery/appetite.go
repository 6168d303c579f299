package delivery

import "relay/mapping"

// What a lane is sated with, so that reading further ahead would only cost memory and time in a queue: some tenths of a second
// of work for the fastest endpoints. Lanes have their events in common but a delivery each, and share the processor: of many,
// each is sated with less.
const (
	satedQueue = 4096 // deliveries
	satedBytes = 8 << 20
	satedLanes = 4 // among how many lanes neither has to be shared

	// The keys it could turn to are to be plenty as well: of few, reading on may bring others. They are as many
	// times concurrency, or half of that and some where concurrency is high.
	satedKeys = 4
	someKeys  = 64
)

// plenty reports whether the lane has so many quarters of what it is sated with, and more, in memory.
func (l *lane) plenty(quarters int) bool {
	lanes := max(satedLanes, int(l.env.window.lanes.Load()))
	queue := max(satedQueue*satedLanes/lanes, 2*satedKeys*l.ep.Concurrency)
	size := max(satedBytes*satedLanes/lanes, satedBytes/8)
	return l.open.n*4 >= queue*quarters || l.open.bytes*4 >= int64(size*quarters)
}

// choice is of how many ready keys the lane can choose if it is sated. In strict order there is but one, whatever is read.
func (l *lane) choice() int {
	if l.ep.Order == mapping.OrderStrict {
		return 0
	}
	return min(satedKeys*l.ep.Concurrency, l.ep.Concurrency/2+someKeys)
}

// appetite tells the window whether the lane has all the work it can use. While everything goes to the table that is what the
// next writes take; otherwise it has keys enough, too.
func (l *lane) appetite() {
	sated := l.plenty(4) && (l.table.diverted || l.ready.n >= l.choice())
	if l.sated {
		sated = l.plenty(3) && (l.table.diverted || l.ready.n >= l.choice()/2)
	}
	if sated != l.sated && !l.stopping {
		l.sated = sated
		l.env.window.setSated(sated)
	}
}
