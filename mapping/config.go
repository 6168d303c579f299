package mapping

import (
	"crypto/sha256"
	"log/slog"
	"time"
)

// Config is a relay.yaml that was read, expanded, checked and completed with defaults. It is immutable.
type Config struct {
	Source          Source
	Endpoints       []*Endpoint // in the order of the file
	Admin           Admin
	Log             Log
	ShutdownTimeout time.Duration

	File  string   // where it was read from, for messages
	Files []string // what was read besides: ${file:…} values and certificates, sorted; watch them for changes

	Sums map[string][sha256.Size]byte // of the contents of all these files as they were read, by name
}

// Endpoint returns the endpoint of that name, or nil.
func (c *Config) Endpoint(name string) *Endpoint {
	for _, ep := range c.Endpoints {
		if ep.Name == name {
			return ep
		}
	}
	return nil
}

// Source says which database is read, and what of it.
type Source struct {
	URL         string // libpq URL or keywords; empty: the PG* variables alone
	Slot        string
	Publication string
	Schema      string // of the relay's own tables
	Tables      []Table
	Messages    []string // prefixes of logical messages that are events
	Existing    string   // ExistingSkip, ExistingSend, or an SQL condition
	OnSlotLost  string   // SlotLostStop or SlotLostRecreate
	Window      Window
	Hold        time.Duration
}

// What source.existing may say besides an SQL condition.
const (
	ExistingSkip = "skip"
	ExistingSend = "send"
)

// What source.on_slot_lost may say.
const (
	SlotLostStop     = "stop"
	SlotLostRecreate = "recreate"
)

// Table is an outbox table.
type Table struct {
	Schema, Name string
	Columns      Columns
	Retention    time.Duration // 0: rows are left alone
}

// String returns the schema-qualified name, unquoted.
func (t Table) String() string { return t.Schema + "." + t.Name }

// Columns says which column of a table holds what. Every field has a name; key, headers and time may be missing from the
// table unless the file names them.
type Columns struct {
	ID, Type, Key, Payload, Headers, Time string

	Named map[string]bool // the keys (id, type, key, payload, headers, time) given in the file
}

// Map returns the column of each key: id, type, key, payload, headers and time.
func (c Columns) Map() map[string]string {
	return map[string]string{
		"id": c.ID, "type": c.Type, "key": c.Key, "payload": c.Payload, "headers": c.Headers, "time": c.Time,
	}
}

// Window is the most that may be undelivered in memory.
type Window struct {
	Events int
	Bytes  int64
}

// Admin is where the admin HTTP interface listens.
type Admin struct {
	Listen string // host:port; empty: nowhere
	Token  string
}

// Log says how the relay logs.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}
