package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"relay/internal/libpq"
)

// failoverVersion is the first major version whose logical slots a standby can synchronise.
const failoverVersion = 17

// major is the server's version, as it says when one connects: "18.4", or "15.13 (Debian 15.13-1)", or "19beta1".
func major(conn *pgconn.PgConn) (n int) {
	_, _ = fmt.Sscanf(conn.ParameterStatus("server_version"), "%d", &n) // 0 for what is not a number
	return n
}

// lastingSlot is the options for a slot that lasts, in the words of CREATE_REPLICATION_SLOT.
func lastingSlot(conn *pgconn.PgConn) string {
	if major(conn) >= failoverVersion {
		return "(SNAPSHOT 'nothing', FAILOVER true)"
	}
	return "NOEXPORT_SNAPSHOT"
}

// failOver has the slot go over to a standby: a copy does not inherit it.
func failOver(ctx context.Context, src *Source) error {
	conn, err := connect(ctx, src.URL, true)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if major(conn) < failoverVersion {
		return nil
	}
	if _, err := conn.Exec(ctx, "ALTER_REPLICATION_SLOT "+quoteIdent(src.Slot)+" (FAILOVER true)").ReadAll(); err != nil {
		return fmt.Errorf("have the replication slot fail over: %w", err)
	}
	return nil
}

// createSlotSQL makes the slot in plpgsql. What a version does not know it does not look at.
func createSlotSQL(slot string) string {
	name := quoteLiteral(slot)
	return fmt.Sprintf(`IF current_setting('server_version_num')::int >= %d0000 THEN PERFORM pg_create_logical_replication_slot(%s, 'pgoutput', failover => true); `+
		`ELSE PERFORM pg_create_logical_replication_slot(%[2]s, 'pgoutput'); END IF`, failoverVersion, name)
}

// standbySQL asks what can be seen of fail-over from the primary. A WAL sender with a database is one for logical replication. The JSON detours read what older versions do not have.
const standbySQL = `SELECT (SELECT coalesce(to_jsonb(s)->>'failover', '') FROM pg_replication_slots s WHERE slot_name = %s),
  (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical'),
  (SELECT count(*) FROM pg_stat_replication r JOIN pg_stat_activity a USING (pid) WHERE a.datid IS NULL),
  coalesce(current_setting('synchronized_standby_slots', true), ''), current_setting('synchronous_standby_names')`

// failover says what a fail-over would do to the slot, as far as it shows on the primary. It is advice: who has no standby
// needs none of it.
func (in *inspection) failover(ctx context.Context, url, name string) error {
	if cfg, err := configure(url, false); err == nil && cfg.ValidateConnect == nil && libpq.Hosts(cfg) > 1 {
		in.warn("fail-over", "source.url names several servers, and not which of them it means: relay may find a standby, and wait there", "add target_session_attrs=read-write")
	}
	rows, err := query(ctx, in.conn, fmt.Sprintf(standbySQL, quoteLiteral(name)))
	if err != nil || len(rows) != 1 {
		return err
	}
	r := rows[0]
	subject, standbys := "fail-over", r[1] != "0" || r[2] != "0"
	switch {
	case !standbys:
		in.ok(subject, "no standby is connected")
	case in.server.version < failoverVersion*10000:
		in.warn(subject, fmt.Sprintf("PostgreSQL %d does not carry slots over to a standby: after a fail-over there is none, and rows are missed until another is made", in.server.version/10000),
			"source.on_slot_lost: recreate makes another and sends again what is still in the outbox; or upgrade to PostgreSQL 17")
	case r[0] != "true":
		in.warn(subject, "slot "+name+" is not carried over to a standby",
			"stop relay, then: psql 'replication=database …' -c 'ALTER_REPLICATION_SLOT "+quoteIdent(name)+" (FAILOVER true)'")
	case r[3] == "":
		in.warn(subject, "synchronized_standby_slots is empty: relay may deliver rows that the standby does not have yet, and that a fail-over loses",
			"ALTER SYSTEM SET synchronized_standby_slots = 'the physical slot of the standby'; SELECT pg_reload_conf(). "+
				"On the standby: sync_replication_slots = on, hot_standby_feedback = on, and a dbname in primary_conninfo, none of which shows here")
	default:
		in.ok(subject, "slot "+name+" is carried over, and relay does not run ahead of "+r[3]+
			". On the standby it takes sync_replication_slots = on, hot_standby_feedback = on, and a dbname in primary_conninfo, none of which shows here")
	}
	return nil
}
