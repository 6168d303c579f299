package cdc

import (
	"context"
	"net"
	"time"
)

// confirmEvery is the least time between two confirmations of a moving watermark: each costs the server a write.
const confirmEvery = 50 * time.Millisecond

// waker makes the goroutine that owns the connection look up from a blocking read. It touches nothing of the
// connection but the read deadline, which is safe beside a read.
type waker struct {
	conn  net.Conn
	token chan struct{} // capacity 1: any number of wakes before the owner looks are one
}

func newWaker(conn net.Conn) *waker { return &waker{conn: conn, token: make(chan struct{}, 1)} }

// wake leaves the token first and moves the deadline second; the owner sets its deadline first and looks for the token
// second. So either it sees the token, or its read meets the deadline.
func (w *waker) wake() {
	select {
	case w.token <- struct{}{}:
	default:
	}
	_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection, which wakes the reader as well
}

// arm sets the deadline of the reads to come, or returns false when the owner was woken.
func (w *waker) arm(deadline time.Time) (bool, error) {
	if err := w.conn.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	select {
	case <-w.token:
		return false, nil
	default:
		return true, nil
	}
}

// watch wakes the owner when the watermark moves, though not more often than confirmations are due, when the stream is
// paused, and when ctx is done. It returns when ctx is done or the connection is over.
func (w *waker) watch(ctx context.Context, over <-chan struct{}, paused <-chan struct{}, moved <-chan struct{}) {
	rest := time.NewTimer(confirmEvery)
	defer rest.Stop()
	resting := true
	for {
		look := moved
		if resting {
			look = nil
		}
		select {
		case <-over:
			return
		case <-ctx.Done():
			w.wake()
			return
		case <-paused:
			paused = nil
			w.wake()
		case <-rest.C:
			resting = false
		case <-look:
			resting = true
			rest.Reset(confirmEvery)
			w.wake()
		}
	}
}
