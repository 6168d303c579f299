package cdc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// setupPatience is how long Setup waits for the slot, which the server makes only after every transaction that was
// writing has ended.
const setupPatience = 30 * time.Second

// Setup makes what is missing of outbox, publication and slot, in that order, and returns what it did. It may be run
// again at any time. A slot is never made before its publication, or dropped: either would lose rows.
func Setup(ctx context.Context, src Source) ([]string, error) {
	conn, err := connect(ctx, src.URL, false)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	srv, err := readServer(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := srv.fault(); err != nil {
		return nil, err
	}
	s := setup{conn: conn, server: srv, src: &src, remedy: "have a DBA run what relay setup --print says, or: "}
	for _, step := range []func(context.Context) error{s.tables, s.publication, s.slot} {
		if err := step(ctx); err != nil {
			return s.done, err
		}
	}
	return s.done, nil
}

type setup struct {
	conn   *pgconn.PgConn
	server *server
	src    *Source
	remedy string // for want of a privilege; the statement follows
	done   []string
}

// exec runs one statement and notes it as done.
func (s *setup) exec(ctx context.Context, did, sql string) error {
	if _, err := query(ctx, s.conn, sql); err != nil {
		if pgCode(err) == codePrivilege {
			return &Fault{FaultPrivilege, "role " + s.server.role + " may not do this", s.remedy + sql, err}
		}
		return fmt.Errorf("%s: %w", strings.SplitN(sql, "\n", 2)[0], err)
	}
	s.done = append(s.done, did)
	return nil
}

func (s *setup) tables(ctx context.Context) error {
	for i := range s.src.Tables {
		t := &s.src.Tables[i]
		rel, err := readTable(ctx, s.conn, t.Name)
		if err != nil {
			return err
		}
		if rel == nil && t.standard() {
			did, err := s.creates(ctx, t.Name)
			if err != nil {
				return err
			}
			if err := s.exec(ctx, did, createTableSQL(t.Name)); err != nil {
				return err
			}
			continue
		}
		if f := rel.fault(t); f != nil {
			return f
		}
		if err := rel.readSent(ctx, s.conn, s.src.Publication); err != nil {
			return err
		}
		if faults := rel.columnFaults(t, s.src.Publication); len(faults) > 0 {
			return faults[0]
		}
	}
	return nil
}

// creates says that a table is created, and that it may be there already under another name, whose rows are then passed over.
func (s *setup) creates(ctx context.Context, table string) (string, error) {
	did := "created table " + table
	pub, err := readPublication(ctx, s.conn, s.src.Publication)
	if err != nil || pub == nil {
		return did, err
	}
	if others := pub.others(s.src.tableNames()); len(others) > 0 {
		did += " (publication " + pub.name + " contains " + listed(others) + ": if one of them is " + table +
			" under a new name, drop what was created now and name that one under source.tables)"
	}
	return did, nil
}

func (s *setup) publication(ctx context.Context) error {
	name, tables := s.src.Publication, s.src.tableNames()
	pub, err := readPublication(ctx, s.conn, name)
	if err != nil {
		return err
	}
	if pub == nil {
		return s.exec(ctx, "created publication "+name, createPublicationSQL(name, tables))
	}
	for _, table := range tables {
		if pub.has(table) || pub.covers(table) {
			continue
		}
		did := "added table " + table + " to publication " + name + " (rows written before are not sent; a relay that runs without it in its file passes over its rows until it is restarted)"
		if err := s.exec(ctx, did, "ALTER PUBLICATION "+quoteIdent(name)+" ADD TABLE "+quoteTable(table)); err != nil {
			return err
		}
	}
	if pub, err = readPublication(ctx, s.conn, name); err != nil {
		return err
	}
	return pub.fault(name, tables)
}

func (s *setup) slot(ctx context.Context) error {
	name := s.src.Slot
	slot, err := readSlot(ctx, s.conn, name)
	if err != nil {
		return err
	}
	if slot != nil {
		return slot.fault(name, s.server.database)
	}
	if s.src.Existing != nil {
		err = createSlotWith(ctx, s.src, false)
	} else {
		err = createSlot(ctx, s.src)
	}
	if s.src.Existing == nil && pgCode(err) == codeDuplicateObject { // another setup was faster: it is as good, if it is one of ours
		slot, err := readSlot(ctx, s.conn, name)
		if err != nil {
			return err
		}
		return slot.fault(name, s.server.database)
	}
	if err != nil {
		return s.slotFault(ctx, err)
	}
	s.done = append(s.done, "created replication slot "+name)
	return nil
}

// createSlot makes the slot over a replication connection, which shows at once that such connections work.
func createSlot(ctx context.Context, src *Source) error {
	ctx, cancel := context.WithTimeout(ctx, setupPatience)
	defer cancel()
	conn, err := connect(ctx, src.URL, true)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = pglogrepl.CreateReplicationSlot(ctx, conn, quoteIdent(src.Slot), "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Mode: pglogrepl.LogicalReplication, SnapshotAction: lastingSlot(conn),
	})
	if err != nil {
		return fmt.Errorf("create replication slot: %w", err)
	}
	return nil
}

// slotFault explains why the slot was not made: who holds it up, if it took too long.
func (s *setup) slotFault(ctx context.Context, err error) error {
	name := s.src.Slot
	switch pgCode(err) {
	case codePrivilege:
		return &Fault{FaultPrivilege, "role " + s.server.role + " may not create replication slots", "ALTER ROLE " + quoteIdent(s.server.role) + " REPLICATION", err}
	case codeConfigLimit:
		return &Fault{FaultCapacity, "no replication slot is free", "drop an unused slot, or raise max_replication_slots", err}
	}
	if !errors.Is(err, context.DeadlineExceeded) && !pgconn.Timeout(err) {
		return err
	}
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), setupPatience)
	defer cancel()
	blockers, lookErr := readBlockers(looking, s.src.URL)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	return &Fault{
		FaultSlotBlocked, "replication slot " + name + " waits for transactions that were open before it: " + blockers,
		"end them (SELECT pg_terminate_backend(pid), ROLLBACK PREPARED), then run relay setup again", err,
	}
}

// readBlockers names the transactions that hold a transaction id. It takes a connection of its own: the context that ran
// out may have closed the other one.
func readBlockers(ctx context.Context, url string) (string, error) {
	conn, err := connect(ctx, url, false)
	if err != nil {
		return "", err
	}
	defer closeConn(conn)
	rows, err := query(ctx, conn, `SELECT format('PID %s (%s, %s, open since %s)', pid, usename, state, to_char(xact_start, 'YYYY-MM-DD"T"HH24:MI:SSOF'))
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
  UNION ALL SELECT format('prepared transaction %L of %s', gid, owner) FROM pg_prepared_xacts`)
	if err != nil {
		return "", fmt.Errorf("look up open transactions: %w", err)
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r[0]
	}
	if len(names) == 0 {
		return "none visible to this role", nil
	}
	return strings.Join(names, "; "), nil
}
