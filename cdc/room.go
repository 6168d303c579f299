package cdc

import (
	"context"
	"time"
)

const (
	probeAfter   = 2 * time.Second // of waiting for room
	probeTimeout = 2 * time.Second
)

// waitRoom waits for the consumer, answering status meanwhile, until it has room, the stream is paused or ctx is done.
// What the server sends is not read here, a shutdown's requests neither: it is asked over another connection whether it
// goes down, lest it waits for us while the consumer waits for it.
func (n *session) waitRoom(ctx context.Context, room <-chan struct{}) error {
	probing, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	var probe chan error
	for ctx.Err() == nil && !n.isPaused() {
		n.rest(room)
		now := time.Now()
		n.heard = now // its silence is of our making
		select {
		case <-room:
			return nil
		case err := <-probe:
			if err != nil {
				return shuttingDown(err)
			}
			probe, began = nil, now
		default:
		}
		if probe == nil && now.Sub(began) > probeAfter {
			probe = make(chan error, 1) // for a probe that nobody waits for any more
			go func() { probe <- goingDown(probing, n.cfg.URL) }()
		}
		if err := n.tend(now); err != nil {
			return err
		}
	}
	return nil
}

// goingDown returns the error by which a server that shuts down turns new connections away, and nil otherwise.
func goingDown(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := connect(ctx, url, false)
	if err == nil {
		closeConn(conn)
		return nil
	}
	if code := pgCode(err); code == codeCannotConnect || code == codeAdminShutdown {
		return err
	}
	return nil
}
