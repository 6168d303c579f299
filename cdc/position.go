package cdc

import "slices"

// Position is how far one endpoint is settled: everything before Mark, except the places listed in Open, and what is listed in
// Beyond. It is finer than an LSN, so that a restart in the middle of a large transaction does not repeat the part that was
// delivered. Beyond is what was parked between a save and a crash, about a second's.
type Position struct {
	Mark   Place   // first place not covered
	Open   []Place // places before Mark that are not settled, in commit order
	Beyond []Place // places from Mark on that are settled, in commit order
}

// The most open places a saved Position lists. A lane with more lowers its mark instead, so that a position stays a row of
// bounded size whatever waits in memory. MaxOpen is more than the usual window holds: where one key is slow, or has more
// events than the others, thousands of events overtake it, and a crash must not repeat them. MaxOpenTotal is for all
// endpoints together, of which each may list MinOpen.
const (
	MinOpen      = 1 << 10
	MaxOpen      = 1 << 15
	MaxOpenTotal = 1 << 18
)

// Covers reports whether the change at place is settled.
func (p Position) Covers(place Place) bool {
	if !place.Before(p.Mark) {
		_, settled := slices.BinarySearchFunc(p.Beyond, place, Place.Compare)
		return settled
	}
	_, open := slices.BinarySearchFunc(p.Open, place, Place.Compare)
	return !open
}

// With returns the position with these places settled as well.
func (p Position) With(places []Place) Position {
	if len(places) == 0 {
		return p
	}
	places = slices.SortedFunc(slices.Values(places), Place.Compare)
	q := Position{Mark: p.Mark}
	for _, open := range p.Open {
		if _, settled := slices.BinarySearchFunc(places, open, Place.Compare); !settled {
			q.Open = append(q.Open, open)
		}
	}
	q.Beyond = slices.Compact(slices.SortedFunc(slices.Values(slices.Concat(p.Beyond, from(places, p.Mark))), Place.Compare))
	return q
}

// From returns the position without the places before next.
func (p Position) From(next Place) Position {
	return Position{Mark: p.Mark, Open: from(p.Open, next), Beyond: from(p.Beyond, next)}
}

// from returns those of the places, which are in commit order, that are not before next.
func from(places []Place, next Place) []Place {
	i, _ := slices.BinarySearchFunc(places, next, Place.Compare)
	if i == len(places) {
		return nil // and does not keep the memory of the others
	}
	return places[i:]
}

// Equal reports whether both say the same.
func (p Position) Equal(q Position) bool {
	return p.Mark == q.Mark && slices.Equal(p.Open, q.Open) && slices.Equal(p.Beyond, q.Beyond)
}

// Least returns the first place that is not settled.
func (p Position) Least() Place {
	if len(p.Open) > 0 {
		return p.Open[0]
	}
	return p.Mark
}
