package wire

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// OtherProtocol says that the server chose to speak something else than HTTP/1.1 on a new connection, on which nothing
// was sent. It is the caller's now, without a deadline.
type OtherProtocol struct {
	Conn *tls.Conn
	Name string // as in ALPN
}

// Error names the protocol.
func (e *OtherProtocol) Error() string { return "the server chose " + e.Name }

// http1 is what HTTP/1.1 is called in ALPN. A server without ALPN speaks it too.
const http1 = "http/1.1"

// connect makes a connection for an attempt.
func (p *Pool) connect(ctx context.Context, deadline time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	c, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	if secure, ok := c.Conn.(*tls.Conn); ok {
		if name := secure.ConnectionState().NegotiatedProtocol; name != "" && name != http1 {
			return nil, &OtherProtocol{secure, name}
		}
	}
	if err := c.SetDeadline(deadline); err != nil {
		c.drop()
		return nil, err
	}
	return c, nil
}

// Dial makes a connection that the pool has nothing more to do with. Over TLS it is a *tls.Conn after its handshake.
func (p *Pool) Dial(ctx context.Context) (net.Conn, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return c.Conn, nil
}

func (p *Pool) dial(ctx context.Context) (*conn, error) {
	bare, err := p.cfg.DialFunc(ctx)
	if err != nil {
		return nil, err
	}
	c := newConn(bare)
	if p.cfg.TLS == nil {
		return c, nil
	}
	secure := tls.Client(c.socket, p.cfg.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.drop()
		return nil, err
	}
	c.Conn = secure
	return c, nil
}
