package cdc

// Source is the database side of a relay: what Inspect checks, Setup makes and Teardown takes away.
type Source struct {
	URL         string // libpq URL or keywords
	Slot        string
	Publication string
	Schema      string // of the relay's own tables
	Tables      []SourceTable
	Messages    []string // prefixes of logical messages

	// Existing, for Setup, hands over the rows that are there when it makes the slot. nil: they are not sent.
	Existing *Existing
}

// SourceTable is an outbox table and what its columns are called.
type SourceTable struct {
	Name string // "schema.table"

	// Columns maps the parts of an event (id, type, key, payload, headers, time) to columns; what is left out has the
	// default name.
	Columns map[string]string

	// Named are the parts whose columns were named by the user, and so must exist.
	Named map[string]bool

	// Delete says that the relay deletes delivered rows, for which its role needs a grant.
	Delete bool
}

// part is a piece of an event that comes from a column.
type part struct {
	name, column string   // column is the default one
	optional     bool     // the table may do without, unless the column was named
	types        []string // as format_type says, without modifiers; none: any
}

var parts = []part{
	{name: "id", column: "id"},
	{name: "type", column: "type"},
	{name: "key", column: "key", optional: true},
	{name: "payload", column: "payload", types: []string{"json", "jsonb", "text", "bytea", "character varying", "character"}},
	{name: "headers", column: "headers", optional: true, types: []string{"json", "jsonb"}},
	{name: "time", column: "created_at", optional: true, types: []string{"timestamp with time zone", "timestamp without time zone"}},
}

// column returns the name of the column that holds the part.
func (t *SourceTable) column(p part) string {
	if c := t.Columns[p.name]; c != "" {
		return c
	}
	return p.column
}

// standard reports whether every column has its default name.
func (t *SourceTable) standard() bool {
	for _, p := range parts {
		if t.column(p) != p.column {
			return false
		}
	}
	return true
}

func (s *Source) tableNames() []string {
	names := make([]string, len(s.Tables))
	for i := range s.Tables {
		names[i] = s.Tables[i].Name
	}
	return names
}

// Levels of a Finding.
const (
	LevelOK      = "ok"
	LevelWarning = "warning"
	LevelError   = "error"
)

// Finding is one thing that Inspect looked at.
type Finding struct {
	Level   string `json:"level"`            // LevelOK, LevelWarning or LevelError
	Subject string `json:"subject"`          // "slot relay"
	Problem string `json:"problem"`          // what is wrong, or what was found in order
	Remedy  string `json:"remedy,omitempty"` // the statement or setting that mends it
}
