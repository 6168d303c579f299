package cdc

import (
	"context"
	"net"
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
			go func() { probe <- goingDown(probing, n.cfg.URL, n.net.RemoteAddr()) }()
		}
		if err := n.tend(now); err != nil {
			return err
		}
	}
	return nil
}

// goingDown returns the error by which the server at an address turns new connections away when it shuts down, and nil
// otherwise. The other hosts of the URL are not asked: what they say is not of this server, and one that is dead says nothing in time.
func goingDown(ctx context.Context, url string, server net.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cfg, err := configure(url, false)
	if err != nil {
		return nil
	}
	// Each host is tried by its own name, which a certificate may be for; all of them are this one address.
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, server.Network(), server.String())
	}
	conn, err := connectTo(ctx, cfg)
	if err == nil {
		closeConn(conn)
		return nil
	}
	if code := pgCode(err); code == codeCannotConnect || code == codeAdminShutdown {
		return err
	}
	return nil
}
