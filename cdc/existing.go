package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"

	"relay/internal/failpoint"
)

// Existing says what becomes of the rows that are there when the slot is made.
type Existing struct {
	Condition string                      // SQL on the columns of the tables; empty: all rows
	Begin     func(context.Context) error // before the slot is made
	Each      func(*Row) error            // once for each row, by time, then id
	End       func(context.Context) error // all rows have been handed over; what it returns nil for is durable
}

// createSlotWith makes the slot after the rows that were there before it are durable: all that are committed at the
// point where the slot begins, and none of those that it will send.
//
// A slot cannot be renamed, and one that is there already is taken to be complete. So the rows are read in the snapshot of a
// temporary slot, which the server drops when this process dies, and the lasting one is made from it as the last step.
func createSlotWith(ctx context.Context, src *Source) error {
	if err := src.Existing.Begin(ctx); err != nil {
		return err
	}
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
	if err := Scan(ctx, *src, Range{Snapshot: made.SnapshotName, Condition: src.Existing.Condition}, src.Existing.Each); err != nil {
		return fmt.Errorf("send existing rows: %w", err)
	}
	if err := src.Existing.End(ctx); err != nil {
		return err
	}
	failpoint.Hit("existing")
	return copySlot(ctx, src, temporary)
}

func copySlot(ctx context.Context, src *Source, from string) error {
	conn, err := connect(ctx, src.URL, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = query(ctx, conn, fmt.Sprintf(`SELECT pg_copy_logical_replication_slot(%s, %s, false)`, quoteLiteral(from), quoteLiteral(src.Slot)))
	if err != nil {
		return fmt.Errorf("create replication slot: %w", err)
	}
	return nil
}
