package park

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A gap is what lies between two slots: a slot sends what is committed after it was made, and whatever was committed before
// that and after the last settled horizon was perhaps never sent. The watermark passes it all the same, so the horizons of
// the new slot would tell retention that its rows are settled.

const (
	forgetSQL = `DELETE FROM {{schema}}.horizon WHERE settled_at IS NULL`

	openGapSQL = `INSERT INTO {{schema}}.gap (from_xid)
SELECT coalesce(max(xid), 0) FROM {{schema}}.horizon WHERE settled_at IS NOT NULL AND system_id = {{system}}`

	closeGapSQL = `UPDATE {{schema}}.gap SET to_xid = pg_snapshot_xmax(pg_current_snapshot())::text::bigint WHERE to_xid IS NULL`
)

// OpenGap notes that a slot is about to be made: horizons that are not settled are forgotten, and from the last settled one on
// retention deletes nothing until CloseGap, which must be called when the slot is there, perhaps by another process.
func (s *Store) OpenGap(ctx context.Context, system string) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, s.sql(forgetSQL)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, s.sql(strings.ReplaceAll(openGapSQL, "{{system}}", "$1")), system)
		return err
	})
	if err != nil {
		return fmt.Errorf("note that rows may be missing before the slot: %w", err)
	}
	return nil
}

// CloseGap ends the gaps that are open: what begins from here on, a slot sends. It writes nothing if there is none.
func (s *Store) CloseGap(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, s.sql(closeGapSQL)); err != nil {
		return fmt.Errorf("note where the slot begins: %w", err)
	}
	return nil
}

// GapSQL is OpenGap and CloseGap for a DBA's script, in two pieces for before and after the statement that makes the slot.
func GapSQL(schema, slot string) (before, after string) {
	literal := "'" + strings.ReplaceAll(slot, "'", "''") + "'"
	exists := "EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = " + literal + ")"
	before = "-- Whether the slot is made by this script: that it is not there yet, and at the end, where it is asked again, that it is.\nSELECT set_config('relay.new_slot', (NOT " + exists + ")::text, false);\n"
	after = script(schema, "DO {{tag}} BEGIN IF current_setting('relay.new_slot')::boolean AND "+exists+" THEN\n"+forgetSQL+";\n"+
		strings.ReplaceAll(openGapSQL, "{{system}}", "(SELECT system_identifier::text FROM pg_control_system())")+";\n"+closeGapSQL+";\nEND IF; END {{tag}};\n")
	return before, after
}
