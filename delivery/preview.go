package delivery

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/mapping"
)

// Preview is the request that an attempt would make, for people: nothing that is secret is shown.
type Preview struct {
	Method, URL string      // the URL without user and query
	Headers     [][2]string // by name; the values of configured headers and credentials are [hidden]
	Body        []byte

	url    string
	hidden map[string]string
}

// NewRequest renders the request for one event. An error means that it can never be rendered as configured.
func NewRequest(ep *mapping.Endpoint, ev *mapping.Event) (req Request, err error) {
	if ep.Format == mapping.FormatCloudEventsBatch {
		req.Body, req.ID, err = ep.RenderBatch([]*mapping.Event{ev})
	} else {
		req.ID = ev.ID
		req.Body, err = ep.Render(ev)
	}
	if ev.Headers != nil {
		req.Traceparent, req.Tracestate = ev.Traceparent()
	}
	return req, err
}

const hiddenText = "[hidden]"

// NewPreview returns the request that an attempt at the endpoint would make now, without making one. It is built by what
// builds the real one.
func NewPreview(ep *mapping.Endpoint, version string, r *Request, now time.Time) (*Preview, error) {
	c, err := NewClient(ep, version)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if problem := r.problem(); problem != "" {
		return nil, errors.New(problem)
	}
	var authorization string
	if c.tokens != nil {
		authorization = "Bearer " + hiddenText
	}
	h := c.header(r, now, authorization)
	p := &Preview{Method: http.MethodPost, Body: r.Body.Bytes, url: ep.URL, hidden: map[string]string{}}
	for i := range c.headers {
		name := c.headers[i].name
		if name == "User-Agent" || &h[name][0] != &c.headers[i].values[0] { // the row's own go before configured ones
			continue
		}
		p.hidden[name] = h[name][0]
		shown := hiddenText
		if scheme, _, ok := strings.Cut(h[name][0], " "); ok && name == "Authorization" {
			shown = scheme + " " + hiddenText
		}
		h[name] = []string{shown}
	}
	u := *c.url
	if u.User = nil; u.RawQuery != "" {
		u.RawQuery = hiddenText
	}
	p.URL = u.String()
	h["Host"], h["Content-Length"] = []string{c.host}, []string{strconv.Itoa(len(p.Body))}
	for _, name := range slices.SortedFunc(maps.Keys(h), byRank) {
		p.Headers = append(p.Headers, [2]string{name, h[name][0]})
	}
	return p, nil
}

// byRank sorts headers as a person would look for them: what addresses the request, then what signs it, then the rest.
func byRank(a, b string) int {
	rank := func(name string) int {
		switch {
		case name == "Host":
			return 0
		case strings.HasPrefix(name, "Content-"):
			return 1
		case strings.HasPrefix(name, "Webhook-"):
			return 2
		}
		return 3
	}
	return cmp.Or(rank(a)-rank(b), strings.Compare(a, b))
}

// Header returns a header's value as it is shown, and whether the request has it.
func (p *Preview) Header(name string) (string, bool) {
	i := slices.IndexFunc(p.Headers, func(h [2]string) bool { return h[0] == name })
	if i < 0 {
		return "", false
	}
	return p.Headers[i][1], true
}

// SameURL reports whether two requests go to the same URL, what is hidden of it included.
func (p *Preview) SameURL(q *Preview) bool { return p.url == q.url }

// SameHeader reports whether two requests have the same header, hidden values included.
func (p *Preview) SameHeader(q *Preview, name string) bool {
	a, hasA := p.Header(name)
	b, hasB := q.Header(name)
	return hasA == hasB && a == b && p.hidden[name] == q.hidden[name]
}
