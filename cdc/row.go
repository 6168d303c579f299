package cdc

import (
	"slices"
	"time"
)

// Row is one inserted row, or one transactional logical message, of a committed transaction. It owns its memory: nothing
// in it aliases the connection's read buffer, and the reader keeps no reference to it after handing it over. Of a row Table and
// Values are set, of a message Prefix and Content. Nobody changes it, and so it may be shared.
type Row struct {
	Place      Place     // zero of a row from Scan, which no WAL tells of
	CommitTime time.Time // when the transaction committed, by the server's clock, to the microsecond, in UTC; from Scan: when that began

	Table  *Table   // the table as it was when the row was written; nil for a logical message
	Values [][]byte // text form of each column in the order of Table.Columns, by the pinned settings of connect.go; nil is NULL, empty is not

	Prefix  string // of a logical message; empty for a row
	Content []byte // of a logical message

	Tx *Tx // the transaction in the watermark; settle it once for each Add; nil of a row from Scan
}

// Size is how many bytes the row's data has, for the window's account. What a row takes besides, some hundred bytes and a
// slice header for each column, is not counted.
func (r *Row) Size() int {
	n := len(r.Content)
	for _, v := range r.Values {
		n += len(v)
	}
	return n
}

// Table is a published table as a Relation message described it. It is immutable: after ALTER TABLE the stream hands
// rows with a new *Table, so a pointer may be the key of a cache. The same description has the same pointer for as long as a
// Stream lives, over all its connections.
type Table struct {
	Schema, Name string   // as the configuration has them, of a table of the configuration; else as they were when the row was written
	Columns      []Column // those that are sent, in the order of the table
}

// Column is one published column of a Table.
type Column struct {
	Name string
	Type uint32 // type OID (pg_type.oid); see the OID constants of pgx's pgtype

	// Now is what the column was called when the connection was made, if it was renamed after the row was written, as far as
	// places tell (see noteNames in tablename.go); else empty. A rename while the connection lasts is not followed.
	Now string
}

// String returns the schema-qualified name, unquoted.
func (t *Table) String() string { return t.Schema + "." + t.Name }

// Column returns the index of the named column in Columns and in Row.Values, or -1. A name of today serves if the column had
// another when the row was written; the name of that time goes before it.
func (t *Table) Column(name string) int {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		i = slices.IndexFunc(t.Columns, func(c Column) bool { return c.Now == name && name != "" })
	}
	return i
}
