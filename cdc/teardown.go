package cdc

import (
	"context"
	"fmt"
)

// Teardown drops the slot and then the publication, so that a relay that is gone holds no WAL, and returns what it did.
// It ends nobody's connection, and touches no slot that is not relay's kind.
func Teardown(ctx context.Context, src Source) ([]string, error) {
	conn, err := connect(ctx, src.URL, false)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	srv, err := readServer(ctx, conn)
	if err != nil {
		return nil, err
	}
	s := setup{conn: conn, server: srv, src: &src, remedy: "have a DBA run: "}
	if err := s.dropSlot(ctx); err != nil {
		return s.done, err
	}
	pub, err := readPublication(ctx, conn, src.Publication)
	if err != nil || pub == nil {
		return s.done, err
	}
	err = s.exec(ctx, "dropped publication "+src.Publication, "DROP PUBLICATION IF EXISTS "+quoteIdent(src.Publication))
	return s.done, err
}

func (s *setup) dropSlot(ctx context.Context) error {
	name := s.src.Slot
	slot, err := readSlot(ctx, s.conn, name)
	if err != nil || slot == nil {
		return err
	}
	if err := slot.fault(name, s.server.database); err != nil && !isFault(err, FaultSlotInvalidated) {
		return err
	}
	active := &Fault{
		Kind: FaultSlotActive, Problem: fmt.Sprintf("replication slot %s is in use by PID %s", name, slot.activePID),
		Remedy: "stop the relay that streams from it, or: SELECT pg_terminate_backend(" + slot.activePID + ")",
	}
	if slot.activePID != "" {
		return active
	}
	err = s.exec(ctx, "dropped replication slot "+name, "SELECT pg_drop_replication_slot("+quoteLiteral(name)+")")
	if pgCode(err) == codeInUse {
		active.Problem, active.Remedy, active.Err = "replication slot "+name+" is in use", "stop the relay that streams from it", err
		return active
	}
	return err
}
