package mapping

import "slices"

// maxTypes bounds the verdicts kept. An application has dozens of types; one that puts ids into them must not fill the
// memory.
const maxTypes = 10_000

// index finds the endpoints whose patterns match a type: exact ones in a map, those with wildcards one by one, once for
// each type. It serves one goroutine.
type index struct {
	exact    map[string][]*Endpoint
	wild     []wildcard
	verdicts map[string][]*Endpoint
	first    []*Endpoint // the first of the file
}

type wildcard struct {
	pattern  Pattern
	endpoint *Endpoint
}

func newIndex(endpoints []*Endpoint) *index {
	x := &index{exact: map[string][]*Endpoint{}, verdicts: map[string][]*Endpoint{}, first: endpoints[:min(1, len(endpoints))]}
	for _, ep := range endpoints {
		for _, p := range ep.Events {
			if p.Exact() {
				x.exact[string(p)] = append(x.exact[string(p)], ep)
			} else {
				x.wild = append(x.wild, wildcard{p, ep})
			}
		}
	}
	return x
}

// find returns the endpoints subscribed to the type, each once, in the order of the file.
func (x *index) find(typ string) []*Endpoint {
	if found, ok := x.verdicts[typ]; ok {
		return found
	}
	found := slices.Clone(x.exact[typ])
	for _, w := range x.wild {
		if w.pattern.Match(typ) {
			found = append(found, w.endpoint)
		}
	}
	slices.SortFunc(found, func(a, b *Endpoint) int { return a.Index - b.Index })
	found = slices.Compact(found)
	if typ == "" && len(found) == 0 {
		// A malformed event: one dead letter shows it, where nobody asks for every type.
		found = x.first
	}
	if len(x.verdicts) >= maxTypes {
		clear(x.verdicts)
	}
	x.verdicts[typ] = found
	return found
}
