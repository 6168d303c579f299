package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"relay/delivery"
	"relay/mapping"
)

// Bounds of the endpoint checks: a thousand endpoints must not take a thousand time-outs, nor a thousand sockets.
const (
	endpointTimeout = 10 * time.Second
	endpointsAtOnce = 32
)

// checkEndpoints resolves each endpoint's name, judges the addresses by its network, connects, and shakes hands. It sends
// no request.
func checkEndpoints(ctx context.Context, endpoints []*mapping.Endpoint) []finding {
	found := make([]finding, len(endpoints))
	var group errgroup.Group
	group.SetLimit(endpointsAtOnce)
	for i, ep := range endpoints {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, min(ep.Timeout, endpointTimeout))
			defer cancel()
			found[i] = checkEndpoint(ctx, ep)
			found[i].Subject = "endpoint " + ep.Name
			return nil
		})
	}
	_ = group.Wait() // findings are no errors
	return found
}

func checkEndpoint(ctx context.Context, ep *mapping.Endpoint) finding {
	u, err := url.Parse(ep.URL)
	if err != nil {
		return finding{Level: levelError, Problem: "its url does not parse", Remedy: "mend url"}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return finding{
			Level: levelError, Problem: fmt.Sprintf("%s does not resolve: %v", u.Hostname(), dnsReason(err)),
			Remedy: "correct the host name in url, or this machine's DNS",
		}
	}
	allowed, why := allowedAddrs(ep.Network, addrs)
	if len(allowed) == 0 {
		return finding{
			Level: levelWarning, Problem: fmt.Sprintf("%s is denied by network (%s): every delivery would be dead at once", u.Hostname(), why),
			Remedy: "allow the address under network, or correct url",
		}
	}
	if f, ok := connectTo(ctx, ep, u, allowed); !ok {
		return f
	}
	if len(allowed) < len(addrs) {
		return finding{
			Level: levelWarning, Problem: fmt.Sprintf("%d of the %d addresses of %s are denied by network: %s", len(addrs)-len(allowed), len(addrs), u.Hostname(), why),
			Remedy: "deliveries that meet a denied address are dead: allow it under network",
		}
	}
	return finding{Level: levelOK, Problem: "reachable at " + u.Host}
}

func allowedAddrs(network mapping.Network, addrs []netip.Addr) (allowed []netip.Addr, why string) {
	for _, a := range addrs {
		if reason := delivery.DeniedBy(network, a); reason != "" {
			why = reason
			continue
		}
		allowed = append(allowed, a.Unmap())
	}
	return allowed, why
}

// connectTo opens a connection to the first address that takes one, and makes sure of the certificate.
func connectTo(ctx context.Context, ep *mapping.Endpoint, u *url.URL, addrs []netip.Addr) (finding, bool) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	var conn net.Conn
	var err error
	for _, a := range addrs {
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port)); err == nil {
			break
		}
	}
	if err != nil {
		return finding{
			Level: levelError, Problem: fmt.Sprintf("no connection: %v", err),
			Remedy: "start the receiver, or open the way to it; deliveries wait until then",
		}, false
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	if u.Scheme != "https" {
		return finding{}, true
	}
	if err := tls.Client(conn, tlsConfig(ep, u)).HandshakeContext(ctx); err != nil {
		return finding{
			Level: levelError, Problem: fmt.Sprintf("TLS: %v", err),
			Remedy: "renew the certificate, or set tls.ca_file, tls.server_name, tls.cert_file of the endpoint",
		}, false
	}
	return finding{}, true
}

func tlsConfig(ep *mapping.Endpoint, u *url.URL) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ep.TLS.Roots, ServerName: ep.TLS.ServerName}
	if cfg.ServerName == "" {
		cfg.ServerName = u.Hostname()
	}
	if ep.TLS.Certificate != nil {
		cfg.Certificates = []tls.Certificate{*ep.TLS.Certificate}
	}
	return cfg
}

// dnsReason leaves out the resolver's address and the name, which the finding has.
func dnsReason(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	return err.Error()
}
