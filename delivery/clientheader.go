package delivery

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// header returns the headers of an attempt made now. Canonical names go into the map as they are, without being looked
// at again, and all values of the attempt share one array.
func (c *Client) header(r *Request, now time.Time, authorization string) http.Header {
	h := make(http.Header, len(c.headers)+len(r.Body.Headers)+7)
	for i := range c.headers {
		h[c.headers[i].name] = c.headers[i].values
	}
	values := make([]string, 0, 6+len(r.Body.Headers))
	set := func(name, value string) {
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
	for _, p := range r.Body.Headers {
		set(http.CanonicalHeaderKey(p[0]), p[1])
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	set("Webhook-Id", r.ID)
	set("Webhook-Timestamp", timestamp)
	if len(c.signer.keys) > 0 {
		set("Webhook-Signature", c.signer.sign(r.ID, timestamp, r.Body.Bytes))
	} else {
		delete(h, "Webhook-Signature")
	}
	set("Content-Type", r.Body.ContentType)
	if parent, state := r.trace(); parent != "" {
		set("Traceparent", parent)
		if state != "" {
			set("Tracestate", state)
		}
	}
	if authorization != "" {
		set("Authorization", authorization)
	}
	return h
}

// trace returns the trace context as far as it can be a header: a trace is worth no delivery.
func (r *Request) trace() (parent, state string) {
	if r.Traceparent == "" || !validHeaderValue(r.Traceparent) {
		return "", ""
	}
	if validHeaderValue(r.Tracestate) {
		state = r.Tracestate
	}
	return r.Traceparent, state
}

// problem says why the request cannot be sent; it is empty if it can. Nothing from a row gets into a header that could
// end it and begin another.
func (r *Request) problem() string {
	switch {
	case r.ID == "":
		return "event id is empty"
	case !validHeaderValue(r.ID):
		return fmt.Sprintf("event id %s cannot be a header: it has a control character, or a space at an end", quoted(r.ID))
	case !validHeaderValue(r.Body.ContentType):
		return fmt.Sprintf("content type %s cannot be a header", quoted(r.Body.ContentType))
	}
	for _, h := range r.Body.Headers {
		if !strings.HasPrefix(h[0], "ce-") || !validHeaderName(h[0]) || !validHeaderValue(h[1]) {
			return fmt.Sprintf("header %s has a name or a value that cannot be sent", quoted(h[0]))
		}
	}
	return ""
}

func quoted(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// validHeaderValue reports whether the value arrives as it is. Spaces around it would be trimmed on the way, and the
// signature of an id so changed would be wrong.
func validHeaderValue(v string) bool {
	for i := range len(v) {
		if b := v[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return v == "" || !blank(v[0]) && !blank(v[len(v)-1])
}

func blank(b byte) bool { return b == ' ' || b == '\t' }

// validHeaderName reports whether the name is a token of RFC 9110.
func validHeaderName(name string) bool {
	for i := range len(name) {
		if !tokenByte(name[i]) {
			return false
		}
	}
	return name != ""
}

func tokenByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	switch b {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}
