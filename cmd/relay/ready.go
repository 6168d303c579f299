package main

import (
	"fmt"
	"time"

	"relay/cdc"
)

// deadSilence is how long nothing may be heard of the server before the stream is not ready.
const deadSilence = time.Minute

// ready is for /readyz; see judgeStream.
func (t *tenure) ready() (bool, string) {
	if t.suspended.Load() {
		return false, "not delivering: the lock by which this relay alone delivers is lost, because its database connection is"
	}
	return judgeStream(t.stream.Status(), t.lookout.problem(), t.unmade.why, time.Now())
}

// judgeStream judges the stream: bytes from the server within the last minute and the slot ours, or standing by for it. problem is
// that of the publication, unmade why a lost slot is not made anew; empty: there is none.
func judgeStream(s cdc.StreamStatus, problem, unmade string, now time.Time) (bool, string) {
	switch {
	case s.State == cdc.StateWaiting:
		return true, "standing by: the slot is in use by another process"
	case s.State == cdc.StateStreaming && problem != "":
		return false, problem
	case s.State == cdc.StateStreaming && now.Sub(s.LastByte) < deadSilence:
		return true, "streaming"
	case s.State == cdc.StateStreaming:
		return false, fmt.Sprintf("the server has been silent since %s", s.LastByte.Format(time.RFC3339))
	case cdc.SlotLost(s.Err) && unmade != "":
		return false, unmade
	case s.Err != nil:
		return false, s.Err.Error()
	default:
		return false, string(s.State)
	}
}
