package cdc

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wire builds a message of pgoutput.
type wire []byte

func (w wire) u8(v ...uint8) wire   { return append(w, v...) }
func (w wire) u16(v uint16) wire    { return binary.BigEndian.AppendUint16(w, v) }
func (w wire) u32(v uint32) wire    { return binary.BigEndian.AppendUint32(w, v) }
func (w wire) u64(v uint64) wire    { return binary.BigEndian.AppendUint64(w, v) }
func (w wire) text(s string) wire   { return append(append(w, s...), 0) }
func (w wire) value(s string) wire  { return append(w.u8('t').u32(uint32(len(s))), s...) }
func (w wire) column(n string) wire { return w.u8(0).text(n).u32(25).u32(math.MaxUint32) }

func begin(commit uint64) wire {
	return wire{'B'}.u64(commit).u64(uint64(time.Hour.Microseconds())).u32(7)
}

func commit(commit, end uint64) wire { return wire{'C'}.u8(0).u64(commit).u64(end).u64(0) }

func relation(oid uint32, columns ...string) wire {
	w := wire{'R'}.u32(oid).text("public").text("outbox").u8('d').u16(uint16(len(columns)))
	for _, c := range columns {
		w = w.column(c)
	}
	return w
}

func insert(oid uint32, values ...string) wire {
	w := wire{'I'}.u32(oid).u8('N').u16(uint16(len(values)))
	for _, v := range values {
		w = w.value(v)
	}
	return w
}

func message(flags uint8, prefix, content string) wire {
	return append(wire{'M'}.u8(flags).u64(5).text(prefix).u32(uint32(len(content))), content...)
}

// decodeAll decodes the messages in turn and returns the rows.
func decodeAll(t *testing.T, d *decoder, messages ...wire) []*Row {
	t.Helper()
	var rows []*Row
	for _, m := range messages {
		var c change
		require.NoError(t, d.decode(m, &c))
		if c.kind == changeRow {
			rows = append(rows, c.row)
		}
	}
	return rows
}

func TestDecoder_CountsInsertsAndTransactionalMessages(t *testing.T) {
	t.Parallel()
	d := newDecoder([]string{"relay"}, nil)
	rows := decodeAll(t, d,
		begin(100), relation(1, "id", "type"), insert(1, "a", "x"),
		wire{'U', 1, 2}, wire{'D'}, wire{'T'}, wire{'Y', 0}, wire{'O'}, // no places
		message(1, "other", "counts"), message(0, "relay", "does not"),
		message(1, "relay", "{}"), insert(1, "b", "y"), commit(100, 120),
		begin(200), insert(1, "c", "z"), commit(200, 220))
	require.Len(t, rows, 4)
	require.Equal(t, Place{100, 0}, rows[0].Place)
	require.Equal(t, Place{100, 2}, rows[1].Place, "the other prefix takes a place")
	require.Equal(t, "relay", rows[1].Prefix)
	require.Equal(t, "{}", string(rows[1].Content))
	require.Nil(t, rows[1].Table)
	require.Equal(t, Place{100, 3}, rows[2].Place)
	require.Equal(t, Place{200, 0}, rows[3].Place)
	require.Equal(t, time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC), rows[0].CommitTime)
	require.Equal(t, "public.outbox", rows[0].Table.String())
	require.Equal(t, Column{Name: "type", Type: 25}, rows[0].Table.Columns[1])
}

func TestDecoder_TellsNullFromEmpty(t *testing.T) {
	t.Parallel()
	d := newDecoder(nil, nil)
	m := wire{'I'}.u32(1).u8('N').u16(3).value("").u8('n').value("v")
	rows := decodeAll(t, d, begin(1), relation(1, "a", "b", "c"), m)
	require.NotNil(t, rows[0].Values[0])
	require.Empty(t, rows[0].Values[0])
	require.Nil(t, rows[0].Values[1])
	require.Equal(t, "v", string(rows[0].Values[2]))
}

func TestDecoder_KeepsNothingOfTheReadBuffer(t *testing.T) {
	t.Parallel()
	d := newDecoder([]string{"relay"}, nil)
	decodeAll(t, d, begin(1), relation(1, "a"))
	for _, m := range []wire{insert(1, "value"), message(1, "relay", "value")} {
		row := decodeAll(t, d, m)[0]
		for i := range m {
			m[i] = 'X'
		}
		require.Equal(t, "value", string(bytes.Join(append(row.Values, row.Content), nil)))
	}
}

func TestDecoder_GivesANewTableOnlyWhenItChanged(t *testing.T) {
	t.Parallel()
	earlier := make(map[uint32]*Table)
	first := decodeAll(t, newDecoder(nil, earlier), begin(1), relation(1, "a"), insert(1, "v"))[0].Table
	d := newDecoder(nil, earlier)
	rows := decodeAll(t, d, begin(1), relation(1, "a"), insert(1, "v"), relation(1, "a", "b"), insert(1, "v", "w"))
	require.Same(t, first, rows[0].Table)
	require.NotSame(t, first, rows[1].Table)
	require.Equal(t, 1, rows[1].Table.Column("b"))
	require.Equal(t, -1, rows[0].Table.Column("b"))
}

