package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// Config says how a Pool connects and how much it keeps.
type Config struct {
	// DialFunc makes a connection, without TLS. The context has the attempt's deadline.
	DialFunc func(ctx context.Context) (net.Conn, error)
	TLS      *tls.Config   // nil: none. With ServerName, and NextProtos if HTTP/1.1 is not all that may be spoken
	Conns    int           // most connections at once, in use or idle
	Idle     time.Duration // how long an unused connection is kept
	Header   int64         // most bytes of an answer before its body, answers that go before it (1xx) included
}

// sweeps is how often in Config.Idle a pool looks for idle connections that are too old, or closed by the server.
const sweeps = 6

// Pool is the connections to one server. It is safe for concurrent use.
type Pool struct {
	cfg   Config
	slots chan struct{} // one value for each connection in use; as many as there may be

	mu     sync.Mutex
	idle   []*conn     // the one used last at the end: it is taken first, and those that are too many grow old
	timer  *time.Timer // sweeps; nil before the first connection was idle
	armed  bool        // the timer runs
	closed bool        // keep nothing
}

// NewPool returns a pool without connections.
func NewPool(cfg Config) *Pool {
	return &Pool{cfg: cfg, slots: make(chan struct{}, max(cfg.Conns, 1))}
}

// Close closes the idle connections. Those in use go on, and are closed after it; the pool remains usable, but keeps none.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.CloseIdle()
}

// CloseIdle closes the idle connections.
func (p *Pool) CloseIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	if p.armed {
		p.armed = !p.timer.Stop()
	}
	p.mu.Unlock()
	for _, c := range idle {
		c.hangUp()
	}
}

// enter waits for a place among the connections in use.
func (p *Pool) enter(ctx context.Context, deadline time.Time) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection: %w", context.Cause(ctx))
	}
}

func (p *Pool) leave() { <-p.slots }

// take returns an idle connection that is fit for use, or a new one.
func (p *Pool) take(ctx context.Context, deadline time.Time) (*conn, error) {
	for {
		c := p.pop()
		if c == nil {
			return p.connect(ctx, deadline)
		}
		if err := c.prepare(deadline); err == nil {
			return c, nil
		}
		c.drop()
	}
}

func (p *Pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// put takes back a connection that may be used again.
func (p *Pool) put(c *conn) {
	c.since = time.Now()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.hangUp()
		return
	}
	p.idle = append(p.idle, c)
	if !p.armed {
		p.arm()
	}
	p.mu.Unlock()
}

func (p *Pool) arm() {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(p.cfg.Idle/sweeps, p.sweep)
		return
	}
	p.timer.Reset(p.cfg.Idle / sweeps)
}

// sweep closes idle connections that were not used for too long, or that the server has closed.
func (p *Pool) sweep() {
	old := time.Now().Add(-p.cfg.Idle)
	var end []*conn
	p.mu.Lock()
	keep := p.idle[:0]
	for _, c := range p.idle {
		if !c.since.After(old) || c.prepare(time.Time{}) != nil {
			end = append(end, c)
			continue
		}
		keep = append(keep, c)
	}
	clear(p.idle[len(keep):])
	p.idle = keep
	p.armed = false
	if len(keep) > 0 {
		p.arm()
	}
	p.mu.Unlock()
	for _, c := range end {
		c.hangUp()
	}
}
