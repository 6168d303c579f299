package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// part is what the file says under one key of an endpoint.
type part struct {
	key   string
	value string // all of it, secrets and the contents of files included
	shown string // what a log may say of it; empty: nothing
}

// parts are all there are. The hash is of them, and a reload says which of them changed.
func (e *Endpoint) parts() []part {
	all := func(values ...any) string {
		var text []byte
		for _, v := range values {
			text = fmt.Appendf(text, "%q,", fmt.Sprint(v))
		}
		return string(text)
	}
	open := func(key string, value any) part { return part{key, all(value), fmt.Sprint(value)} }
	closed := func(key string, values ...any) part { return part{key, all(values...), ""} }
	return []part{
		closed("name", e.Name, e.slot),
		closed("url", e.URL),
		{"events", fmt.Sprintf("%q", e.Events), fmt.Sprint(e.Events)}, // [a b] is not ["a b"]
		closed("where", e.Where.expanded()),
		closed("body", e.Body.expanded()),
		open("format", e.Format),
		closed("source", e.Source),
		closed("secrets", e.secretParts()...),
		closed("headers", e.headerParts()...),
		closed("auth", e.Auth.parts()...),
		closed("tls", e.TLS.CAFile, e.TLS.CertFile, e.TLS.KeyFile, e.TLS.ServerName, e.TLS.ca, e.TLS.cert, e.TLS.key),
		open("timeout", e.Timeout),
		open("concurrency", e.Concurrency),
		open("rate", e.Rate),
		open("order", e.Order),
		closed("batch", e.Batch),
		closed("retry", e.Retry),
		closed("breaker", e.Breaker),
		closed("network", e.Network),
		open("paused", e.Paused),
	}
}

func (e *Endpoint) secretParts() []any {
	var all []any
	for _, s := range e.Secrets {
		all = append(all, s.HMAC, []byte(s.Ed25519))
	}
	return all
}

func (e *Endpoint) headerParts() []any {
	var all []any
	for _, h := range e.Headers {
		all = append(all, h[0], h[1])
	}
	return all
}

func (a *Auth) parts() []any {
	all := []any{a.Bearer}
	if b := a.Basic; b != nil {
		all = append(all, "basic", b.Username, b.Password)
	}
	if o := a.OAuth2; o != nil {
		all = append(all, "oauth2", o.TokenURL, o.ClientID, o.ClientSecret, fmt.Sprintf("%q", o.Scopes))
	}
	return all
}

// sum computes the hash.
func (e *Endpoint) sum() string {
	h := sha256.New()
	for _, p := range e.parts() {
		h.Write(fmt.Appendf(nil, "%s %d %s\n", p.key, len(p.value), p.value))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Changes says in which keys next differs, each with its old and new value where a log may have it.
func (e *Endpoint) Changes(next *Endpoint) []string {
	var all []string
	before, after := e.parts(), next.parts()
	for i, p := range before {
		switch n := after[i]; {
		case p.value == n.value:
		case p.shown == "":
			all = append(all, p.key)
		default:
			all = append(all, fmt.Sprintf("%s %s to %s", p.key, p.shown, n.shown))
		}
	}
	return all
}
