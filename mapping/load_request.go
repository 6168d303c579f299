package mapping

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// headers stores request headers; those of the defaults stay unless they are named again.
func (v value) headers(to *[][2]string) {
	seen := map[string]bool{}
	for _, e := range v.entries("a mapping of header names") {
		name := textproto.CanonicalMIMEHeaderKey(e.key.Value)
		e.value.secret = true // X-Api-Key: …
		text, ok := e.value.str("a header value")
		problem := headerProblem(name)
		switch {
		case problem == "" && seen[name]:
			problem = "repeated header: names differ in case only"
		case problem == "" && ok && !isHeaderValue(text):
			problem = "found a value that no header can carry, expected printable characters and no space around them"
		}
		seen[name] = true
		if problem != "" {
			v.d.add(e.key.Line, e.key.Column, e.value.path, problem)
			continue
		}
		setHeader(to, name, text)
	}
}

func setHeader(to *[][2]string, name, text string) {
	i := slices.IndexFunc(*to, func(h [2]string) bool { return h[0] == name })
	if i >= 0 {
		(*to)[i][1] = text
		return
	}
	*to = append(*to, [2]string{name, text})
}

// headersOfRelay are the headers that are not for the file to set, with the reason.
var headersOfRelay = map[string]string{
	"Content-Type":      "follows from format",
	"Content-Length":    "follows from the body",
	"Content-Encoding":  "follows from the body",
	"Host":              "follows from url",
	"User-Agent":        "is the relay's own",
	"Traceparent":       "comes from the row's headers",
	"Tracestate":        "comes from the row's headers",
	"Connection":        "belongs to the connection",
	"Keep-Alive":        "belongs to the connection",
	"Te":                "belongs to the connection",
	"Trailer":           "belongs to the connection",
	"Transfer-Encoding": "belongs to the connection",
	"Upgrade":           "belongs to the connection",
	"Expect":            "belongs to the connection",
	// With one of these the HTTP client sends a request again without asking.
	"Idempotency-Key":   "would differ from webhook-id, which is the idempotency key",
	"X-Idempotency-Key": "would differ from webhook-id, which is the idempotency key",
}

