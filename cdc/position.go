package cdc

import "slices"

// Position is how far one endpoint is settled: everything before Mark, except the places listed in Open. It is finer
// than an LSN, so that a restart in the middle of a large transaction does not repeat the part that was delivered.
type Position struct {
	Mark Place   // first place not covered
	Open []Place // places before Mark that are not settled, in commit order
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

// Covers reports whether the change at p is settled.
func (p Position) Covers(place Place) bool {
	if !place.Before(p.Mark) {
		return false
	}
	_, open := slices.BinarySearchFunc(p.Open, place, Place.Compare)
	return !open
}

// Least returns the first place that is not settled.
func (p Position) Least() Place {
	if len(p.Open) > 0 {
		return p.Open[0]
	}
	return p.Mark
}
