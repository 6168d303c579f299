package mapping

import (
	"bytes"
	"encoding/json"
)

// attributes returns the event's headers column as strings: numbers and booleans in their text form, and nothing for
// null, lists and objects. It is never nil.
func (ev *Event) attributes() map[string]string {
	attrs := map[string]string{}
	if len(ev.Headers) == 0 {
		return attrs
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(ev.Headers, &raw) != nil {
		return attrs
	}
	for name, value := range raw {
		switch value[0] {
		case '"':
			var s string
			if json.Unmarshal(value, &s) == nil {
				attrs[name] = s
			}
		case 'n', '{', '[':
		default:
			attrs[name] = string(value)
		}
	}
	return attrs
}

// Traceparent returns the event's W3C trace context, empty where its headers have none that a request could carry.
func (ev *Event) Traceparent() (parent, state string) {
	if !bytes.Contains(ev.Headers, []byte("traceparent")) {
		return "", "" // the common case, at the price of a search
	}
	attrs := ev.attributes()
	parent, state = attrs["traceparent"], attrs["tracestate"]
	if parent == "" || !isPrintable(parent) {
		return "", ""
	}
	if !isPrintable(state) {
		state = ""
	}
	return parent, state
}

// isPrintable reports whether the text is of printable ASCII with no space around it, and so arrives in a header as it is.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[len(s)-1] != ' '
}

// native returns the event as expressions see it as a whole.
func (ev *Event) native() map[string]any {
	m := make(map[string]any, len(eventFields))
	for _, name := range eventFields {
		m[name] = ev.field(name)
	}
	return m
}
