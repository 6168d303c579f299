package delivery

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"relay/mapping"
)

const (
	bufferSize      = 4 << 10          // a usual request is one write
	headerLimit     = 64 << 10         // most that an answer's headers may take
	idleTimeout     = 90 * time.Second // how long an unused connection is kept
	pingAfter       = 15 * time.Second // when an HTTP/2 connection that is silent is asked whether it lives
	pingTimeout     = 10 * time.Second // and how long it may take to say so; else a dead one fails attempts for minutes
	tcpProbe        = 15 * time.Second
	backstop        = time.Second // a dial goes on without the attempt it was begun for, and must end sometime
	sessionsAtLeast = 8
)

// plainTransport returns a transport with the endpoint's limits, network and roots, but not its name and certificate,
// which are for nobody else.
func plainTransport(ep *mapping.Endpoint) *http.Transport {
	conns := max(ep.Concurrency, 1)
	return &http.Transport{
		Proxy:                  nil, // the environment's proxy would see what is sent, and dial in our place
		DialContext:            newDialer(ep.Network, ep.Timeout).DialContext,
		TLSClientConfig:        rootsConfig(ep),
		TLSHandshakeTimeout:    ep.Timeout + backstop,
		ForceAttemptHTTP2:      true, // which a dialer or a TLS configuration of one's own turns off
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		DisableCompression:     true,
		MaxIdleConns:           conns,
		MaxIdleConnsPerHost:    conns,
		MaxConnsPerHost:        conns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: headerLimit,
		ReadBufferSize:         bufferSize,
		WriteBufferSize:        bufferSize,
	}
}

func rootsConfig(ep *mapping.Endpoint) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            ep.TLS.Roots,
		ClientSessionCache: tls.NewLRUClientSessionCache(max(ep.Concurrency, sessionsAtLeast)),
	}
}

// newDialer returns a dialer that connects only to addresses of the network. The address is judged after the name was
// resolved, by the very call that connects to it: there is no second look-up that could answer otherwise.
func newDialer(network mapping.Network, timeout time.Duration) *net.Dialer {
	d := &net.Dialer{Timeout: timeout + backstop, KeepAlive: tcpProbe}
	if !network.Public && len(network.Allow) == 0 {
		return d
	}
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return &DeniedError{Reason: "an address that is no IP address"}
		}
		if reason := DeniedBy(network, ap.Addr()); reason != "" {
			return &DeniedError{Addr: ap.Addr(), Reason: reason}
		}
		return nil
	}
	return d
}
