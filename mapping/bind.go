package mapping

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v5/pgtype"

	"relay/cdc"
)

// binding is where the columns of an event are in the rows of one *cdc.Table.
type binding struct {
	table   string
	columns []string // names of all columns

	id, typ, key, payload, headers, time int // -1: the table has no such column

	kind        PayloadKind
	kindUnknown bool // a type that is neither JSON, text nor bytea: JSON if it looks like it
	types       []uint32

	interned map[string]string // event types seen
}

// bind finds the configured columns in the table. The error names the first that is missing and the remedy.
func bind(cfg Table, t *cdc.Table) (*binding, error) {
	b := &binding{table: t.String(), interned: make(map[string]string)}
	for _, col := range t.Columns {
		b.columns = append(b.columns, col.Name)
		b.types = append(b.types, col.Type)
	}
	c := cfg.Columns
	for _, want := range []struct {
		key, column string
		to          *int
		optional    bool
	}{
		{"id", c.ID, &b.id, false},
		{"type", c.Type, &b.typ, false},
		{"key", c.Key, &b.key, true},
		{"payload", c.Payload, &b.payload, false},
		{"headers", c.Headers, &b.headers, true},
		{"time", c.Time, &b.time, true},
	} {
		*want.to = t.Column(want.column)
		if *want.to < 0 && (!want.optional || c.Named[want.key]) {
			return nil, fmt.Errorf("table %s has no column %q for the event's %s, it has %s; add the column, have the publication send it, or name another: "+
				"columns: {%s: …} under source.tables", t, want.column, want.key, strings.Join(b.columns, ", "), want.key)
		}
	}
	if b.headers >= 0 && !c.Named["headers"] && !isJSON(b.types[b.headers]) {
		b.headers = -1 // a column of that name, but of another purpose
	}
	b.kind, b.kindUnknown = payloadKind(b.types[b.payload])
	return b, nil
}

func isJSON(oid uint32) bool { return oid == pgtype.JSONOID || oid == pgtype.JSONBOID }

func payloadKind(oid uint32) (kind PayloadKind, unknown bool) {
	switch oid {
	case pgtype.JSONOID, pgtype.JSONBOID:
		return PayloadJSON, false
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID:
		return PayloadText, false
	case pgtype.ByteaOID:
		return PayloadBytes, false
	}
	return PayloadText, true // a domain, for instance, whose base type the server does not tell
}

// event makes an event of a row. What is wrong with the row is the event's Problem.
func (b *binding) event(row *cdc.Row) *Event {
	ev := &Event{
		Table: b.table, Place: row.Place, CommitTime: row.CommitTime, Time: row.CommitTime,
		Columns: b.columns, Values: row.Values, Kind: b.kind,
	}
	ev.ID = alias(b.value(row, b.id))
	ev.Type = b.intern(b.value(row, b.typ))
	if key := b.value(row, b.key); key != nil {
		ev.Key, ev.Keyed = alias(key), true
	}
	ev.Headers = b.value(row, b.headers)
	if at := b.value(row, b.time); at != nil {
		ev.Time = eventTime(at, row.CommitTime)
	}
	ev.Payload = b.value(row, b.payload)
	hexOK := b.decodePayload(ev)
	switch {
	case b.value(row, b.id) == nil:
		ev.ID = row.Place.String()
		ev.Problem = fmt.Sprintf("column %q is NULL: every event needs an id; declare the column NOT NULL", b.columns[b.id])
	case b.value(row, b.typ) == nil:
		ev.Problem = fmt.Sprintf("column %q is NULL: every event needs a type; declare the column NOT NULL", b.columns[b.typ])
	case ev.Payload == nil:
		ev.Problem = fmt.Sprintf("column %q is NULL: every event needs a payload; declare the column NOT NULL, "+
			"and write 'null' or '{}' for an empty one", b.columns[b.payload])
	case !hexOK:
		ev.Problem = fmt.Sprintf("column %q is not in bytea's hex form: set bytea_output = hex", b.columns[b.payload])
	default:
		ev.Problem = ev.Check()
	}
	return ev
}

// alias returns a string over the row's memory, which nobody changes: the row belongs to the event.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// maxInterned bounds the types remembered, for tables where the type is not one of a few.
const maxInterned = 1000

// intern returns the type as a string that is shared by all its events.
func (b *binding) intern(typ []byte) string {
	if s, ok := b.interned[string(typ)]; ok { // no copy is made for the look-up
		return s
	}
	s := string(typ)
	if len(b.interned) < maxInterned {
		b.interned[s] = s
	}
	return s
}

// value returns the text of a column; nil is NULL, or no such column.
func (b *binding) value(row *cdc.Row, column int) []byte {
	if column < 0 || column >= len(row.Values) {
		return nil
	}
	return row.Values[column]
}

// decodePayload turns the text form of the payload into what is sent.
func (b *binding) decodePayload(ev *Event) bool {
	if b.kindUnknown && json.Valid(ev.Payload) {
		ev.Kind = PayloadJSON
	}
	if b.kind != PayloadBytes || ev.Payload == nil {
		return true
	}
	digits, ok := bytes.CutPrefix(ev.Payload, []byte(`\x`))
	data := make([]byte, hex.DecodedLen(len(digits))) // of its own: row.payload stays what it is
	if _, err := hex.Decode(data, digits); err != nil || !ok {
		return false
	}
	ev.Payload = data
	return true
}

// maxID keeps the request's headers within what servers accept.
const maxID = 1024

// Check returns why the event can be sent to nobody, or nothing if it can: its Problem, found again from what is kept of
// it. A row without an id has its place for one, whose dot is found here.
func (ev *Event) Check() string {
	switch {
	case ev.ID == "":
		return "the id is empty: every event needs one"
	case strings.Contains(ev.ID, "."):
		return "the id " + quoted(ev.ID) + " holds a dot, which separates the parts of a signature: use ids without one"
	case len(ev.ID) > maxID:
		return fmt.Sprintf("the id is %d bytes long, which is more than the %d a header may take", len(ev.ID), maxID)
	case !isPrintable(ev.ID):
		return "the id " + quoted(ev.ID) + " holds a character that a header cannot carry: use printable ASCII"
	case strings.IndexByte(ev.Key, 0) >= 0: // a logical message's; parked, SQL would take it for another key
		return "the key " + quoted(ev.Key) + " holds a NUL, which text in Postgres cannot: use keys without one"
	case ev.Type == "":
		return "the type is empty: every event needs one"
	case ev.Payload == nil:
		return "the payload is NULL: every event needs one"
	case !isObject(ev.Headers):
		return "the headers are not a JSON object: write one of strings, or NULL"
	}
	return ""
}

func quoted(s string) string { return strconv.QuoteToASCII(shorten(s)) }

// isObject reports whether text is a JSON object; none at all passes.
func isObject(text []byte) bool {
	if text == nil {
		return true
	}
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && text[0] == '{' && json.Valid(text)
}

var timeLayouts = []string{
	"2006-01-02 15:04:05.999999999Z07",
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999",
	time.RFC3339Nano,
	"2006-01-02",
}

// eventTime parses the text form of a timestamp, with a zone or in UTC. What RFC 3339 cannot express (infinity, BC) and
// what is no timestamp at all gives the commit time.
func eventTime(text []byte, commit time.Time) time.Time {
	if t, ok := utcTime(text); ok {
		return t
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, string(text)); err == nil && t.Year() > 0 && t.Year() < 10000 {
			return t.UTC()
		}
	}
	return commit
}
