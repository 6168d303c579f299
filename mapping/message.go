package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"relay/cdc"
)

var messageKeys = []string{"headers", "id", "key", "payload", "type"}

const messageForm = `expected {"id": "…", "type": "…", "key": "…", "payload": …, "headers": {…}}`

// messageEvent makes an event of a logical message. One that is malformed has the message itself for its payload, its
// place for its id, and a Problem.
func messageEvent(row *cdc.Row) *Event {
	ev := &Event{Place: row.Place, CommitTime: row.CommitTime, Time: row.CommitTime}
	if problem := ev.readMessage(row.Content); problem != "" {
		ev.Problem = fmt.Sprintf("the logical message with the prefix %s %s, %s", quoted(row.Prefix), problem, messageForm)
		ev.ID, ev.Payload, ev.Kind, ev.Headers = row.Place.String(), row.Content, PayloadText, nil
		if ev.Payload == nil {
			ev.Payload = []byte{}
		}
		return ev
	}
	ev.Problem = ev.Check()
	return ev
}

// readMessage fills the event and returns what is wrong. Names of keys count letter by letter, unlike in encoding/json's
// structs, and the payload's bytes stay as they are.
func (ev *Event) readMessage(content []byte) string {
	m, ok := messageObject(content)
	if !ok {
		return "is not a JSON object"
	}
	return ev.setMessage(m)
}

func messageObject(content []byte) (map[string]json.RawMessage, bool) {
	var m map[string]json.RawMessage
	ok := utf8.Valid(content) && json.Unmarshal(content, &m) == nil && m != nil
	return m, ok
}

func (ev *Event) setMessage(m map[string]json.RawMessage) string {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(messageKeys, name) {
			return "has an unknown key " + quoted(name)
		}
	}
	for _, name := range []string{"id", "type", "payload"} {
		if m[name] == nil {
			return "has no " + name
		}
	}
	var keyed bool
	for _, part := range []struct {
		name  string
		to    *string
		given *bool
	}{{"id", &ev.ID, nil}, {"type", &ev.Type, nil}, {"key", &ev.Key, &keyed}} {
		text, ok := plainText(m[part.name])
		switch {
		case !ok && (part.given == nil || !isAbsent(m[part.name])):
			return "has no string for its " + part.name
		case ok && part.given != nil:
			*part.given = true
		}
		*part.to = text
	}
	ev.Keyed = keyed
	ev.Payload, ev.Kind = m["payload"], PayloadJSON
	if headers := m["headers"]; !isAbsent(headers) {
		ev.Headers = headers
	}
	return ""
}

func isAbsent(raw json.RawMessage) bool { return raw == nil || bytes.Equal(raw, []byte("null")) }

// plainText returns a JSON string, or a number as it is written.
func plainText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 {
		return "", false
	}
	switch c := raw[0]; {
	case c == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	case c == '-' || c >= '0' && c <= '9':
		return string(raw), true
	}
	return "", false
}
