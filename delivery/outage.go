package delivery

import (
	"log/slog"
	"time"
)

// flapWithin is how soon after it recovered an endpoint has to fail again to be taken for one that flaps, and how long that
// one has to stay well to count as recovered.
const flapWithin = 2 * time.Minute

// outage is what the log says of an endpoint's breaker: a line when it opens and one when it closes, however many attempts,
// probes or events are in between. An endpoint that opens it again and again gets one line that says so, and one when that is over.
type outage struct {
	began    time.Time // of the first opening
	openings int
	flapping bool
	closed   time.Time // when the breaker closed last; zero: it is open, or never was
}

// opened notes that the breaker opened.
func (o *outage) opened(now time.Time, log *slog.Logger, endpoint string, last lastError, retryAt time.Time) {
	again := !o.closed.IsZero() && now.Sub(o.closed) < flapWithin
	o.closed = time.Time{}
	if !again && !o.flapping {
		o.began, o.openings = now, 0
	}
	o.openings++
	switch {
	case o.flapping:
	case again:
		o.flapping = true
		log.Warn("endpoint breaker opened again, silent until it stays closed", "endpoint", endpoint,
			"reason", string(last.reason), "err", last.text, "for", flapWithin)
	case last.at.IsZero():
		log.Info("endpoint breaker is open from before the start", "endpoint", endpoint, "retry_at", retryAt)
	default:
		log.Warn("endpoint breaker opened", "endpoint", endpoint, "reason", string(last.reason), "err", last.text, "retry_at", retryAt)
	}
}

// recovered notes that the breaker closed.
func (o *outage) recovered(now time.Time, log *slog.Logger, endpoint string) {
	o.closed = now
	if !o.flapping {
		o.over(now, log, endpoint)
	}
}

// look tells that an endpoint that flapped has stayed well.
func (o *outage) look(now time.Time, log *slog.Logger, endpoint string) {
	if o.flapping && !o.closed.IsZero() && now.Sub(o.closed) >= flapWithin {
		o.flapping = false
		o.over(o.closed, log, endpoint)
	}
}

func (o *outage) over(at time.Time, log *slog.Logger, endpoint string) {
	if o.openings == 0 { // it opened before the start, and its time was over: when it began is not known
		log.Info("endpoint recovered", "endpoint", endpoint)
		return
	}
	log.Info("endpoint recovered", "endpoint", endpoint, "openings", o.openings, "duration", at.Sub(o.began).Round(time.Millisecond))
}

func (l *lane) lookAtOutage(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outage.look(now, l.env.log, l.name)
}