func headerProblem(name string) string {
	lower := strings.ToLower(name)
	switch {
	case !isToken(name):
		return "not a name for a header, expected letters, digits and '-'"
	case strings.HasPrefix(lower, "webhook-"), strings.HasPrefix(lower, "ce-"), strings.HasPrefix(lower, "proxy-"):
		return "cannot be set: the relay sets " + lower[:strings.IndexByte(lower, '-')+1] + "* headers itself"
	case headersOfRelay[name] != "":
		return "cannot be set: it " + headersOfRelay[name]
	}
	return ""
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isHeaderValue reports whether the text arrives as it was sent: a control character breaks the request, and space at
// the ends is cut off on the way.
func isHeaderValue(s string) bool {
	return strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// auth stores one way to authenticate, in place of the one in the defaults.
func (v value) auth(to *Auth) {
	*to = Auth{}
	before := len(v.d.errs)
	v.mapping("bearer, basic or oauth2", fields{
		"bearer": func(v value) {
			v.credential(&to.Bearer, "a token")
			if !isHeaderValue(to.Bearer) {
				v.fail("found characters that no header can carry, expected printable ones")
			}
		},
		"basic":  func(v value) { to.Basic = v.basic() },
		"oauth2": func(v value) { to.OAuth2 = v.oauth2() },
	})
	given := 0
	for _, is := range []bool{to.Bearer != "", to.Basic != nil, to.OAuth2 != nil} {
		if is {
			given++
		}
	}
	if given != 1 && len(v.d.errs) == before {
		v.fail("found %d of bearer, basic and oauth2, expected one", given)
	}
}

// credential stores a string that is never printed.
func (v value) credential(to *string, expected string) {
	v.secret = true
	v.nonEmpty(to, expected)
}

func (v value) basic() *Basic {
	var b Basic
	before := len(v.d.errs)
	v.mapping("username and password", fields{
		"username": func(v value) {
			v.nonEmpty(&b.Username, "a user name")
			if strings.Contains(b.Username, ":") {
				v.fail("found a colon in the user name, which basic authentication cannot carry")
			}
		},
		"password": func(v value) { v.credential(&b.Password, "a password") },
	})
	if b.Username == "" && len(v.d.errs) == before {
		v.fail("found no username, expected username and password")
	}
	return &b
}

func (v value) oauth2() *OAuth2 {
	var o OAuth2
	before := len(v.d.errs)
	v.mapping("token_url, client_id, client_secret and scopes", fields{
		"token_url":     func(v value) { v.endpointURL(&o.TokenURL) },
		"client_id":     func(v value) { v.nonEmpty(&o.ClientID, "a client id") },
		"client_secret": func(v value) { v.credential(&o.ClientSecret, "a client secret") },
		"scopes":        func(v value) { v.strings(&o.Scopes, "a scope") },
	})
	if (o.TokenURL == "" || o.ClientID == "" || o.ClientSecret == "") && len(v.d.errs) == before {
		v.fail("expected token_url, client_id and client_secret, all three")
	}
	return &o
}

// tls stores the TLS keys and reads the files they name, so that a file that does not fit is told at load.
func (v value) tls(t *TLS) {
	v.mapping("ca_file, cert_file, key_file and server_name", fields{
		"ca_file": func(v value) {
			if t.ca = v.pem(&t.CAFile); t.ca == nil {
				return
			}
			t.Roots = x509.NewCertPool()
			if !t.Roots.AppendCertsFromPEM(t.ca) {
				v.failFound("a file of PEM certificates")
			}
		},
		"cert_file": func(v value) { t.cert = v.pem(&t.CertFile) },
		"key_file":  func(v value) { t.key = v.pem(&t.KeyFile) },
		"server_name": func(v value) {
			v.about.orNull()
			if !v.isNull() {
				v.nonEmpty(&t.ServerName, "a host name")
			}
		},
	})
	if t.cert == nil || t.key == nil {
		return
	}
	pair, err := tls.X509KeyPair(t.cert, t.key)
	if err != nil {
		v.d.failAt("found files that are not a PEM certificate and its key: "+strings.TrimPrefix(err.Error(), "tls: "),
			v.path+".cert_file", v.path+".key_file", v.path)
		return
	}
	t.Certificate = &pair
}

// pem stores a path and returns the file's content, nil after an error. A key alone, as in {ca_file, cert_file}, is one
// that is not given.
func (v value) pem(path *string) []byte {
	v.about.orNull()
	if v.isNull() || !v.nonEmpty(path, "a path") {
		return nil
	}
	data, err := v.d.readFile(*path)
	if err != nil {
		v.fail("found %s, but %s", v.found(), fileProblem(err))
		return nil
	}
	return data
}

// network stores any, public or a list of networks.
func (v value) network(to *Network) {
	const expected = "any, public or a list of CIDRs such as 10.0.0.0/8"
	*to = Network{}
	if v.about != nil {
		v.describeNetwork(expected)
		return
	}
	if v.node.Kind == yaml.SequenceNode {
		items, _ := v.list("")
		if len(items) == 0 {
			v.fail("found an empty list, expected %s", expected)
		}
		for _, item := range items {
			to.Allow = append(to.Allow, item.cidr())
		}
		return
	}
	var word string
	if !v.nonEmpty(&word, expected) {
		return
	}
	to.Public = word == "public"
	if word != "any" && word != "public" {
		v.failFound(expected)
	}
}

// cidr returns a network; an address is the network of itself.
func (v value) cidr() netip.Prefix {
	const expected = "a CIDR such as 10.0.0.0/8 or fd00::/8"
	s, ok := v.str(expected)
	if !ok {
		return netip.Prefix{}
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		v.failFound(expected)
	case prefix != prefix.Masked():
		v.failFound(prefix.Masked().String() + ", or the single address " + prefix.Addr().String())
	}
	return prefix
}
