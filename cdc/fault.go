package cdc

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
)

// FaultKind says what is wrong on the database's side.
type FaultKind string

// The kinds of fault, with FaultPromoted and FaultStandby.
const (
	FaultConnection       FaultKind = "connection"           // no server, or it lets us not in
	FaultVersion          FaultKind = "version"              // the server is too old
	FaultWALLevel         FaultKind = "wal_level"            // wal_level is not logical
	FaultPrivilege        FaultKind = "privilege"            // the role may not connect, replicate, or do what setup does
	FaultCapacity         FaultKind = "capacity"             // no free replication slot or WAL sender
	FaultSlotMissing      FaultKind = "slot_missing"         // the slot does not exist
	FaultSlotActive       FaultKind = "slot_active"          // another process streams from the slot
	FaultSlotPlugin       FaultKind = "slot_plugin"          // the slot is physical, or of another plugin
	FaultSlotDatabase     FaultKind = "slot_database"        // the slot belongs to another database
	FaultSlotInvalidated  FaultKind = "slot_invalidated"     // the server has dropped WAL that the slot needs
	FaultSlotBlocked      FaultKind = "slot_blocked"         // creating the slot waits for open transactions
	FaultSlotTaken        FaultKind = "slot_taken"           // somebody else made the slot while it was being made
	FaultPublication      FaultKind = "publication"          // the publication does not exist
	FaultPublicationLate  FaultKind = "publication_late"     // the publication is younger than the slot
	FaultPublicationTable FaultKind = "publication_table"    // the publication lacks a table, or does not publish its inserts
	FaultTable            FaultKind = "table"                // a table is missing or cannot be published
	FaultColumn           FaultKind = "column"               // a column is missing or of a wrong type
	FaultDiverged         FaultKind = "diverged"             // the server is not where it was left: another cluster, or behind
	FaultShutdown         FaultKind = "server_shutting_down" // the server is going down and waits for us
)

// Fault is a state of the database that keeps relay from streaming, with what mends it.
type Fault struct {
	Kind    FaultKind
	Problem string
	Remedy  string // a statement, a setting, or a command; may be empty
	Err     error  // what the server said, if it said something
}

// Error returns the problem, the server's words and the remedy in one line.
func (f *Fault) Error() string {
	text := f.Problem
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	if f.Remedy != "" {
		text += " (remedy: " + f.Remedy + ")"
	}
	return text
}

// Unwrap returns what the server said.
func (f *Fault) Unwrap() error { return f.Err }

// SlotLost reports whether err says that the slot is gone or can no longer be read, so that waiting does not help.
func SlotLost(err error) bool {
	var f *Fault
	return errors.As(err, &f) && (f.Kind == FaultSlotMissing || f.Kind == FaultSlotInvalidated)
}

// SlotMissing reports whether err says that there is no such slot.
func SlotMissing(err error) bool { return isFault(err, FaultSlotMissing) }

// isFault reports whether err is a fault of the kind.
func isFault(err error, kind FaultKind) bool {
	var f *Fault
	return errors.As(err, &f) && f.Kind == kind
}

// Error codes of Postgres that mean something to relay.
const (
	codeProtocol        = "08P01"
	codePrivilege       = "42501"
	codeNoHBA           = "28000"
	codePassword        = "28P01"
	codeNoDatabase      = "3D000"
	codeTooMany         = "53300"
	codeConfigLimit     = "53400"
	codeMissing         = "42704"
	codeState           = "55000"
	codeInUse           = "55006"
	codeAdminShutdown   = "57P01"
	codeCannotConnect   = "57P03"
	codeDuplicateObject = "42710"
)

func pgCode(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// connectFault turns what pgconn.Connect says into a fault.
func connectFault(cfg *pgconn.Config, err error) error {
	server := net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))
	role := quoteIdent(cfg.User)
	switch code := pgCode(err); code {
	case codePrivilege:
		return privilegeFault(cfg, err)
	case codeTooMany:
		return &Fault{FaultCapacity, "the server has no connection or WAL sender to spare", "raise max_wal_senders or max_connections", err}
	case codeNoDatabase:
		return &Fault{FaultConnection, "database " + quoteIdent(cfg.Database) + " does not exist", "name an existing database in source.url", err}
	case codePassword:
		return &Fault{FaultConnection, "the server refuses the password of role " + role, "correct the password in source.url", err}
	case codeNoHBA:
		return &Fault{FaultConnection, "the server refuses role " + role, "check that the role may log in, and add a line for it to pg_hba.conf", err}
	case codeMissing:
		if !namesOurSetting(err) {
			return &Fault{
				FaultConnection, "source.url has a parameter that neither relay nor the server knows",
				"take it out of source.url, or of PGOPTIONS", err,
			}
		}
		return &Fault{FaultVersion, "the server does not know a setting of PostgreSQL 14", "use PostgreSQL 14 or later, without a pooler between", err}
	case codeProtocol:
		return &Fault{FaultConnection, "what answers at " + server + " is not a Postgres server; a pooler cannot carry replication", "point source.url at the server itself", err}
	case codeCannotConnect, codeAdminShutdown:
		return &Fault{FaultConnection, "server " + server + " is starting up or shutting down", "", err}
	}
	return &Fault{FaultConnection, "no connection to " + server, "check source.url, and that the server runs and can be reached", err}
}

