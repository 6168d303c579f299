package mapping

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

var endpointName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,63}$`)

func (v value) endpoints() []*Endpoint {
	v.about.names(endpointName)
	entries := v.entries("a mapping of endpoint names")
	if v.isNull() || v.node.Kind == yaml.MappingNode && len(v.node.Content) == 0 {
		v.fail("found no endpoint, expected at least one")
	}
	var list []*Endpoint
	for _, e := range entries {
		if !endpointName.MatchString(e.key.Value) {
			v.d.add(e.key.Line, e.key.Column, e.value.path,
				"not a name for an endpoint, expected up to 63 letters, digits, '_', '-' and '.'")
		}
		ep := v.d.defaults.clone()
		ep.Name, ep.Line, ep.Column = e.key.Value, e.key.Line, e.key.Column
		e.value.endpoint(ep, false)
		list = append(list, ep)
	}
	return list
}

// clone copies what an endpoint's own keys may change in place.
func (e *Endpoint) clone() *Endpoint {
	c := *e
	c.Headers = slices.Clone(e.Headers)
	return &c
}

// endpoint decodes an endpoint, or the defaults of all.
func (v value) endpoint(e *Endpoint, defaults bool) {
	f := e.fields()
	if defaults {
		for _, own := range []string{"url", "events"} {
			if v.about != nil {
				delete(f, own)
				continue
			}
			f[own] = func(v value) { v.fail("belongs to each endpoint, expected no %s in defaults", own) }
		}
	}
	hasURL := false
	if !defaults {
		f["url"] = func(v value) { hasURL = true; v.endpointURL(&e.URL) }
	}
	v.mapping("endpoint keys", f)
	if defaults {
		return
	}
	v.about.require("url")
	if !hasURL && (v.node.Kind == yaml.MappingNode || v.isNull()) {
		v.fail("found no url, expected url: https://…")
	}
	v.consistent(e)
}

func (e *Endpoint) fields() fields {
	return fields{
		"url":         func(v value) { v.endpointURL(&e.URL) },
		"events":      func(v value) { v.patterns(&e.Events) },
		"where":       func(v value) { v.expression(&e.Where, compileWhere) },
		"body":        func(v value) { v.expression(&e.Body, compileBody) },
		"format":      func(v value) { v.enum((*string)(&e.Format), formats...) },
		"source":      func(v value) { v.eventSource(&e.Source) },
		"secrets":     func(v value) { v.secrets(&e.Secrets) },
		"headers":     func(v value) { v.headers(&e.Headers) },
		"auth":        func(v value) { v.auth(&e.Auth) },
		"tls":         func(v value) { v.tls(&e.TLS) },
		"timeout":     func(v value) { v.durationAbove(&e.Timeout, 0) },
		"concurrency": func(v value) { v.integer(&e.Concurrency, 1) },
		"rate":        func(v value) { v.float(&e.Rate, "a number that is not negative", isNotNegative) },
		"order":       func(v value) { v.enum((*string)(&e.Order), string(OrderKey), string(OrderStrict), string(OrderNone)) },
		"batch":       func(v value) { v.batch(&e.Batch) },
		"retry":       func(v value) { v.retry(&e.Retry) },
		"breaker":     func(v value) { v.breaker(&e.Breaker) },
		"network":     func(v value) { v.network(&e.Network) },
		"paused":      func(v value) { v.boolean(&e.Paused) },
	}
}

var formats = []string{
	string(FormatStandard), string(FormatRaw), string(FormatCloudEvents), string(FormatCloudEventsBinary),
	string(FormatCloudEventsBatch),
}

func isNotNegative(f float64) bool { return f >= 0 }

// consistent reports what is wrong between keys. The place is the endpoint's own key, or that of the defaults.
func (v value) consistent(e *Endpoint) {
	check := func(ok bool, key, message string) {
		if !ok {
			v.d.failAt(message, v.path+"."+key, "defaults."+key, v.path)
		}
	}
	check(e.Batch.Events <= 1 || e.Format == FormatCloudEventsBatch, "batch.events",
		"found "+strconv.Itoa(e.Batch.Events)+" with format "+string(e.Format)+
			", expected 1: only cloudevents-batch takes several events in a request")
	check(e.Breaker.MaxOpen >= e.Breaker.Open, "breaker.max_open",
		"found "+e.Breaker.MaxOpen.String()+", expected at least breaker.open, which is "+e.Breaker.Open.String())
	check((e.TLS.CertFile == "") == (e.TLS.KeyFile == ""), "tls", "found one of cert_file and key_file, expected both")
	hasAuthorization := slices.ContainsFunc(e.Headers, func(h [2]string) bool { return h[0] == "Authorization" })
	check(!hasAuthorization || e.Auth == (Auth{}), "headers.Authorization", "found auth as well, expected one of them")
}

// endpointURL stores an absolute http or https URL. What is wrong with it is told without its text, which may hold
// credentials.
func (v value) endpointURL(to *string) {
	const expected = "expected an absolute URL such as https://example.com/webhooks"
	var s string
	if !v.nonEmpty(&s, "an absolute URL such as https://example.com/webhooks") {
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || strings.ContainsAny(s, " \t\n"):
		v.fail("found something that is not a URL, %s", expected)
	case u.Scheme != "http" && u.Scheme != "https":
		v.fail("found a URL that is neither http nor https, %s", expected)
	case u.Hostname() == "":
		v.fail("found a URL without a host, %s", expected)
	case !isPort(u.Port()):
		v.fail("found a URL with the port %s, expected one from 1 to 65535", u.Port())
	case u.User != nil:
		v.fail("found a URL with a user in it, expected auth: {basic: {username, password}}")
	case strings.Contains(s, "#"):
		v.fail("found a URL with a fragment (#), which is never sent, expected none")
	default:
		*to = s
	}
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

func (v value) patterns(to *[]Pattern) {
	var list []string
	v.about.standard(*to)
	v.strings(&list, "an event type, in which * matches any run of characters")
	if list == nil {
		return
	}
	if len(list) == 0 && len(v.node.Content) == 0 {
		v.fail("found no event type, expected at least one; paused: true turns an endpoint off")
	}
	patterns := make([]Pattern, len(list))
	for i, s := range list {
		patterns[i] = Pattern(s)
	}
	*to = patterns
}

// eventSource stores the CloudEvents source, a URI reference.
func (v value) eventSource(to *string) {
	const expected = "a URI reference such as /shop/orders"
	if !v.nonEmpty(to, expected) {
		return
	}
	if _, err := url.Parse(*to); err != nil || strings.ContainsFunc(*to, func(r rune) bool { return r <= ' ' || r > '~' }) {
		v.failFound(expected)
	}
}

func (v value) batch(b *Batch) {
	v.mapping("events, bytes and wait", fields{
		"events": func(v value) { v.integer(&b.Events, 1) },
		"bytes":  func(v value) { v.size(&b.Bytes) },
		"wait":   func(v value) { v.duration(&b.Wait, 0) },
	})
}

const minDelay = 100 * time.Millisecond

func (v value) retry(r *Retry) {
	v.mapping("delays, max_age and rejected", fields{
		"delays":   func(v value) { v.delays(&r.Delays) },
		"max_age":  func(v value) { v.durationAbove(&r.MaxAge, 0) },
		"rejected": func(v value) { v.integer(&r.Rejected, 1) },
	})
}

func (v value) delays(to *[]time.Duration) {
	v.about.durations(*to)
	items, ok := v.list("a list of durations, as in [500ms, 5s, 1m]")
	if !ok {
		return
	}
	delays := []time.Duration{}
	for _, item := range items {
		d := minDelay
		item.duration(&d, minDelay)
		delays = append(delays, d)
	}
	*to = delays
}

func (v value) breaker(b *Breaker) {
	v.mapping("breaker keys", fields{
		"failures": func(v value) { v.integer(&b.Failures, 1) },
		"ratio": func(v value) {
			v.float(&b.Ratio, "a share above 0 and up to 1", func(f float64) bool { return f > 0 && f <= 1 })
		},
		"requests": func(v value) { v.integer(&b.Requests, 1) },
		"window":   func(v value) { v.duration(&b.Window, time.Second) },
		"open":     func(v value) { v.duration(&b.Open, minDelay) },
		"max_open": func(v value) { v.duration(&b.MaxOpen, minDelay) },
		"probes":   func(v value) { v.integer(&b.Probes, 1) },
	})
}

// expression compiles a CEL expression. Mistakes are reported at their place in the file.
func (v value) expression(to **Expression, compile func(string) (*Expression, []exprError)) {
	var s string
	if !v.nonEmpty(&s, "a CEL expression") {
		return
	}
	x, errs := compile(s)
	for _, err := range errs {
		line, column := v.position(s, err.line, err.column)
		if s != v.node.Value {
			err.message = "is not valid once its ${…} are expanded" // whose text may be secret
		}
		v.d.add(line, column, v.path, err.message)
	}
	if x != nil {
		x.source = v.node.Value
	}
	*to = x
}

// position returns where in the file the place of an expression is: exactly if the expression stands there as it is,
// else where its value begins. The expression's columns count from 0.
func (v value) position(expanded string, line, column int) (int, int) {
	lines := strings.Split(v.node.Value, "\n")
	if v.node.Value != expanded || line < 1 || line > len(lines) {
		return v.node.Line, v.node.Column
	}
	row, text := v.node.Line, lines[line-1]
	if v.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		row += line
		if row <= len(v.d.lines) {
			if before, _, ok := strings.Cut(v.d.lines[row-1], text); ok {
				return row, utf8.RuneCountInString(before) + column + 1
			}
		}
		return v.node.Line, v.node.Column
	}
	source := []rune(v.d.lines[min(row, len(v.d.lines))-1])
	for from := v.node.Column - 1; from <= v.node.Column && from <= len(source); from++ { // plain, or behind a quote
		if strings.HasPrefix(string(source[from:]), text) {
			return row, from + column + 1
		}
	}
	return v.node.Line, v.node.Column
}
