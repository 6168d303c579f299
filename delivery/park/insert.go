package park

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

const copySQL = `
COPY {{schema}}.delivery (id, turn, nth, endpoint, queue, state, blocked, attempts, due, status, error, since,
  lsn, ordinal, event_id, type, key, table_name, kind, readable, payload, headers, commit_time, detail) FROM STDIN (FORMAT binary)`

const copyColumns = 24

// A call of few rows comes from a lane that has time: it is done in pieces, each shorter than the slice of a core that a
// server process gets. On a machine that is busy, who waits for the core waits for a piece, not for all of them; a healthy
// endpoint's events do at every step from commit to receipt. A statement costs what some ten rows do: where more comes in than
// a lane gathers, it is the pace that counts.
const (
	few   = 600
	piece = 16
)

// pieces cuts what one call does.
func pieces[T any](all []T) iter.Seq[[]T] {
	if len(all) > few {
		return slices.Chunk(all, len(all))
	}
	return slices.Chunk(all, piece)
}

func (s *Store) insert(ctx context.Context, tx pgx.Tx, rows []newRow) error {
	for part := range pieces(rows) {
		if _, err := tx.Conn().PgConn().CopyFrom(ctx, &copyReader{rows: part}, s.sql(copySQL)); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
	}
	return nil
}

// copyReader is the rows in the binary format of COPY (PostgreSQL documentation, COPY, "Binary Format"), made as they are sent.
type copyReader struct {
	rows  []newRow
	next  int // row to be made; len(rows)+1 after the trailer
	began bool
	buf   []byte // made and not yet read from at on
	at    int
}

const (
	copyHeader  = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" // signature, flags, length of an extension
	copyTrailer = "\xff\xff"
)

// Read is io.Reader's.
func (c *copyReader) Read(into []byte) (int, error) {
	n := 0
	for n < len(into) {
		if c.at == len(c.buf) && !c.fill() {
			if n == 0 {
				return 0, io.EOF
			}
			break
		}
		moved := copy(into[n:], c.buf[c.at:])
		c.at += moved
		n += moved
	}
	return n, nil
}

// fill makes the next part, and reports whether there is one.
func (c *copyReader) fill() bool {
	c.buf, c.at = c.buf[:0], 0
	if !c.began {
		c.buf, c.began = append(c.buf, copyHeader...), true
	}
	switch {
	case c.next < len(c.rows):
		c.buf = appendRow(c.buf, &c.rows[c.next])
	case c.next == len(c.rows):
		c.buf = append(c.buf, copyTrailer...)
	default:
		return false
	}
	c.next++
	return true
}

// appendRow appends the columns in the order of copySQL.
func appendRow(b []byte, r *newRow) []byte {
	ev := r.Event
	b = binary.BigEndian.AppendUint16(b, copyColumns)
	b = appendInt8(b, r.id)
	b = appendInt8(b, r.id)
	b = appendInt8(b, r.nth)
	b = appendField(b, r.Endpoint)
	if r.queue != nil {
		b = appendField(b, *r.queue)
	} else {
		b = appendNull(b)
	}
	b = appendField(b, string(cmp.Or(r.State, delivery.Waiting)))
	b = appendBool(b, r.blocked)
	b = appendInt4(b, int32(r.Attempts))
	b = appendStamp(b, r.Due)
	if r.Status != 0 {
		b = appendInt4(b, int32(r.Status))
	} else {
		b = appendNull(b)
	}
	if r.Err != "" {
		b = appendField(b, text(r.Err))
	} else {
		b = appendNull(b)
	}
	b = appendStamp(b, r.Since)
	b = appendInt8(b, int64(ev.Place.Commit)) // a pg_lsn is sent as the number it is
	b = appendInt8(b, int64(ev.Place.Ordinal))
	b = appendField(b, text(ev.ID))
	b = appendField(b, text(ev.Type))
	if ev.Keyed {
		b = appendField(b, text(ev.Key))
	} else {
		b = appendNull(b)
	}
	b = appendField(b, text(ev.Table))
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b, 2), uint16(ev.Kind))
	b = appendBool(b, ev.Kind != mapping.PayloadBytes && utf8.Valid(ev.Payload) && bytes.IndexByte(ev.Payload, 0) < 0)
	if ev.Payload != nil {
		b = appendField(b, ev.Payload)
	} else {
		b = appendNull(b)
	}
	if ev.Headers != nil {
		b = appendField(b, text(string(ev.Headers)))
	} else {
		b = appendNull(b)
	}
	b = appendStamp(b, ev.CommitTime)
	return appendField(b, encodeDetail(ev))
}

func appendField[T string | []byte](b []byte, v T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func appendNull(b []byte) []byte { return append(b, 0xff, 0xff, 0xff, 0xff) }

func appendInt4(b []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 4), uint32(v))
}

func appendInt8(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(v))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0, 0, 0, 1, 1)
	}
	return append(b, 0, 0, 0, 1, 0)
}

// epoch is Postgres': its timestamps are microseconds since then.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// appendStamp appends a timestamp, or NULL for the zero time.
func appendStamp(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return appendNull(b)
	}
	return appendInt8(b, t.UnixMicro()-epoch.UnixMicro())
}

func text(s string) string {
	s, _ = storable(s)
	return s
}
