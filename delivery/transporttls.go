package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"relay/delivery/wire"
	"relay/mapping"
)

const http2 = "h2" // as in ALPN

// negotiated speaks with an https endpoint whatever its handshakes say: HTTP/2 by net/http where the endpoint offers it,
// HTTP/1.1 over our own connections where it does not. The last handshake counts.
type negotiated struct {
	own   *ownHTTP
	net   *netHTTP
	http2 atomic.Bool // as the last handshake said
	limit time.Duration
}

func newNegotiated(c *Client, ep *mapping.Endpoint) *negotiated {
	config := tlsConfig(ep)
	if config.ServerName == "" {
		config.ServerName = c.url.Hostname()
	}
	config.NextProtos = []string{http2, "http/1.1"}
	n := &negotiated{own: newOwnHTTP(c, ep, config), net: newNetHTTP(c, ep), limit: ep.Timeout + backstop}
	n.net.transport.DialTLSContext = n.dial
	return n
}

func (n *negotiated) roundTrip(ctx context.Context, a *attempt) error {
	if n.http2.Load() {
		return n.byNet(ctx, a)
	}
	err := n.own.roundTrip(ctx, a)
	other, ok := errors.AsType[*wire.OtherProtocol](err)
	if !ok {
		return err
	}
	n.http2.Store(true)
	n.own.pool.CloseIdle()
	found := &found{}
	found.conn.Store(other.Conn)
	defer found.drop()
	return n.byNet(context.WithValue(ctx, foundKey{}, found), a)
}

func (n *negotiated) byNet(ctx context.Context, a *attempt) error {
	err := n.net.roundTrip(ctx, a)
	if !n.http2.Load() {
		n.net.close()
	}
	return err
}

// dial makes connections for net/http. The one that showed that the endpoint speaks HTTP/2 is not wasted.
func (n *negotiated) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if f, ok := ctx.Value(foundKey{}).(*found); ok {
		if conn := f.conn.Swap(nil); conn != nil {
			return conn, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, n.limit) // net/http dials on when the attempt is over
	defer cancel()
	conn, err := n.own.pool.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if secure, ok := conn.(*tls.Conn); ok {
		n.http2.Store(secure.ConnectionState().NegotiatedProtocol == http2)
	}
	return conn, nil
}

func (n *negotiated) close() {
	n.own.close()
	n.net.close()
}

// found is a connection that speaks HTTP/2, on its way to net/http in the context of the attempt that made it.
type found struct{ conn atomic.Pointer[tls.Conn] }

type foundKey struct{}

// drop closes the connection if net/http had no use for it.
func (f *found) drop() {
	if conn := f.conn.Swap(nil); conn != nil {
		_ = conn.Close()
	}
}
