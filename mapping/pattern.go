package mapping

import "strings"

// Pattern is an event type, in which each `*` stands for any run of characters, dots included.
type Pattern string

// Exact reports whether the pattern matches just one type, itself.
func (p Pattern) Exact() bool { return !strings.Contains(string(p), "*") }

// Match reports whether the pattern matches the whole of typ. It takes time linear in len(p) * len(typ) at worst.
func (p Pattern) Match(typ string) bool {
	first, rest, wild := strings.Cut(string(p), "*")
	if !wild {
		return string(p) == typ
	}
	typ, ok := strings.CutPrefix(typ, first)
	for ok {
		part, more, again := strings.Cut(rest, "*")
		if !again {
			return strings.HasSuffix(typ, part)
		}
		_, typ, ok = strings.Cut(typ, part)
		rest = more
	}
	return false
}

// Overlaps reports whether some type matches both patterns. It takes time linear in len(p) * len(q).
func (p Pattern) Overlaps(q Pattern) bool {
	// next[j] is whether p[i:] and q[j:] overlap, from the end to the beginning of p.
	next := make([]bool, len(q)+1)
	now := make([]bool, len(q)+1)
	for i := len(p); i >= 0; i-- {
		for j := len(q); j >= 0; j-- {
			switch {
			case i == len(p) && j == len(q):
				now[j] = true
			case i < len(p) && p[i] == '*':
				now[j] = next[j] || j < len(q) && now[j+1]
			case j < len(q) && q[j] == '*':
				now[j] = now[j+1] || i < len(p) && next[j]
			default:
				now[j] = i < len(p) && j < len(q) && p[i] == q[j] && next[j+1]
			}
		}
		now, next = next, now
	}
	return next[0]
}
