package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// Existing says what becomes of the rows that are there when the slot is made.
type Existing struct {
	Condition string                           // as Range.Condition; empty: all rows
	Begin     func(context.Context, LSN) error // at the place where the slot begins: before any that it will send
	Each      func(*Row) error                 // once for each row, by time, then id
	End       func(context.Context) error      // all rows have been handed over; what it returns nil for is durable
}

// SinceXID is the condition for rows that were written, or updated, by transactions with that ID or a later one. The ID is the
// 64 bits of pg_current_xact_id(), of which a row has the lower half only (xmin); the rest follows from the row being older than
// the snapshot, and not by four billion transactions: a row that is, and one that pg_restore wrote, counts as newer than it is,
// and is sent once more.
func SinceXID(xid int64) string {
	return fmt.Sprintf("pg_snapshot_xmax(pg_current_snapshot())::text::bigint"+
		" - ((pg_snapshot_xmax(pg_current_snapshot())::text::bigint - xmin::text::bigint) & 4294967295) >= %d", xid)
}

// CheckSlot returns why the slot cannot be streamed from, nil if it can. See SlotLost.
func CheckSlot(ctx context.Context, src Source) error {
	conn, err := connect(ctx, src.URL, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	srv, err := readServer(ctx, conn)
	if err != nil {
		return err
	}
	slot, err := readSlot(ctx, conn, src.Slot)
	if err != nil {
		return err
	}
	return slot.fault(src.Slot, srv.database)
}

// Recreate makes a slot in the place of one that is lost, when the rows of src.Existing are durable. Nobody else may stream from
// the slot: one that somebody makes meanwhile, and does not use, is replaced, lest rows are lost between the two.
func Recreate(ctx context.Context, src Source) error {
	err := createSlotWith(ctx, &src, true)
	if err == nil {
		return nil
	}
	cfg, bad := configure(src.URL, false)
	if bad != nil {
		return err
	}
	s := setup{server: &server{role: cfg.User}, src: &src}
	return s.slotFault(ctx, err)
}

// createSlotWith makes the slot after the rows that were there before it are durable: all that are committed at the
// point where the slot begins, and none of those that it will send.
//
// A slot cannot be renamed, and one that is there already is taken to be complete. So the rows are read in the snapshot of a
// temporary slot, which the server drops when this process dies, and the lasting one is made from it as the last step.
//
// What is committed between that point and the one of a slot that somebody else makes meanwhile is in neither. Replace says to
// put ours, which begins earlier and so sends all that the other would, in its place.
func createSlotWith(ctx context.Context, src *Source, replace bool) error {
	conn, err := connect(ctx, src.URL, true)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	making, cancel := context.WithTimeout(ctx, setupPatience)
	defer cancel()
	temporary := fmt.Sprintf("relay_setup_%d", conn.PID())
	made, err := pglogrepl.CreateReplicationSlot(making, conn, quoteIdent(temporary), "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Mode: pglogrepl.LogicalReplication, Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT",
	})
	if err != nil {
		return fmt.Errorf("create replication slot: %w", err)
	}
	point, err := pglogrepl.ParseLSN(made.ConsistentPoint)
	if err != nil {
		return fmt.Errorf("create replication slot: %w", err)
	}
	if err := src.Existing.Begin(ctx, point); err != nil {
		return err
	}
	if err := Scan(ctx, *src, Range{Snapshot: made.SnapshotName, Condition: src.Existing.Condition}, src.Existing.Each); err != nil {
		return fmt.Errorf("send existing rows: %w", err)
	}
	if err := src.Existing.End(ctx); err != nil {
		return err
	}
	return copySlot(ctx, src, temporary, point, replace)
}

func copySlot(ctx context.Context, src *Source, from string, point LSN, replace bool) error {
	conn, err := connect(ctx, src.URL, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	// One that is there is lost: whoever has us make another has looked.
	_, err = query(ctx, conn, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE wal_status = 'lost' AND slot_name = `+quoteLiteral(src.Slot))
	if err != nil {
		return fmt.Errorf("drop the lost replication slot: %w", err)
	}
	sql := fmt.Sprintf(`SELECT pg_copy_logical_replication_slot(%s, %s, false)`, quoteLiteral(from), quoteLiteral(src.Slot))
	_, err = query(ctx, conn, sql)
	for pgCode(err) == codeDuplicateObject {
		good, takenErr := takenSlot(ctx, conn, src, point, replace)
		if takenErr != nil {
			return takenErr
		}
		if good {
			return failOver(ctx, src)
		}
		_, err = query(ctx, conn, sql)
	}
	if err != nil {
		return fmt.Errorf("create replication slot: %w", err)
	}
	return failOver(ctx, src)
}

// takenSlot looks at a slot that somebody made while we did, and reports whether it does: it begins no later than the rows end
// that were handed over. One that does not is dropped if it may be replaced.
func takenSlot(ctx context.Context, conn *pgconn.PgConn, src *Source, point LSN, replace bool) (bool, error) {
	srv, err := readServer(ctx, conn)
	if err != nil {
		return false, err
	}
	slot, err := readSlot(ctx, conn, src.Slot)
	if err != nil || slot == nil {
		return false, err
	}
	if err := slot.fault(src.Slot, srv.database); err != nil {
		return false, err
	}
	if slot.confirmed > 0 && slot.confirmed <= point {
		return true, nil
	}
	drop := "SELECT pg_drop_replication_slot(" + quoteLiteral(src.Slot) + ")"
	if replace && slot.activePID == "" {
		if _, err := query(ctx, conn, drop); err != nil && pgCode(err) != codeInUse && pgCode(err) != codeMissing {
			return false, fmt.Errorf("drop the replication slot that was made meanwhile: %w", err)
		}
		return false, nil
	}
	taken := &Fault{
		Kind:    FaultSlotTaken,
		Problem: fmt.Sprintf("replication slot %s was made by somebody else meanwhile: rows committed between %s and its own begin are not streamed", src.Slot, point),
		Remedy:  drop + "; then run relay setup again",
	}
	if slot.activePID != "" {
		taken.Problem += ", and PID " + slot.activePID + " uses it"
		taken.Remedy = "stop what uses it; then " + taken.Remedy
	}
	return false, taken
}
