package delivery

import "time"

// Verdict is what the lane does with a delivery after an attempt.
type Verdict uint8

// The verdicts.
const (
	Aborted   Verdict = iota // the relay ended the attempt (stop, reload): it counts for nothing and is made again
	Delivered                // done
	Retry                    // the endpoint answered that it will not now: again on schedule
	Rejected                 // the endpoint refuses this very request: again until retry.rejected tries were made, then dead
	Gone                     // 410: the endpoint is paused and its deliveries parked
	Throttled                // 429: again on schedule, and the endpoint pauses for RetryAfter
	Failed                   // the endpoint is not well: again on schedule, not before RetryAfter
	Denied                   // its address is outside the endpoint's network: dead at once
	Invalid                  // no request can be made of the event: dead at once
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{
		"aborted", "delivered", "retry", "rejected", "gone", "throttled", "failed", "denied", "invalid",
	}[v]
}

// Effect is what an attempt tells a Breaker about its endpoint.
type Effect uint8

// The effects.
const (
	EffectNone    Effect = iota // nothing was learnt: a probe is as if it had not been made
	EffectSuccess               // it is well
	EffectFailure               // it is not
	EffectAlive                 // it answers, which closes a half-open breaker, and otherwise does not count
)

// Outcome is what came of one attempt. HTTP failure is data: there is no error beside it.
type Outcome struct {
	Verdict    Verdict
	Reason     Reason
	Status     int           // of the answer; 0: none came
	RetryAfter time.Duration // as the endpoint asked, at most MaxRetryAfter; 0: it did not
	Err        string        // for people; no secrets, one line, at most 500 bytes; empty when delivered
	Duration   time.Duration // from before connecting to the last byte of the answer
}

// Effect returns what the breaker is to be told.
func (o Outcome) Effect() Effect {
	switch o.Verdict {
	case Delivered:
		return EffectSuccess
	case Retry, Rejected, Gone, Throttled:
		return EffectAlive
	case Failed:
		if o.Reason == ReasonStale {
			return EffectNone
		}
		return EffectFailure
	default:
		return EffectNone
	}
}

// Attempted reports whether the endpoint may have seen the request, so that the attempt counts against the retry
// schedule. A breaker's refusal, an aborted attempt and one that could not be made are no attempts.
func (o Outcome) Attempted() bool {
	return o.Verdict != Aborted && o.Verdict != Denied && o.Verdict != Invalid
}

// answered returns the outcome of a complete answer, by the table of the contract.
func answered(status int) Outcome {
	o := Outcome{Status: status}
	switch {
	case status >= 200 && status < 300:
		o.Verdict, o.Reason = Delivered, ReasonOK
	case status >= 300 && status < 400:
		o.Verdict, o.Reason = Rejected, ReasonRedirect
	case status == 400, status == 413, status == 415, status == 422:
		o.Verdict, o.Reason = Rejected, ReasonRejected
	case status == 410:
		o.Verdict, o.Reason = Gone, ReasonGone
	case status == 429:
		o.Verdict, o.Reason = Throttled, ReasonThrottled
	case status >= 400 && status < 500:
		o.Verdict, o.Reason = Retry, ReasonClient
	case status >= 500 && status < 600:
		o.Verdict, o.Reason = Failed, ReasonServer
	default:
		o.Verdict, o.Reason = Failed, ReasonProtocol
	}
	return o
}
