package cdc

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// changeKind is what a decoded message means to the stream.
type changeKind uint8

const (
	changeNone   changeKind = iota // nothing to do: an update, a type, a message nobody asked for
	changeBegin                    // a transaction begins
	changeRow                      // an inserted row or a wanted logical message
	changeCommit                   // the transaction is complete
)

// change is one decoded message. The caller owns it and passes it in again, so that decoding allocates for rows only.
type change struct {
	kind   changeKind
	commit LSN  // of begin and commit: start of the commit record
	end    LSN  // of commit: where to confirm
	row    *Row // of row, without its Tx
}

// decoder reads pgoutput, protocol version 1: whole transactions in commit order, text values, no streaming of
// transactions in progress. It lives as long as one connection. A row costs three allocations: the row, its slice of
// values, and one copy of its data.
type decoder struct {
	prefixes []string               // of the logical messages wanted
	names    map[uint32]catalogName // of the tables of the configuration, by relation OID
	named    LSN                    // the names are not older than it
	tables   map[uint32]*Table      // by relation OID, as described on this connection
	earlier  map[uint32]*Table      // as described on earlier connections: the same description keeps its pointer

	inside  bool // between begin and commit
	commit  LSN
	time    time.Time
	ordinal uint32 // of the next change
}

func newDecoder(prefixes []string, earlier map[uint32]*Table) *decoder {
	return &decoder{prefixes: prefixes, tables: make(map[uint32]*Table), earlier: earlier}
}

// decode reads one message. What it leaves in into aliases nothing of data. After an error the decoder is of no more use.
func (d *decoder) decode(data []byte, into *change) error {
	*into = change{}
	if len(data) == 0 {
		return fmt.Errorf("decode empty message: %w", errShort)
	}
	c := cursor{rest: data[1:]}
	err := d.message(data[0], &c, into)
	if err == nil {
		err = c.err
	}
	if err != nil {
		*into = change{}
		return fmt.Errorf("decode %s: %w", messageName(data[0]), err)
	}
	return nil
}

func (d *decoder) message(kind byte, c *cursor, into *change) error {
	switch kind {
	case 'I':
		return d.insert(c, into)
	case 'B':
		return d.begin(c, into)
	case 'C':
		return d.end(c, into)
	case 'R':
		return d.relation(c)
	case 'M':
		return d.logicalMessage(c, into)
	case 'U', 'D', 'T', 'Y', 'O': // not ours: an outbox is inserts only, types and origins tell us nothing
		return nil
	default: // skipping what is not understood could skip a row
		return errors.New("unknown kind of message")
	}
}

var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (d *decoder) begin(c *cursor, into *change) error {
	commit, at := LSN(c.uint64()), int64(c.uint64())
	c.uint32() // xid
	if err := c.end(); err != nil {
		return err
	}
	if d.inside {
		return errors.New("transaction begins inside another")
	}
	d.inside, d.commit, d.time, d.ordinal = true, commit, time.UnixMicro(at+pgEpoch).UTC(), 0
	into.kind, into.commit = changeBegin, commit
	return nil
}

func (d *decoder) end(c *cursor, into *change) error {
	c.uint8() // flags, unused
	commit, end := LSN(c.uint64()), LSN(c.uint64())
	c.uint64() // time, as in begin
	if err := c.end(); err != nil {
		return err
	}
	if !d.inside {
		return errors.New("commit outside a transaction")
	}
	if commit != d.commit || end < commit {
		return fmt.Errorf("commit at %s ending %s closes the transaction that commits at %s", commit, end, d.commit)
	}
	d.inside = false
	into.kind, into.commit, into.end = changeCommit, commit, end
	return nil
}

func (d *decoder) relation(c *cursor) error {
	oid := c.uint32()
	t := &Table{Schema: string(c.text()), Name: string(c.text())}
	c.uint8() // replica identity
	n := int(c.uint16())
	if t.Schema == "" {
		t.Schema = "pg_catalog" // how the protocol abbreviates it
	}
	for range n {
		if c.err != nil {
			break
		}
		c.uint8() // key flag
		name := string(c.text())
		t.Columns = append(t.Columns, Column{Name: name, Type: c.uint32()})
		c.uint32() // type modifier
	}
	if err := c.end(); err != nil {
		return err
	}
	if name, ok := d.names[oid]; ok { // it was called otherwise when the row was written, or is since
		t.Schema, t.Name = name.schema, name.table
		if d.commit < d.named { // a column renamed since then is for the configuration to follow
			name.noteNames(t)
		}
	}
	if old := d.earlier[oid]; old != nil && old.equal(t) {
		t = old
	}
	d.tables[oid] = t
	if d.earlier != nil {
		d.earlier[oid] = t
	}
	return nil
}

