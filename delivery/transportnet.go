package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"relay/mapping"
)

// netHTTP speaks by net/http: HTTP/2, and HTTP/1.1 where we cannot write the requests ourselves.
type netHTTP struct {
	client    *Client
	transport *http.Transport
	template  http.Request // what all attempts have in common
	replay    bool         // whether net/http may send again what never left
}

func newNetHTTP(c *Client, ep *mapping.Endpoint) *netHTTP {
	n := &netHTTP{client: c, transport: plainTransport(ep), replay: true, template: http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}}
	n.transport.TLSClientConfig = tlsConfig(ep)
	for i := range c.headers {
		switch c.headers[i].name {
		case "Idempotency-Key", "X-Idempotency-Key":
			// With one of these net/http takes a POST for idempotent and repeats it by itself, even after the endpoint may
			// have processed it. It cannot when it has no second copy of the body.
			n.replay = false
		}
	}
	return n
}

// tlsConfig returns the endpoint's configuration of TLS, its name and certificate included.
func tlsConfig(ep *mapping.Endpoint) *tls.Config {
	config := rootsConfig(ep)
	config.ServerName = ep.TLS.ServerName
	if ep.TLS.Certificate != nil {
		config.Certificates = []tls.Certificate{*ep.TLS.Certificate}
	}
	return config
}

func (n *netHTTP) roundTrip(ctx context.Context, a *attempt) error {
	ctx, cancel := context.WithDeadline(ctx, a.deadline)
	defer cancel()
	var p progress
	defer p.note(a)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: p.gotConn, GotFirstResponseByte: p.gotByte})
	// The transport is used without a http.Client, which would follow redirects (a 303 becomes an empty GET whose 200
	// looks like a delivery) and print URLs in its errors.
	resp, err := n.transport.RoundTrip(n.request(ctx, a.request, a.authorization))
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it has nothing to say that reading has not
	_, err = a.take(resp)
	return err
}

// request builds the request. Its header map is its own: the transport may still read it when the attempt is over.
func (n *netHTTP) request(ctx context.Context, r *Request, authorization string) *http.Request {
	req := n.template.WithContext(ctx)
	req.Header = n.client.header(r, time.Now(), authorization)
	req.ContentLength = int64(len(r.Body.Bytes))
	if req.ContentLength == 0 {
		req.Body = http.NoBody
		return req
	}
	req.Body = newRequestBody(r.Body.Bytes)
	if n.replay {
		// Lets the transport take another connection when not one byte was written to a kept-alive one, or when an HTTP/2
		// server says that it has not looked at the request. Nothing else makes it repeat a POST.
		req.GetBody = func() (io.ReadCloser, error) { return newRequestBody(r.Body.Bytes), nil }
	}
	return req
}

// newRequestBody returns a reader of a body that is shared with other attempts. It is of a type that net/http knows to be in
// memory: for any other it sends the headers ahead in a write of their own, a system call more for every attempt.
func newRequestBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

func (n *netHTTP) close() { n.transport.CloseIdleConnections() }

// progress is how far net/http got with an attempt, as it tells from goroutines of its own.
type progress struct{ connected, reused, answering atomic.Bool }

func (p *progress) gotConn(info httptrace.GotConnInfo) {
	p.connected.Store(true)
	p.reused.Store(info.Reused)
}

func (p *progress) gotByte() { p.answering.Store(true) }

func (p *progress) note(a *attempt) {
	a.connected, a.reused, a.answering = p.connected.Load(), p.reused.Load(), p.answering.Load()
}
