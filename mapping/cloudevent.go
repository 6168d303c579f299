package mapping

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// source returns the CloudEvents source of the event: its table, unless the endpoint says otherwise.
func (e *Endpoint) source(ev *Event) string {
	if e.Source != "" {
		return e.Source
	}
	slot := url.PathEscape(e.slot)
	if ev.Table == "" {
		return "/relay/" + slot
	}
	return "/relay/" + slot + "/" + url.PathEscape(ev.Table)
}

// ceAttributes returns the event's CloudEvents attributes but datacontenttype, in a fixed order.
func (e *Endpoint) ceAttributes(ev *Event) [][2]string {
	attrs := make([][2]string, 0, 8)
	attrs = append(attrs,
		[2]string{"specversion", "1.0"},
		[2]string{"id", ev.ID},
		[2]string{"source", e.source(ev)},
		[2]string{"type", ev.Type},
		[2]string{"time", string(appendTime(make([]byte, 0, len(time.RFC3339Nano)), ev.Time))},
	)
	if ev.Key != "" { // neither may be empty
		attrs = append(attrs, [2]string{"subject", ev.Key}, [2]string{"partitionkey", ev.Key})
	}
	if ev.Place.Commit != 0 { // a replayed row's place in the log is not known any more
		attrs = append(attrs, [2]string{"sequence", ev.Place.String()})
	}
	if len(ev.Headers) == 0 {
		return attrs
	}
	own := ev.attributes()
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if isExtension(name) && own[name] != "" {
			attrs = append(attrs, [2]string{name, own[name]})
		}
	}
	return attrs
}

// notExtensions are the names that an event attribute cannot have in a CloudEvent.
var notExtensions = []string{
	"specversion", "id", "source", "type", "time", "subject", "partitionkey", "sequence",
	"datacontenttype", "dataschema", "data", "database64",
}

// isExtension reports whether an event attribute becomes an extension attribute: lower-case letters and digits, as the
// specification asks. traceparent and tracestate are so its distributed tracing extension.
func isExtension(name string) bool {
	return name != "" && len(name) <= 64 && !slices.Contains(notExtensions, name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// cloudEvent returns the event as a structured CloudEvent.
func (e *Endpoint) cloudEvent(ev *Event) ([]byte, error) {
	render := func() ([]byte, error) {
		c, err := e.content(ev)
		if err != nil {
			return nil, err
		}
		return e.appendCloudEvent(make([]byte, 0, len(c.data)+512), ev, c)
	}
	if e.Body != nil || e.Source != "" {
		return render()
	}
	return once(&ev.shared.event, render)
}

func (e *Endpoint) appendCloudEvent(b []byte, ev *Event, c content) ([]byte, error) {
	b = append(b, '{')
	for _, attr := range e.ceAttributes(ev) {
		b = append(appendString(b, attr[0]), ':')
		b = append(appendString(b, attr[1]), ',')
	}
	if c.kind == PayloadBytes {
		b = append(b, `"datacontenttype":"application/octet-stream","data_base64":`...)
		return append(appendBase64(b, c.data), '}'), nil
	}
	if err := c.checkJSON(); err != nil {
		return nil, err
	}
	b = append(b, `"datacontenttype":"application/json","data":`...)
	return append(append(b, c.data...), '}'), nil
}

// eventHeaders returns the attributes as headers of the binary format. datacontenttype is the request's Content-Type.
func (e *Endpoint) eventHeaders(ev *Event) [][2]string {
	attrs := e.ceAttributes(ev)
	for i := range attrs {
		attrs[i] = [2]string{"ce-" + attrs[i][0], percentEncode(attrs[i][1])}
	}
	return attrs
}

// percentEncode encodes a header value by the HTTP binding of CloudEvents: space, double quote, percent and all outside
// U+0021 to U+007E.
func percentEncode(s string) string {
	encode := func(c byte) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }
	n := 0
	for i := range len(s) {
		if encode(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; encode(c) {
			b = append(b, '%', digits[c>>4], digits[c&0xf])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}
