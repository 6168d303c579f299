package pgtest

import (
	"regexp"
	"strings"
)

var dollarQuote = regexp.MustCompile(`^\$\w*\$`)

// Statements cuts a script into statements as psql does, which Postgres's protocol does not: what is sent at once is one
// transaction, and a slot cannot be made in one that has written. What psql itself takes, such as \set, it does not know.
func Statements(script string) []string {
	var all []string
	from := 0
	for i := 0; i < len(script); i++ {
		rest, end := script[i:], ""
		switch quote := dollarQuote.FindString(rest); {
		case strings.HasPrefix(rest, "--"):
			end = "\n"
		case quote != "":
			end = quote
		case rest[0] == '\'' || rest[0] == '"':
			end = rest[:1]
		case rest[0] == ';':
			all, from = append(all, script[from:i]), i+1
		}
		if end == "" {
			continue
		}
		begin := i + max(len(end), 1)
		if found := strings.Index(script[begin:], end); found >= 0 {
			i = begin + found + len(end) - 1
		}
	}
	return all
}
