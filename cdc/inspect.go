package cdc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Inspect looks at everything on the database's side that streaming needs, and says what mends it. It changes nothing.
func Inspect(ctx context.Context, src Source) []Finding {
	var in inspection
	conn, err := connect(ctx, src.URL, false)
	if err != nil {
		in.fault("connection", err)
		return in.findings
	}
	defer closeConn(conn)
	in.conn = conn
	in.ok("connection", "the server answers")
	if err := in.database(ctx, &src); err != nil {
		in.fault("database", err)
	}
	return in.findings
}

// inspection gathers findings over one connection.
type inspection struct {
	conn     *pgconn.PgConn
	server   *server
	findings []Finding
}

func (in *inspection) add(level, subject, problem, remedy string) {
	in.findings = append(in.findings, Finding{level, subject, problem, remedy})
}

func (in *inspection) ok(subject, found string) { in.add(LevelOK, subject, found, "") }
func (in *inspection) warn(subject, problem, remedy string) {
	in.add(LevelWarning, subject, problem, remedy)
}

func (in *inspection) reject(subject, problem, remedy string) {
	in.add(LevelError, subject, problem, remedy)
}

// fault reports err as an error, with its remedy if it has one.
func (in *inspection) fault(subject string, err error) {
	var f *Fault
	if !errors.As(err, &f) {
		in.reject(subject, err.Error(), "")
		return
	}
	problem := f.Problem
	if f.Err != nil {
		problem += ": " + f.Err.Error()
	}
	in.reject(subject, problem, f.Remedy)
}

func (in *inspection) database(ctx context.Context, src *Source) error {
	err := onStandby(ctx, in.conn)
	if err != nil {
		return err
	}
	if in.server, err = readServer(ctx, in.conn); err != nil {
		return err
	}
	slot, err := readSlot(ctx, in.conn, src.Slot)
	if err != nil {
		return err
	}
	in.settings()
	in.role()
	in.capacity(slot != nil)
	pub, err := readPublication(ctx, in.conn, src.Publication)
	if err != nil {
		return err
	}
	tables, err := in.tables(ctx, src, pub)
	if err != nil {
		return err
	}
	if err := in.publication(ctx, src, pub, tables); err != nil {
		return err
	}
	in.slot(src.Slot, slot)
	if slot != nil {
		if err := in.failover(ctx, src.URL, src.Slot); err != nil {
			return err
		}
	}
	if err := in.wal(ctx, src.Slot); err != nil {
		return err
	}
	return in.messages(ctx, src)
}

func (in *inspection) settings() {
	s := in.server
	if err := s.fault(); err != nil {
		in.fault("server", err)
		return
	}
	in.ok("server", fmt.Sprintf("PostgreSQL %d, wal_level is logical", s.version/10000))
}

func (in *inspection) role() {
	role := quoteIdent(in.server.role)
	if !in.server.replicate {
		in.reject("role "+in.server.role, "may not use replication slots", "ALTER ROLE "+role+" REPLICATION; on RDS: GRANT rds_replication TO "+role)
		return
	}
	in.ok("role "+in.server.role, "may replicate")
}

// capacity counts what the relay still needs: a slot unless there is one, and a WAL sender.
func (in *inspection) capacity(exists bool) {
	if !exists && in.server.slotsFree <= 0 {
		in.reject("max_replication_slots", "no replication slot is free", "drop an unused slot, or raise max_replication_slots (ALTER SYSTEM SET, and restart the server)")
	}
	if in.server.sendersFree <= 0 {
		in.warn("max_wal_senders", "no WAL sender is free", "raise max_wal_senders (ALTER SYSTEM SET, and restart the server)")
	}
}

// tables looks at each table and returns them by name, without those of which it has said that they cannot be published. Of one
// that does not exist, and was renamed perhaps, the publication is to speak: another in its place would hide it.
func (in *inspection) tables(ctx context.Context, src *Source, pub *publication) (map[string]*catalogTable, error) {
	tables := make(map[string]*catalogTable)
	for i := range src.Tables {
		t := &src.Tables[i]
		rel, err := readTable(ctx, in.conn, t.Name)
		if err != nil {
			return nil, err
		}
		subject := "table " + t.Name
		if rel == nil && pub.mayHaveOthers(src.tableNames()) {
			tables[t.Name] = nil
			continue
		}
		if f := rel.fault(t); f != nil {
			in.fault(subject, f)
			continue
		}
		tables[t.Name] = rel
		if err := rel.readSent(ctx, in.conn, src.Publication); err != nil {
			return nil, err
		}
		faults := rel.columnFaults(t, src.Publication)
		for _, f := range faults {
			in.fault(subject, f)
		}
		if len(faults) == 0 {
			in.ok(subject, "has the columns of an outbox")
		}
		if !rel.readable {
			in.warn(subject, "cannot be read by role "+in.server.role+"; streaming does without, replay and explain do not",
				"GRANT SELECT ON "+quoteTable(t.Name)+" TO "+quoteIdent(in.server.role))
		}
		if t.Delete && !rel.erasable {
			in.reject(subject, "has a retention, but role "+in.server.role+" may not delete its rows",
				"GRANT DELETE ON "+quoteTable(t.Name)+" TO "+quoteIdent(in.server.role))
		}
	}
	return tables, nil
}

