package cdc

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// SlotWAL is how much of the server's WAL the slot keeps, and how much more it may (pg_replication_slots, chapter "System
// Views" of the Postgres documentation).
type SlotWAL struct {
	Retained int64  // bytes of WAL that the server keeps for the slot, from its restart_lsn on; 0 if it has none, as one that is lost
	Safe     int64  // bytes that may be written before the slot is at risk, below 0 when it is; meaningful if Limited
	Limited  bool   // max_slot_wal_keep_size is set, and the slot is not lost
	Limit    int64  // max_slot_wal_keep_size in bytes, -1 if it is not set; set of a lost slot too
	Status   string // wal_status: reserved, extended, unreserved or lost; empty: not known
	Cause    string // invalidation_reason, from version 17 on
	Active   bool   // somebody streams from it

	// How long nobody has streamed from the slot, in whole seconds, from version 17 on, and after how long of it the server
	// invalidates the slot at a checkpoint (idle_replication_slot_timeout, 0: never), from 18 on. Each
	// is 0 on older versions, and Idle while somebody streams.
	Idle, IdleTimeout time.Duration
}

// SlotRisk says how near a slot is to being lost.
type SlotRisk int

// The risks, the least first.
const (
	RiskNone       SlotRisk = iota
	RiskExtended            // the slot keeps more WAL than max_wal_size: it, and not the usual recycling, decides what stays
	RiskClose               // less than a quarter is left of what it may keep, or of the time that it may be idle
	RiskUnreserved          // the next checkpoint may remove what it needs
	RiskLost                // it cannot be read any more
)

// Risk is the highest that applies.
func (w *SlotWAL) Risk() SlotRisk {
	switch {
	case w.Status == "lost" || w.Cause != "":
		return RiskLost
	case w.Status == "unreserved":
		return RiskUnreserved
	case w.Limited && w.Safe < (w.Retained+max(0, w.Safe))/4:
		return RiskClose
	case w.IdleTimeout > 0 && w.Idle > w.IdleTimeout-w.IdleTimeout/4:
		return RiskClose
	case w.Status == "extended":
		return RiskExtended
	}
	return RiskNone
}

// The JSON detour reads columns that older versions do not have. A standby's own slots are measured by what it has received.
const slotWALSQL = `SELECT
  coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint,
  coalesce(safe_wal_size::text, ''), pg_size_bytes(current_setting('max_slot_wal_keep_size')), coalesce(wal_status, ''),
  coalesce(to_jsonb(s)->>'invalidation_reason', ''),
  coalesce(extract(epoch FROM clock_timestamp() - (to_jsonb(s)->>'inactive_since')::timestamptz), 0)::bigint,
  coalesce(extract(epoch FROM current_setting('idle_replication_slot_timeout', true)::interval), 0)::bigint,
  active
  FROM pg_replication_slots s WHERE slot_name = %s`

// ReadSlotWAL asks the server, over a connection of its own. It is an error that there is no such slot, and none that it is
// lost: Risk says so.
func ReadSlotWAL(ctx context.Context, url, slot string) (SlotWAL, error) {
	conn, err := connect(ctx, url, false)
	if err != nil {
		return SlotWAL{}, err
	}
	defer closeConn(conn)
	w, err := readSlotWAL(ctx, conn, slot)
	if err != nil {
		return SlotWAL{}, err
	}
	if w == nil {
		return SlotWAL{}, fmt.Errorf("replication slot %s does not exist", slot)
	}
	return *w, nil
}

// readSlotWAL returns nil when there is no slot of that name.
func readSlotWAL(ctx context.Context, conn *pgconn.PgConn, slot string) (*SlotWAL, error) {
	rows, err := query(ctx, conn, fmt.Sprintf(slotWALSQL, quoteLiteral(slot)))
	if err != nil {
		return nil, fmt.Errorf("ask how much WAL the slot keeps: %w", err)
	}
	if len(rows) != 1 {
		return nil, nil
	}
	r := rows[0]
	w := &SlotWAL{Status: r[3], Cause: r[4], Active: r[7] == "t"}
	var idle, timeout int64
	for i, to := range map[int]*int64{0: &w.Retained, 1: &w.Safe, 2: &w.Limit, 5: &idle, 6: &timeout} {
		if r[i] == "" {
			continue
		}
		if *to, err = strconv.ParseInt(r[i], 10, 64); err != nil {
			return nil, fmt.Errorf("ask how much WAL the slot keeps: %w", err)
		}
	}
	w.Limited = r[1] != ""
	w.Idle, w.IdleTimeout = time.Duration(idle)*time.Second, time.Duration(timeout)*time.Second
	return w, nil
}