func TestDecoder_RefusesWhatItCannotMean(t *testing.T) {
	t.Parallel()
	open := []wire{begin(1), relation(1, "a", "b")}
	cases := map[string]struct {
		before []wire
		bad    wire
		says   string
	}{
		"empty message":        {nil, wire{}, "shorter"},
		"unknown kind":         {nil, wire{'Z'}, "unknown kind"},
		"begin in begin":       {open, begin(2), "inside another"},
		"commit alone":         {nil, commit(1, 2), "outside"},
		"commit of another":    {open, commit(2, 3), "closes the transaction"},
		"commit ending early":  {open, commit(1, 0), "closes the transaction"},
		"insert alone":         {[]wire{relation(1, "a")}, insert(1, "v"), "outside"},
		"message alone":        {nil, message(1, "relay", "x"), "outside"},
		"unknown relation":     {open, insert(9, "v", "w"), "not described"},
		"old tuple":            {open, wire{'I'}.u32(1).u8('O').u16(2), "kind 'O'"},
		"too few columns":      {open, insert(1, "v"), "1 columns, not 2"},
		"unchanged toast":      {open, wire{'I'}.u32(1).u8('N').u16(2).value("v").u8('u'), `column "b" of public.outbox came without`},
		"binary value":         {open, wire{'I'}.u32(1).u8('N').u16(2).u8('b').u32(1).u8(1).u8('n'), `column "a" of public.outbox came in binary`},
		"unknown value":        {open, wire{'I'}.u32(1).u8('N').u16(2).u8('?'), "unknown kind"},
		"value past the end":   {open, wire{'I'}.u32(1).u8('N').u16(2).u8('t').u32(99).u8('x'), "shorter"},
		"negative value":       {open, wire{'I'}.u32(1).u8('N').u16(2).u8('t').u32(math.MaxUint32), "shorter"},
		"trailing bytes":       {open, insert(1, "v", "w").u8(0), "1 bytes too many"},
		"endless name":         {nil, wire{'R'}.u32(1).u8('x'), "shorter"},
		"columns missing":      {nil, wire{'R'}.u32(1).text("s").text("t").u8('d').u16(math.MaxUint16), "shorter"},
		"short begin":          {nil, begin(1)[:12], "decode begin"},
		"message past the end": {open, message(1, "relay", "content")[:20], "shorter"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDecoder([]string{"relay"}, nil)
			decodeAll(t, d, c.before...)
			err := d.decode(c.bad, new(change))
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "decode ")
		})
	}
}

func TestDecoder_AllocatesThreeTimesARow(t *testing.T) { //nolint:paralleltest // counts allocations
	d := newDecoder(nil, nil)
	decodeAll(t, d, begin(1), relation(1, "a", "b", "c"))
	m, c := insert(1, "one", "two", "three"), new(change)
	n := testing.AllocsPerRun(1000, func() {
		if err := d.decode(m, c); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, n, 3.0)
}

// FuzzDecoder takes a run of messages, each behind its length, in a transaction with a known relation.
func FuzzDecoder(f *testing.F) {
	for _, m := range []wire{
		begin(1), commit(1, 2), relation(1, "a"), insert(1, "v", "w"), message(1, "relay", "{}"), message(0, "x", ""),
		{'U'},
		{'T', 0},
		wire{'I'}.u32(1).u8('N').u16(2).u8('n').u8('u'), wire{'I'}.u32(1).u8('N').u16(2).u8('t').u32(math.MaxUint32),
	} {
		f.Add([]byte(append(wire{}.u16(uint16(len(m))), m...)))
		f.Add([]byte(append(append(wire{}.u16(uint16(len(m))), m...), append(wire{}.u16(21), commit(1, 2)[:21]...)...)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDecoder([]string{"relay"}, make(map[uint32]*Table))
		decodeAll(t, d, begin(1), relation(1, "a", "b"))
		var last Place
		seen := false
		for len(data) >= 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			var c change
			err := d.decode(data[2:2+n], &c)
			data = data[2+n:]
			switch {
			case err != nil:
				require.Zero(t, c, "an error comes alone")
				return
			case c.kind != changeRow:
			case c.row.Table != nil:
				require.Len(t, c.row.Values, len(c.row.Table.Columns))
				fallthrough
			default:
				if seen && c.row.Place.Commit == last.Commit {
					require.LessOrEqual(t, last.Ordinal, c.row.Place.Ordinal)
				}
				last, seen = c.row.Place, true
			}
		}
	})
}
