package mapping

import (
	"fmt"
	"strings"
)

// Error is one thing that is wrong with a relay.yaml.
type Error struct {
	File         string
	Line, Column int    // from 1; 0: the file as a whole
	Path         string // key path, as in endpoints.billing.timeout
	Message      string // what was found and what is expected; never holds a secret
}

// Error returns place, path and message in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors is everything that is wrong with a relay.yaml, in the order of the file.
type Errors []*Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}