func (in *inspection) publication(ctx context.Context, src *Source, pub *publication, tables map[string]*catalogTable) error {
	subject := "publication " + src.Publication
	if err := pub.own(src.Publication, src.tableNames()); err != nil {
		in.fault(subject, err)
		return nil
	}
	missing := false
	for _, table := range src.tableNames() {
		if pub.has(table) {
			continue
		}
		missing = true
		if rel, ok := tables[table]; ok {
			in.fault(subject, pub.lack(table, rel, src.tableNames()))
		}
	}
	if !missing {
		in.ok(subject, "publishes the inserts of every table")
	}
	if pub.update || pub.remove {
		in.warn(subject, "publishes more than inserts: without a primary key the application's UPDATE and DELETE fail, and their WAL is decoded for nothing",
			"ALTER PUBLICATION "+quoteIdent(pub.name)+" SET (publish = 'insert')")
	}
	if pub.all {
		in.warn(subject, "is for all tables, the relay's own among them", "use a publication of the outbox tables only")
	}
	return in.filters(ctx, pub)
}

// filters warns of what the publication holds back.
func (in *inspection) filters(ctx context.Context, pub *publication) error {
	filters, err := readFilters(ctx, in.conn, pub.name)
	if err != nil {
		return err
	}
	for _, table := range slices.Sorted(maps.Keys(filters)) {
		f := filters[table]
		if f.rows != "" {
			in.warn("publication "+pub.name, fmt.Sprintf("sends only rows of %s where %s", table, f.rows), "filter with where: in the configuration instead")
		}
		if f.columns != "" {
			in.warn("publication "+pub.name, fmt.Sprintf("sends only columns %s of %s", f.columns, table), "ALTER PUBLICATION "+quoteIdent(pub.name)+" SET TABLE with the tables alone")
		}
	}
	return nil
}

func (in *inspection) slot(name string, s *slot) {
	subject := "slot " + name
	if err := s.fault(name, in.server.database); err != nil {
		in.fault(subject, err)
		return
	}
	state := "exists; nobody streams from it"
	if s.activePID != "" {
		state = "is streamed from by PID " + s.activePID
	}
	if s.retained != "" {
		state += ", " + s.retained + " bytes behind"
	}
	in.ok(subject, state)
}

// wal says how near the slot is to being lost, and which settings decide when it is.
func (in *inspection) wal(ctx context.Context, name string) error {
	w, err := readSlotWAL(ctx, in.conn, name)
	if err != nil || w == nil || w.Risk() == RiskLost {
		return err // said already
	}
	subject := "slot " + name
	switch w.Risk() {
	case RiskUnreserved:
		in.warn(subject, "is about to lose WAL that it needs", "start relay, or raise max_slot_wal_keep_size")
	case RiskClose:
		in.warn(subject, fmt.Sprintf("is close to being lost: %d bytes kept, %d more and the server may drop it", w.Retained, max(0, w.Safe)),
			"start relay, or raise max_slot_wal_keep_size")
	case RiskExtended:
		in.warn(subject, fmt.Sprintf("keeps %d bytes, more than max_wal_size", w.Retained), "start relay; if it runs, see what holds the slot: relay status")
	}
	if !w.Limited {
		in.warn("max_slot_wal_keep_size", "is not set: a relay that is down for long keeps WAL until the disk is full, and then the database stops",
			"ALTER SYSTEM SET max_slot_wal_keep_size = '…', of what the disk has to spare; then SELECT pg_reload_conf()")
	}
	if w.IdleTimeout > 0 {
		in.warn("idle_replication_slot_timeout", fmt.Sprintf("is set: a relay that is down for longer than %s loses its slot", w.IdleTimeout),
			"ALTER SYSTEM SET idle_replication_slot_timeout = 0; then SELECT pg_reload_conf(); max_slot_wal_keep_size bounds the disk")
	}
	return nil
}

// messages warns that whoever may call the function may send events.
func (in *inspection) messages(ctx context.Context, src *Source) error {
	if len(src.Messages) == 0 {
		return nil
	}
	rows, err := query(ctx, in.conn, `SELECT p.oid::regprocedure::text FROM pg_proc p
  WHERE p.proname = 'pg_logical_emit_message' AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1`)
	if err != nil {
		return fmt.Errorf("look up who may emit messages: %w", err)
	}
	subject := "messages " + strings.Join(src.Messages, ", ")
	if len(rows) == 0 {
		in.ok(subject, "only granted roles may emit logical messages")
		return nil
	}
	functions := make([]string, len(rows))
	for i, r := range rows {
		functions[i] = r[0]
	}
	list := strings.Join(functions, ", ")
	in.warn(subject, "every role of this database may emit messages of any prefix, and so send events",
		"REVOKE EXECUTE ON FUNCTION "+list+" FROM PUBLIC; GRANT EXECUTE ON FUNCTION "+list+" TO the application's role")
	return nil
}
