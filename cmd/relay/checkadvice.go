package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"relay/mapping"
)

// advise warns of what is legal in a configuration but hardly meant, without asking anybody.
func advise(cfg *mapping.Config) []finding {
	var found []finding
	for i, ep := range cfg.Endpoints {
		warn := func(problem, remedy string) {
			found = append(found, finding{
				Level: levelWarning, Subject: "endpoint " + ep.Name, Problem: problem, Remedy: remedy,
				File: cfg.File, Line: ep.Line, Column: ep.Column,
			})
		}
		u, err := url.Parse(ep.URL)
		if err != nil {
			continue // the loader has parsed it
		}
		if u.Scheme == "http" && isPublicHost(u.Hostname()) {
			warn("plain http to a public host: anyone on the way can read and change what is sent", "use https")
		}
		if !authenticates(ep) && !isLoopbackHost(u.Hostname()) {
			warn("no secret: the receiver cannot tell relay's requests from anyone else's",
				"relay secret new prints one: put it under secrets and give it to the receiver")
		}
		if ep.Never() {
			warn("where is false whatever the event of these types: nothing is ever sent", "correct where; paused: true turns an endpoint off")
		}
		if 2*ep.Timeout > ep.Breaker.Window {
			warn(fmt.Sprintf("breaker.window %s is shorter than two timeouts of %s: when attempts time out, few of them are counted together", ep.Breaker.Window, ep.Timeout),
				fmt.Sprintf("set breaker.window to %s or more, or shorten timeout", 2*ep.Timeout))
		}
		for _, other := range cfg.Endpoints[:i] {
			if other.URL == ep.URL && shareEvents(other, ep) {
				warn(fmt.Sprintf("has the url of %s and takes events of the same types: they are sent there twice", other.Name),
					"make one of them, or let their events not overlap")
			}
		}
	}
	return found
}

// authenticates reports whether the receiver can know who sends.
func authenticates(ep *mapping.Endpoint) bool {
	return len(ep.Secrets) > 0 || ep.Auth != (mapping.Auth{}) || ep.TLS.CertFile != "" ||
		slices.ContainsFunc(ep.Headers, func(h [2]string) bool { return h[0] == "Authorization" })
}

// privateSuffixes are the ends of names that stay within a network.
var privateSuffixes = []string{".internal", ".local", ".localhost", ".lan", ".home.arpa", ".svc", ".test", ".intranet", ".corp"}

// isPublicHost reports whether a host is to be found on the internet, as far as its name tells: one of a single word, as
// Compose and Kubernetes give to services, is not.
func isPublicHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return !addr.IsPrivate() && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() && !addr.IsUnspecified()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.Contains(host, ".") &&
		!slices.ContainsFunc(privateSuffixes, func(suffix string) bool { return strings.HasSuffix(host, suffix) })
}

// shareEvents reports whether some event type is for both. What their where says is not looked at.
func shareEvents(a, b *mapping.Endpoint) bool {
	return slices.ContainsFunc(a.Events, func(p mapping.Pattern) bool {
		return slices.ContainsFunc(b.Events, p.Overlaps)
	})
}
