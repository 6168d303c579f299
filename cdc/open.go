package cdc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// openTimeout bounds everything from the first packet to the start of the stream.
const openTimeout = 30 * time.Second

// openSession connects, checks that the database is as streaming needs it, and starts to stream.
func openSession(ctx context.Context, s *Stream) (*session, error) {
	conn, ear, err := listenTo(ctx, s.cfg.URL)
	if err != nil {
		return nil, err
	}
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	n, err := startSession(opening, s, conn)
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	n.ear = ear
	return n, nil
}

func startSession(ctx context.Context, s *Stream, conn *pgconn.PgConn) (*session, error) {
	if err := onStandby(ctx, conn); err != nil {
		return nil, err
	}
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("identify system: %w", err)
	}
	now := identity{system.SystemID, system.Timeline}
	if err := s.recognise(ctx, conn, now); err != nil {
		return nil, err
	}
	slot, names, err := preflight(ctx, &s.cfg)
	if err != nil {
		return nil, err
	}
	start, err := s.resume(now, system.XLogPos, slot)
	if err != nil {
		return nil, err
	}
	if err := startReplication(ctx, &s.cfg, conn, start); err != nil {
		return nil, startFault(&s.cfg, err)
	}
	n := newSession(s, conn, start, system.XLogPos)
	n.decoder.names, n.decoder.named = names, system.XLogPos
	return n, nil
}

// preflight checks what START_REPLICATION does not: it succeeds without the publication, and PostgreSQL 18 then loses
// rows with no more than a warning.
//
// It takes a connection of its own. Looked up on the replication connection, a table enters that backend's caches as it
// is now, and PostgreSQL 18 then decodes older WAL by it: a backlog from before a DROP COLUMN came without the column.
func preflight(ctx context.Context, cfg *StreamConfig) (*slot, map[uint32]catalogName, error) {
	conn, err := connect(ctx, cfg.URL, false)
	if err != nil {
		return nil, nil, err
	}
	defer closeConn(conn)
	srv, err := readServer(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	if err := srv.fault(); err != nil {
		return nil, nil, err
	}
	pub, err := readPublication(ctx, conn, cfg.Publication)
	if err != nil {
		return nil, nil, err
	}
	if fault, err := pub.readFault(ctx, conn, cfg.Publication, cfg.Tables); fault != nil || err != nil {
		return nil, nil, cmp.Or(fault, err)
	}
	names, err := readCatalogNames(ctx, conn, cfg.Publication, cfg.Tables)
	if err != nil {
		return nil, nil, err
	}
	slot, err := readSlot(ctx, conn, cfg.Slot)
	if err != nil {
		return nil, nil, err
	}
	return slot, names, slot.fault(cfg.Slot, srv.database)
}

// resume decides where to start. Positions mean something on the server they come from only, see identity.
func (s *Stream) resume(now identity, end LSN, slot *slot) (LSN, error) {
	h := &s.history
	start := max(s.mark.Durable(), s.cfg.Start)
	if h.ahead == nil && start > end {
		h.ahead = diverged(fmt.Sprintf("the server's WAL ends at %s, before position %s that relay has reached", end, start))
	}
	if h.ahead != nil {
		return 0, h.ahead
	}
	if start > 0 && slot.confirmed > start {
		if h.lost {
			s.log.Error("slot was made anew, rows committed in between are not streamed", "from", start.String(), "to", slot.confirmed.String())
		} else if h.streamed {
			s.log.Info("slot was confirmed by another process meanwhile", "from", start.String(), "to", slot.confirmed.String())
		}
	}
	if h.lost {
		s.noteRemade() // before the watermark moves: who sees the one has to see the other
	}
	h.server, h.streamed, h.lost = now, true, false
	h.told = max(h.told, slot.confirmed) // by somebody
	start = max(start, slot.confirmed)
	// Like a keepalive: nothing before start comes any more. It seeds the watermark, so that no status says flush = 0,
	// which would confirm everything.
	s.mark.Keepalive(start)
	return start, nil
}

func diverged(problem string) error {
	return &Fault{
		Kind: FaultDiverged, Problem: problem,
		Remedy: "point source.url at the right server; or, when it is the right one, drop the slot and run relay setup, then replay what is missing",
	}
}

func startReplication(ctx context.Context, cfg *StreamConfig, conn *pgconn.PgConn, start LSN) error {
	args := []string{
		"proto_version '1'",
		"publication_names " + quoteLiteral(quoteIdent(cfg.Publication)),
		// Always on: were it to depend on the configuration, so would the places of rows, and saved positions would lie.
		"messages 'true'",
	}
	err := pglogrepl.StartReplication(ctx, conn, quoteIdent(cfg.Slot), start, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: args,
	})
	if err != nil {
		return fmt.Errorf("start replication: %w", err)
	}
	return nil
}

// streamError turns what the server sends in mid-stream into an error, or nil for what does not matter.
func streamError(cfg *StreamConfig, msg pgproto3.BackendMessage) error {
	switch m := msg.(type) {
	case *pgproto3.ErrorResponse:
		return startFault(cfg, pgconn.ErrorResponseToPgError(m))
	case *pgproto3.NoticeResponse:
		// PostgreSQL 18: 'skipped loading publication', and our rows are left out of the stream.
		if m.Code == codeState {
			return publicationLate(cfg, errors.New(m.Message))
		}
	case *pgproto3.CopyDone, *pgproto3.CommandComplete, *pgproto3.ReadyForQuery:
		return errors.New("the server has ended the stream")
	}
	return nil
}
