package park

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"relay/mapping"
)

// detail is the part of an event that has no column, or whose column does not hold it exactly: times to the nanosecond,
// the row's columns and values, and text that Postgres cannot hold (a NUL, broken UTF-8). A value that is the payload
// or another field again, which most are, is a reference to it. The first byte is the version of the form.
const detailVersion = 1

// What the tag before a value says of it.
const (
	valueNull byte = iota
	valueHere
	valuePayload
	valuePayloadHex // the payload is the decoded form
	valueHeaders
	valueID
	valueType
	valueKey
)

// Which fields are in the detail because the column does not hold them exactly.
const (
	exactID = 1 << iota // in the order of the texts
	exactType
	exactKey
	exactHeaders
	exactTable
	hasColumns
	hasValues
	payloadNil
)

var errDetail = errors.New("the detail column is damaged, or from a newer relay")

// storable returns s as Postgres can hold it, and whether that is s.
func storable(s string) (string, bool) {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s, true
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD"), false
}

func isStorable(s string) bool { _, ok := storable(s); return ok }

func encodeDetail(ev *mapping.Event) []byte {
	texts := []string{ev.ID, ev.Type, ev.Key, string(ev.Headers), ev.Table}
	var flags uint64
	for i, text := range texts {
		if !isStorable(text) {
			flags |= 1 << i
		}
	}
	if ev.Columns != nil {
		flags |= hasColumns
	}
	if ev.Values != nil {
		flags |= hasValues
	}
	if ev.Payload == nil {
		flags |= payloadNil
	}
	b := binary.AppendUvarint([]byte{detailVersion}, flags)
	for i, text := range texts {
		if flags&(1<<i) != 0 {
			b = appendBytes(b, text)
		}
	}
	b = appendTime(b, ev.Time)
	b = appendTime(b, ev.CommitTime)
	b = appendBytes(b, ev.Problem)
	b = binary.AppendUvarint(b, uint64(len(ev.Columns)))
	for _, name := range ev.Columns {
		b = appendBytes(b, name)
	}
	b = binary.AppendUvarint(b, uint64(len(ev.Values)))
	for _, v := range ev.Values {
		b = appendValue(b, ev, v)
	}
	return b
}

func appendBytes[T string | []byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// appendTime writes 0 for the zero time, else 1 and seconds and nanoseconds.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendUvarint(binary.AppendVarint(append(b, 1), t.Unix()), uint64(t.Nanosecond()))
}

func appendValue(b []byte, ev *mapping.Event, v []byte) []byte {
	switch {
	case v == nil:
		return append(b, valueNull)
	case ev.Payload != nil && bytes.Equal(v, ev.Payload):
		return append(b, valuePayload)
	case ev.Kind == mapping.PayloadBytes && ev.Payload != nil && isHexOf(v, ev.Payload):
		return append(b, valuePayloadHex)
	case ev.Headers != nil && bytes.Equal(v, ev.Headers):
		return append(b, valueHeaders)
	case string(v) == ev.ID:
		return append(b, valueID)
	case string(v) == ev.Type:
		return append(b, valueType)
	case string(v) == ev.Key:
		return append(b, valueKey)
	default:
		return appendBytes(append(b, valueHere), v)
	}
}

func isHexOf(v, payload []byte) bool {
	return len(v) == 2+2*len(payload) && bytes.Equal(v, hexOf(payload))
}

func hexOf(payload []byte) []byte { return hex.AppendEncode([]byte(`\x`), payload) }

// columnNames are those of the last row that was read. The events of a table share theirs.
type columnNames struct {
	encoded []byte
	names   []string
}

// detailReader reads what the append functions wrote; after damage it returns zero values and is bad.
type detailReader struct {
	rest         []byte
	bad          bool
	id, typ, key []byte // texts that values may refer to, as the columns say them
	names        *columnNames
}

// complete completes the event that has been filled from the columns. What it takes from the detail aliases that.
func (r *detailReader) complete(ev *mapping.Event) error {
	if r.byte() != detailVersion {
		return errDetail
	}
	flags := r.uvarint()
	r.exact(ev, flags)
	if flags&payloadNil != 0 {
		ev.Payload = nil
	}
	ev.Time, ev.CommitTime = r.time(), r.time()
	ev.Problem = string(r.bytes())
	if names := r.columns(); flags&hasColumns != 0 {
		ev.Columns = names
	}
	if n := r.count(); flags&hasValues != 0 {
		ev.Values = make([][]byte, n)
		for i := range ev.Values {
			ev.Values[i] = r.value(ev)
		}
	}
	if r.bad {
		return errDetail
	}
	return nil
}

// exact reads the texts that the columns do not hold as they are.
func (r *detailReader) exact(ev *mapping.Event, flags uint64) {
	var headers, table []byte
	for i, field := range [...]*[]byte{&r.id, &r.typ, &r.key, &headers, &table} {
		if flags&(1<<i) != 0 {
			*field = r.bytes()
		}
	}
	for _, f := range [...]struct {
		flag uint64
		to   *string
		from []byte
	}{{exactID, &ev.ID, r.id}, {exactType, &ev.Type, r.typ}, {exactKey, &ev.Key, r.key}, {exactTable, &ev.Table, table}} {
		if flags&f.flag != 0 {
			*f.to = string(f.from)
		}
	}
	if flags&exactHeaders != 0 {
		ev.Headers = headers
	}
}

// columns reads the names of the columns.
func (r *detailReader) columns() []string {
	if len(r.names.encoded) > 0 && bytes.HasPrefix(r.rest, r.names.encoded) {
		r.rest = r.rest[len(r.names.encoded):]
		return r.names.names
	}
	from := r.rest
	names := make([]string, r.count())
	for i := range names {
		names[i] = string(r.bytes())
	}
	if !r.bad {
		*r.names = columnNames{encoded: from[:len(from)-len(r.rest)], names: names}
	}
	return names
}

func (r *detailReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads a number of things of at least a byte each, so that damage cannot ask for memory without end.
func (r *detailReader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(n)
}

func (r *detailReader) bytes() []byte {
	n := r.count()
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}

func (r *detailReader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

func (r *detailReader) time() time.Time {
	if r.byte() == 0 {
		return time.Time{}
	}
	seconds, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return time.Time{}
	}
	r.rest = r.rest[n:]
	return time.Unix(seconds, int64(r.uvarint())).UTC()
}

func (r *detailReader) value(ev *mapping.Event) []byte {
	switch r.byte() {
	case valueNull:
		return nil
	case valueHere:
		return r.bytes()
	case valuePayload:
		return ev.Payload
	case valuePayloadHex:
		return hexOf(ev.Payload)
	case valueHeaders:
		return ev.Headers
	case valueID:
		return notNull(r.id)
	case valueType:
		return notNull(r.typ)
	case valueKey:
		return notNull(r.key)
	default:
		r.bad = true
		return nil
	}
}

// notNull returns a value that is not NULL, as the text of a NULL key is none, and an empty value the same.
func notNull(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}
