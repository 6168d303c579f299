package mapping

import (
	"time"

	"relay/cdc"
)

// PayloadKind says what the payload column holds, which decides the content type of the raw formats.
type PayloadKind uint8

// The kinds of payload.
const (
	PayloadJSON  PayloadKind = iota // json or jsonb: the column's text, byte for byte
	PayloadText                     // text, varchar, char
	PayloadBytes                    // bytea, decoded
)

// Event is an outbox row as the endpoints see it. It is immutable once routed and shared by all endpoints subscribed
// to it; what several of them render alike is rendered once and kept in it.
type Event struct {
	ID      string
	Type    string
	Key     string // ordering key; meaningful if Keyed
	Keyed   bool   // false: the key is NULL, and no order is asked for
	Time    time.Time
	Payload []byte
	Kind    PayloadKind
	Headers []byte // text of the headers column, a JSON object of strings; nil is NULL
	Table   string // "schema.table"; empty for a logical message

	Place      cdc.Place
	CommitTime time.Time

	Columns []string // names of the row's columns, shared between the events of a table
	Values  [][]byte // their text forms, nil is NULL; what expressions see as row

	Problem string // why no endpoint can be sent this event (id NULL, id with a dot, …); empty if nothing is wrong

	shared sharedRender
}

// Position is how far an endpoint is settled, finer than an LSN.
type Position = cdc.Position

// Place is where an event stands in commit order.
type Place = cdc.Place

// InStream reports whether a stream can have the place: whether a commit record can begin there. An event that is replayed has no
// place, and rows that were there before a slot are placed where no record is: below the WAL's first segment, which begins
// no sooner than at a mebibyte, or a byte before a record, all of which are aligned (see park.BeginExisting).
func InStream(p Place) bool { return p.Commit >= 1<<20 && p.Commit%2 == 0 }

// MaxOpen is the most open places the Position of one of so many endpoints lists.
func MaxOpen(endpoints int) int {
	return min(max(cdc.MaxOpenTotal/max(1, endpoints), cdc.MinOpen), cdc.MaxOpen)
}