func (t *Table) equal(u *Table) bool {
	return t.Schema == u.Schema && t.Name == u.Name && slices.Equal(t.Columns, u.Columns)
}

func (d *decoder) insert(c *cursor, into *change) error {
	oid, tuple, n := c.uint32(), c.uint8(), int(c.uint16())
	if c.err != nil {
		return c.err
	}
	table := d.tables[oid]
	switch {
	case table == nil:
		return fmt.Errorf("row of relation %d, which was not described", oid)
	case tuple != 'N':
		return fmt.Errorf("tuple of kind %q where a new one is due", tuple)
	case n != len(table.Columns):
		return fmt.Errorf("row of %s has %d columns, not %d", table, n, len(table.Columns))
	}
	place, err := d.place()
	if err != nil {
		return err
	}
	values, err := tupleValues(c, table)
	if err != nil {
		return err
	}
	into.kind = changeRow
	into.row = &Row{Place: place, CommitTime: d.time, Table: table, Values: values}
	return nil
}

// tupleValues copies what is left of the message at once, and cuts the values out of the copy.
func tupleValues(c *cursor, table *Table) ([][]byte, error) {
	data := make([]byte, len(c.rest))
	copy(data, c.rest)
	own := cursor{rest: data}
	values := make([][]byte, len(table.Columns))
	for i := range values {
		switch kind := own.uint8(); {
		case own.err != nil:
			return nil, own.err
		case kind == 'n':
		case kind == 't':
			size := own.uint32()
			if size > math.MaxInt32 {
				return nil, errShort
			}
			values[i] = own.bytes(int(size))
		case kind == 'u':
			return nil, fmt.Errorf("column %q of %s came without its value (unchanged TOAST), which an insert cannot have",
				table.Columns[i].Name, table)
		case kind == 'b':
			return nil, fmt.Errorf("column %q of %s came in binary, which was not asked for", table.Columns[i].Name, table)
		default:
			return nil, fmt.Errorf("column %q of %s is of unknown kind %q", table.Columns[i].Name, table, kind)
		}
	}
	return values, own.end()
}

// logicalMessage reads what pg_logical_emit_message wrote. A message that is not transactional comes before the begin
// of its transaction, and after a rollback too: it is no event, and does not count.
func (d *decoder) logicalMessage(c *cursor, into *change) error {
	flags := c.uint8()
	c.uint64() // its own LSN
	prefix, size := c.text(), c.uint32()
	if size > math.MaxInt32 {
		return errShort
	}
	content := c.bytes(int(size))
	if err := c.end(); err != nil {
		return err
	}
	if flags&1 == 0 {
		return nil
	}
	place, err := d.place()
	if err != nil {
		return err
	}
	i := slices.Index(d.prefixes, string(prefix))
	if i < 0 {
		return nil // counted all the same, so that places do not depend on the configuration
	}
	into.kind = changeRow
	into.row = &Row{
		Place: place, CommitTime: d.time, Prefix: d.prefixes[i],
		Content: append(make([]byte, 0, len(content)), content...), // content aliases the read buffer
	}
	return nil
}

// place returns the place of the change at hand and counts it.
func (d *decoder) place() (Place, error) {
	if !d.inside {
		return Place{}, errors.New("change outside a transaction")
	}
	if d.ordinal == math.MaxUint32 {
		return Place{}, errors.New("transaction has more changes than can be counted")
	}
	p := Place{Commit: d.commit, Ordinal: d.ordinal}
	d.ordinal++
	return p, nil
}

func (c *cursor) end() error {
	if c.err == nil && len(c.rest) > 0 {
		return fmt.Errorf("%d bytes too many", len(c.rest))
	}
	return c.err
}

func messageName(kind byte) string {
	switch kind {
	case 'B':
		return "begin"
	case 'C':
		return "commit"
	case 'R':
		return "relation"
	case 'I':
		return "insert"
	case 'M':
		return "logical message"
	}
	return fmt.Sprintf("message %q", kind)
}
