package delivery

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"relay/delivery/wire"
	"relay/mapping"
)

// ownHTTP speaks HTTP/1.1 over our own connections.
type ownHTTP struct {
	client *Client
	pool   *wire.Pool
}

func newOwnHTTP(c *Client, ep *mapping.Endpoint, config *tls.Config) *ownHTTP {
	dialer, address := newDialer(ep.Network, ep.Timeout), hostPort(c.url)
	return &ownHTTP{client: c, pool: wire.NewPool(wire.Config{
		DialFunc: func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", address) },
		TLS:      config,
		Conns:    ep.Concurrency,
		Idle:     idleTimeout,
		Header:   headerLimit,
	})}
}

const (
	shortRequest = 16 << 10 // most that is written in one go, body and all; no socket has less room
	keptRequest  = 4 << 10  // buffers that grew larger are not kept
)

// requests are buffers that requests are written into.
var requests = sync.Pool{New: func() any { return new([]byte) }}

func (o *ownHTTP) roundTrip(ctx context.Context, a *attempt) error {
	buf := requests.Get().(*[]byte)
	body := a.request.Body.Bytes
	w := wire.Request{Head: o.client.head.append((*buf)[:0], o.client, a.request, time.Now(), a.authorization)}
	if len(w.Head)+len(body) <= shortRequest {
		w.Head = append(w.Head, body...)
	} else {
		w.Body = body
	}
	trail, err := o.pool.Send(ctx, a.deadline, w, a.take)
	if a.connected = trail.Connected; a.connected {
		a.reused, a.answering = trail.Reused, trail.Answering
	}
	if cap(w.Head) <= keptRequest {
		*buf = w.Head
		requests.Put(buf)
	}
	return err
}

func (o *ownHTTP) close() { o.pool.Close() }
