package delivery

import (
	"maps"
	"slices"

	"relay/mapping"
)

// earlier is what was settled before a lane began, of what the stream has yet to bring. The lane's mutex protects it.
type earlier struct {
	resume mapping.Position           // but for Beyond; zero once the stream is past its mark
	beyond map[mapping.Place]struct{} // from the mark on
}

func newEarlier(saved mapping.Position) earlier {
	e := earlier{resume: mapping.Position{Mark: saved.Mark, Open: saved.Open}}
	for _, place := range saved.Beyond {
		if e.beyond == nil {
			e.beyond = make(map[mapping.Place]struct{}, len(saved.Beyond))
		}
		e.beyond[place] = struct{}{}
	}
	return e
}

// settled reports whether the event that the stream brings was settled before, and needs nothing more.
func (e *earlier) settled(place mapping.Place) bool {
	if place.Before(e.resume.Mark) {
		return e.resume.Covers(place)
	}
	if e.resume.Mark != (mapping.Place{}) {
		e.resume = mapping.Position{}
	}
	_, settled := e.beyond[place]
	delete(e.beyond, place)
	return settled
}

// position returns how far the endpoint is settled, where next is the first place that the stream has not passed and open are
// those before it that the lane took on and has not settled.
func (e *earlier) position(next mapping.Place, open []mapping.Place) mapping.Position {
	p := mapping.Position{Mark: next, Open: open}
	if next.Before(e.resume.Mark) { // the rest is as it was
		p.Mark = e.resume.Mark
		from, _ := slices.BinarySearchFunc(e.resume.Open, next, mapping.Place.Compare)
		p.Open = append(p.Open, e.resume.Open[from:]...)
	}
	// What was for an endpoint and is not any more is passed without being brought.
	maps.DeleteFunc(e.beyond, func(place mapping.Place, _ struct{}) bool { return place.Before(p.Mark) })
	p.Beyond = slices.SortedFunc(maps.Keys(e.beyond), mapping.Place.Compare)
	return p
}
