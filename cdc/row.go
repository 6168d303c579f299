package cdc

import (
	"slices"
	"time"
)

// Row is one inserted row, or one transactional logical message, of a committed transaction. It owns its memory: nothing
// in it aliases the connection's read buffer, and the reader keeps no reference to it after handing it over.
type Row struct {
	Place      Place
	CommitTime time.Time // when the transaction committed, by the server's clock

	Table  *Table   // the table as it was when the row was written; nil for a logical message
	Values [][]byte // text form of each column in the order of Table.Columns; nil is NULL

	Prefix  string // of a logical message; empty for a row
	Content []byte // of a logical message

	Tx *Tx // the transaction in the watermark; settle it once for each Add
}

// Size is the memory the row's data takes, in bytes, for the window's account.
func (r *Row) Size() int {
	n := len(r.Content)
	for _, v := range r.Values {
		n += len(v)
	}
	return n
}

// Table is a published table as a Relation message described it. It is immutable: after ALTER TABLE the stream hands
// rows with a new *Table, so a pointer may be the key of a cache. It lives as long as its connection.
type Table struct {
	Schema, Name string
	Columns      []Column
}

// Column is one published column of a Table.
type Column struct {
	Name string
	Type uint32 // type OID (pg_type.oid); see the OID constants of pgx's pgtype

	// Now is what the column is called now, if it was renamed after the row was written, as far as that is known; else empty.
	Now string
}

// String returns the schema-qualified name, unquoted.
func (t *Table) String() string { return t.Schema + "." + t.Name }

// Column returns the index of the named column, or -1. A name of today serves if the column had another when the row was written.
func (t *Table) Column(name string) int {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		i = slices.IndexFunc(t.Columns, func(c Column) bool { return c.Now == name && name != "" })
	}
	return i
}
