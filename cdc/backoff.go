package cdc

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

const (
	backoffLeast  = 100 * time.Millisecond
	backoffMost   = 30 * time.Second
	standbyWait   = time.Second      // between two looks at a slot in use
	healthyStream = 10 * time.Second // a connection that lived this long starts the back-off anew, as does one that got further
)

// backoff waits between connections and tells the log what changes: the first failure, another error, the recovery.
type backoff struct {
	log      *slog.Logger
	attempts int       // failures since the last recovery
	first    time.Time // of those
	logged   string    // error the log knows of
	delay    time.Duration
	up       time.Time // when the connection at hand began to stream; zero while there is none
}

// streaming notes that a connection streams. That alone is no recovery: it may break where the last one did.
func (b *backoff) streaming() { b.up = time.Now() }

// proven notes a recovery if the connection at hand is of use: it got further than the last one, or has lived for long.
func (b *backoff) proven(now time.Time, further bool) {
	if b.attempts == 0 || b.up.IsZero() || !further && now.Sub(b.up) < healthyStream {
		return
	}
	b.log.Info("stream recovered", "attempts", b.attempts, "duration", now.Sub(b.first).Round(time.Millisecond))
	b.attempts, b.delay, b.logged = 0, 0, ""
}

// wait logs err and waits before the next attempt. It returns false when ctx is done.
func (b *backoff) wait(ctx context.Context, err error) bool {
	b.note(err)
	timer := time.NewTimer(b.next(err))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (b *backoff) note(err error) {
	b.up = time.Time{}
	if b.attempts == 0 {
		b.first = time.Now()
	}
	b.attempts++
	if cause := cause(err); cause != b.logged {
		b.logged = cause
		if isFault(err, FaultSlotActive) {
			b.log.Info("slot is in use, standing by", "err", err)
		} else {
			b.log.Warn("stream interrupted, reconnecting", "err", err)
		}
	}
}

// cause is what tells one kind of failure from another: the text without the ports of a connection, which never repeat.
func cause(err error) string {
	if fault, ok := errors.AsType[*Fault](err); ok {
		return fault.Problem
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// next returns the time to wait: doubling, with up to a fifth of jitter so that relays do not come in step.
func (b *backoff) next(err error) time.Duration {
	b.delay = min(max(2*b.delay, backoffLeast), backoffMost)
	wait := b.delay
	if isFault(err, FaultSlotActive) {
		b.delay, wait = 0, standbyWait
	}
	return wait + rand.N(wait/5)
}
