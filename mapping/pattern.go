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
