package park

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

// binaryRows asks for the form that a rowReader reads.
var binaryRows = pgx.QueryResultFormats{pgx.BinaryFormatCode}

var errRow = errors.New("a row is not of the form that was asked for")

// rowReader makes rows of what the server sends for columns, in the binary form of each type. Everything that was parked goes
// through it on its way out: scanned value by value, a row took 27 allocations.
type rowReader struct {
	values [][]byte // of the row; they are a connection's buffer, which the next row has
	next   int
	bad    bool
	names  columnNames
}

// read makes a row of values. What was selected behind columns it leaves alone.
func (c *rowReader) read(values [][]byte) (row, error) {
	c.values, c.next, c.bad = values, 0, false
	ev := &mapping.Event{}
	r := row{Parked: delivery.Parked{ID: c.int8(), Event: ev}, turn: c.int8()}
	endpoint, queue, state := c.take(), c.take(), c.take()
	r.Attempts, r.Due, r.Status = int(c.int4()), c.stamp(), int(c.int4())
	errText := c.take()
	r.Since = c.stamp()
	*(*uint64)(&ev.Place.Commit), ev.Place.Ordinal = uint64(c.int8()), uint32(c.int8())
	id, typ, key, table := c.take(), c.take(), c.take(), c.take()
	ev.Kind = mapping.PayloadKind(c.int2())
	payload, headers, detail := c.take(), c.take(), c.take()
	if c.bad {
		return row{}, errRow
	}
	r.State, ev.Keyed = stateOf(state), key != nil
	texts := joined(endpoint, errText, id, typ, key, table)
	r.Endpoint, r.Err = texts.cut(endpoint), texts.cut(errText)
	ev.ID, ev.Type, ev.Key, ev.Table = texts.cut(id), texts.cut(typ), texts.cut(key), texts.cut(table)
	keep(&payload, &headers, &detail, &id, &typ, &key)
	ev.Payload, ev.Headers = payload, headers
	r.Size = int64(len(payload) + len(detail))
	d := detailReader{rest: detail, id: id, typ: typ, key: key, names: &c.names}
	if err := d.complete(ev); err != nil {
		// Nothing may be lost or stop the others: it becomes a dead letter that says why.
		ev.Problem = err.Error()
	}
	if queue != nil {
		r.Lane, r.Ordered = laneOf(queue, ev), true
	}
	return r, nil
}

// take returns the next value; nil is NULL.
func (c *rowReader) take() []byte {
	if c.next == len(c.values) {
		c.bad = true
		return nil
	}
	v := c.values[c.next]
	c.next++
	return v
}

// sized returns the next value, which has n bytes, or zeros for NULL.
func (c *rowReader) sized(n int) (v []byte, null bool) {
	v = c.take()
	if len(v) == n {
		return v, false
	}
	c.bad = c.bad || v != nil
	return zeros[:n], true
}

var zeros [8]byte

func (c *rowReader) int2() int16 { v, _ := c.sized(2); return int16(binary.BigEndian.Uint16(v)) }

func (c *rowReader) int4() int32 { v, _ := c.sized(4); return int32(binary.BigEndian.Uint32(v)) }

func (c *rowReader) int8() int64 { v, _ := c.sized(8); return int64(binary.BigEndian.Uint64(v)) }

// stamp returns a timestamp, the zero time for NULL.
func (c *rowReader) stamp() time.Time {
	v, null := c.sized(8)
	if null {
		return time.Time{}
	}
	return time.UnixMicro(epoch.UnixMicro() + int64(binary.BigEndian.Uint64(v))).UTC()
}

func stateOf(v []byte) delivery.State {
	if string(v) == string(delivery.Dead) {
		return delivery.Dead
	}
	return delivery.Waiting
}

// keep has the values outlive the buffer they are in, with one allocation for all. NULL stays NULL.
func keep(values ...*[]byte) {
	n := 0
	for _, v := range values {
		n += len(*v)
	}
	all := make([]byte, 0, n)
	for _, v := range values {
		if *v != nil {
			from := len(all)
			all = append(all, *v...)
			*v = all[from:len(all):len(all)]
		}
	}
}

// texts is what several values say, one after the other.
type texts string

func joined(values ...[]byte) texts {
	n := 0
	for _, v := range values {
		n += len(v)
	}
	var b strings.Builder
	b.Grow(n)
	for _, v := range values {
		b.Write(v)
	}
	return texts(b.String())
}

// cut takes off the text of the first value.
func (t *texts) cut(v []byte) string {
	s := (*t)[:len(v)]
	*t = (*t)[len(v):]
	return string(s)
}
