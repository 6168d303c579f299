package delivery

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"relay/mapping"
)

// transport carries attempts to one endpoint, over connections that no other endpoint has. It is safe for concurrent use.
type transport interface {
	// roundTrip sends the attempt's request once and reads the answer into the attempt. It returns by the attempt's
	// deadline, or soon after ctx ends, and nothing of it goes on that reads the request. An answer that was begun and
	// not ended is in the attempt, and an error too. The request is sent again by itself only if not a byte of it left,
	// or the endpoint says that it has not looked at it.
	roundTrip(ctx context.Context, a *attempt) error

	// close closes idle connections. Attempts under way go on, and the transport remains usable.
	close()
}

var _, _, _ transport = (*netHTTP)(nil), (*ownHTTP)(nil), (*negotiated)(nil)

// newTransport returns the transport of the endpoint: our own connections for HTTP/1.1, net/http for HTTP/2, which the
// first handshake shows, and for whatever is unusual.
func (c *Client) newTransport(ep *mapping.Endpoint) transport {
	switch {
	case !c.usual():
		return newNetHTTP(c, ep)
	case c.url.Scheme == "https":
		return newNegotiated(c, ep)
	default:
		return newOwnHTTP(c, ep, nil)
	}
}

// usual reports whether we can write the requests ourselves: nothing in URL and headers needs more than to be written as
// it is.
func (c *Client) usual() bool {
	for i := range c.headers {
		if special(c.headers[i].name) {
			return false
		}
	}
	return c.url.Opaque == "" && printable(c.url.RequestURI()) && plainHost(c.url.Host) && plainHost(c.host)
}

// special reports whether a header means something to the connection or to the body, or is set by each attempt. The
// configuration refuses them.
func special(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Length",
		"Content-Type", "Traceparent", "Tracestate", "Idempotency-Key", "X-Idempotency-Key":
		return true
	}
	return strings.HasPrefix(name, "Webhook-") || strings.HasPrefix(name, "Ce-") || strings.HasPrefix(name, "Proxy-")
}

// plainHost reports whether a host goes into a header as it is: no international name, no zone of an IPv6 address.
func plainHost(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return r > '~' || !tokenByte(byte(r)) && !strings.ContainsRune(":[]", r) || r == '%'
	})
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// hostPort returns the address to dial.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// take takes an answer in, and reads its body. It reports whether it did to its end.
func (a *attempt) take(resp *http.Response) (ended bool, err error) {
	a.taken, a.status = true, resp.StatusCode
	if a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable {
		a.retryAfter = resp.Header.Get("Retry-After")
	}
	a.text, ended, err = readAnswer(resp)
	return ended, err
}