// privilegeFault tells apart what a role may lack to connect. The server's routine does, in every language.
func privilegeFault(cfg *pgconn.Config, err error) error {
	role, routine := quoteIdent(cfg.User), ""
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		routine = pg.Routine
	}
	switch {
	case strings.HasPrefix(routine, "set_config"):
		return &Fault{FaultPrivilege, "role " + role + " may not set a parameter that source.url sets", "take it out of source.url, or of PGOPTIONS", err}
	case routine == "CheckMyDatabase" || cfg.RuntimeParams["replication"] == "":
		database := quoteIdent(cmp.Or(cfg.Database, cfg.User)) // the server takes the role's name for a database, too
		return &Fault{FaultPrivilege, "role " + role + " may not connect to database " + database, "GRANT CONNECT ON DATABASE " + database + " TO " + role, err}
	}
	return &Fault{
		FaultPrivilege, "role " + role + " may not open a replication connection",
		"ALTER ROLE " + role + " REPLICATION; on RDS: GRANT rds_replication TO " + role, err,
	}
}

// namesOurSetting reports whether the server's message names a setting that relay asks for, and not one that only the URL
// does. Servers speak other languages and quote otherwise, so it goes by the words.
func namesOurSetting(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	words := strings.FieldsFunc(pg.Message, func(r rune) bool { return r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.ContainsFunc(words, func(word string) bool {
		_, fixed := pinned[word]
		_, preset := relaxed[word]
		return fixed || preset
	})
}

// startFault turns an error of START_REPLICATION, or of the stream itself, into a fault where it is one.
func startFault(cfg *StreamConfig, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case codeInUse:
		return &Fault{FaultSlotActive, "slot " + cfg.Slot + " is in use", "stop the other relay, or wait: this one takes over when it goes away", err}
	case codePrivilege:
		return &Fault{FaultPrivilege, "the role may not read slot " + cfg.Slot, "ALTER ROLE … REPLICATION", err}
	case codeMissing:
		if pg.Routine == "get_publication_oid" || strings.Contains(pg.Message, quoteIdent(cfg.Publication)) {
			return publicationLate(cfg, err)
		}
	}
	// A slot that is lost shows in the catalog at the next attempt, in words that are the same in all versions.
	return err
}

func publicationLate(cfg *StreamConfig, err error) error {
	return &Fault{
		FaultPublicationLate,
		fmt.Sprintf("publication %s does not exist at this point in the WAL: it was created, or remade, after slot %s", cfg.Publication, cfg.Slot),
		fmt.Sprintf("SELECT pg_drop_replication_slot(%s); then relay setup, which makes a new slot; rows before it are not sent", quoteLiteral(cfg.Slot)),
		err,
	}
}

func slotMissing(slot string, err error) error {
	return &Fault{FaultSlotMissing, "replication slot " + slot + " does not exist", "relay setup, or: SELECT pg_create_logical_replication_slot(" +
		quoteLiteral(slot) + ", 'pgoutput')", err}
}

// slotInvalidated names the cause where the server tells one, which it does from version 17 on.
func slotInvalidated(slot, cause string, err error) error {
	why, again := "WAL that it needs was removed (max_slot_wal_keep_size)", "raise max_slot_wal_keep_size"
	switch cause {
	case "", "wal_removed":
	case "idle_timeout":
		why, again = "nobody streamed from it for longer than idle_replication_slot_timeout", "raise idle_replication_slot_timeout, or set it to 0"
	case "rows_removed":
		why, again = "rows of the catalog that it needs were removed", "set hot_standby_feedback = on at the standby"
	case "wal_level_insufficient":
		why, again = "wal_level of the primary was not logical for a time", "leave wal_level at logical"
	default:
		why, again = cause, "see invalidation_reason in the chapter on pg_replication_slots"
	}
	return &Fault{
		FaultSlotInvalidated, "replication slot " + slot + " can no longer be read: " + why,
		"SELECT pg_drop_replication_slot(" + quoteLiteral(slot) + "); then relay setup, and relay replay for what was written meanwhile; to keep it from happening again " + again,
		err,
	}
}
