package cdc

import (
	"context"
	"fmt"
	"strconv"
)

// SlotWAL is how much of the server's WAL the slot keeps, and how much more it may (pg_replication_slots, chapter "System
// Views" of the Postgres documentation).
type SlotWAL struct {
	Retained int64 // bytes of WAL that the server keeps for the slot
	Safe     int64 // bytes that may be written before the slot is at risk; meaningful if Limited
	Limited  bool  // max_slot_wal_keep_size is set
}

// ReadSlotWAL asks the server, over a connection of its own.
func ReadSlotWAL(ctx context.Context, url, slot string) (SlotWAL, error) {
	conn, err := connect(ctx, url, false)
	if err != nil {
		return SlotWAL{}, err
	}
	defer closeConn(conn)
	rows, err := query(ctx, conn, "SELECT coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() "+
		"ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint, coalesce(safe_wal_size::text, '') "+
		"FROM pg_replication_slots WHERE slot_name = "+quoteLiteral(slot))
	if err != nil {
		return SlotWAL{}, fmt.Errorf("ask how much WAL the slot keeps: %w", err)
	}
	if len(rows) != 1 {
		return SlotWAL{}, fmt.Errorf("replication slot %s does not exist", slot)
	}
	var w SlotWAL
	if w.Retained, err = strconv.ParseInt(rows[0][0], 10, 64); err != nil {
		return SlotWAL{}, fmt.Errorf("ask how much WAL the slot keeps: %w", err)
	}
	if rows[0][1] != "" {
		w.Safe, err = strconv.ParseInt(rows[0][1], 10, 64)
		w.Limited = err == nil
	}
	return w, err
}
