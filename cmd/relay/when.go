package main

import (
	"fmt"
	"time"
)

// when is a flag that takes a moment: RFC 3339, or an age such as 24h.
type when struct{ time.Time }

// Set parses the flag's value.
func (w *when) Set(text string) error {
	if age, err := time.ParseDuration(text); err == nil {
		w.Time = time.Now().Add(-age.Abs())
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q: want a time such as 2026-01-31T18:00:00Z, or an age such as 24h", text)
	}
	w.Time = t
	return nil
}

// String returns the moment, or nothing for none.
func (w *when) String() string {
	if w.IsZero() {
		return ""
	}
	return w.Format(time.RFC3339)
}

// Type names the value in the help.
func (*when) Type() string { return "time" }
