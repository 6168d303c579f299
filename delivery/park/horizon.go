package park

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/mapping"
)

// A horizon is how retention knows of a row that it is settled, without having seen it and without trusting a clock or a time
// column: a transaction may commit hours after the created_at of its rows, and after rows with a later one.
//
// One statement takes a snapshot and then asks for the end of the WAL. A transaction leaves the list of running ones only
// after its commit record is in the WAL; so all with an ID below the snapshot's xmin (subtransactions have higher IDs than
// their parent, prepared ones stay on the list) have ended before that LSN. When the stream's watermark has passed the LSN,
// all their rows were delivered, parked or for nobody. A row knows its transaction: xmin. A row that was updated since, or
// whose table was rewritten, has a later one, which errs on the side of keeping it.
//
// Horizons are kept in the database they speak of. So who sees one has all the WAL before it: it holds after a crash, a
// restore to a point in time, or a fail-over that lost the last transactions, where a number in memory would
// have spoken of transaction IDs that others have now. A rebuilt or upgraded cluster has another system identifier.

// Horizon is a horizon as it was taken.
type Horizon struct {
	XID  int64 // transactions below it had ended
	Next int64 // transactions at or above it had not begun, but for a few that were ending
}

// TakeHorizon takes a horizon and keeps it, if it is further than one with that XID. The tables are those whose insertions are
// counted.
func (s *Store) TakeHorizon(ctx context.Context, origin Origin, further int64, tables ...Outbox) (Horizon, error) {
	var h Horizon
	err := s.pool.QueryRow(ctx, s.sql(`
WITH h AS MATERIALIZED (
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next,
    pg_current_wal_insert_lsn() AS lsn
), kept AS (
  INSERT INTO {{schema}}.horizon (system_id, slot, xid, lsn, inserted) SELECT $1, $2, xid, lsn, `+insertedSQL("$4")+` FROM h WHERE xid > $3)
SELECT xid, next FROM h`), origin.System, origin.Slot, further, quotedAll(tables)).Scan(&h.XID, &h.Next)
	if err != nil {
		return h, fmt.Errorf("take a horizon: %w", err)
	}
	return h, nil
}

// SettleHorizons notes that everything before the LSN is durable.
func (s *Store) SettleHorizons(ctx context.Context, origin Origin, durable mapping.Place) error {
	_, err := s.pool.Exec(ctx, s.sql(`UPDATE {{schema}}.horizon SET settled_at = now()
WHERE system_id = $1 AND slot = $2 AND settled_at IS NULL AND lsn <= $3::text::pg_lsn`), origin.System, origin.Slot, durable.Commit.String())
	if err != nil {
		return fmt.Errorf("settle horizons: %w", err)
	}
	return nil
}

// SettledFor returns the XID below which all rows have been settled for so long, 0 if none is known.
func (s *Store) SettledFor(ctx context.Context, origin Origin, age time.Duration) (int64, error) {
	var xid int64
	err := s.pool.QueryRow(ctx, s.sql(`SELECT coalesce(max(xid), 0) FROM {{schema}}.horizon
WHERE system_id = $1 AND slot = $2 AND settled_at <= now() - $3 * interval '1 microsecond'`), origin.System, origin.Slot, age.Microseconds()).Scan(&xid)
	if err != nil {
		return 0, fmt.Errorf("look up horizons: %w", err)
	}
	return xid, nil
}

// insertedSQL counts the rows ever inserted into tables and their partitions. Those of transactions that were rolled back count
// too, and what was inserted in the last seconds perhaps not yet.
func insertedSQL(tables string) string {
	return `(SELECT sum(pg_stat_get_tuples_inserted(r.relid)) FROM unnest(` + tables + `::text[]) AS t(name), LATERAL (
    SELECT relid::oid FROM pg_partition_tree(to_regclass(t.name)) WHERE isleaf UNION SELECT to_regclass(t.name)::oid) r(relid))`
}

func quotedAll(tables []Outbox) []string {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.quoted()
	}
	return names
}

// InsertedSince returns how many rows were inserted into the tables since the settled horizon with that XID was taken, those of
// transactions that were rolled back included. ok is false if that is not known: the server forgets its statistics in a
// crash.
func (s *Store) InsertedSince(ctx context.Context, origin Origin, xid int64, tables ...Outbox) (n int64, ok bool, err error) {
	var since *int64
	err = s.pool.QueryRow(ctx, s.sql(`SELECT `+insertedSQL("$4")+`::bigint - (SELECT min(inserted) FROM {{schema}}.horizon
  WHERE system_id = $1 AND slot = $2 AND xid = $3 AND settled_at IS NOT NULL)`), origin.System, origin.Slot, xid, quotedAll(tables)).Scan(&since)
	if err != nil {
		return 0, false, fmt.Errorf("count the rows inserted since the last horizon: %w", err)
	}
	if since == nil || *since < 0 {
		return 0, false, nil
	}
	return *since, true, nil
}

// PruneHorizons forgets those that another one, settled for longer than the longest retention, has made superfluous,
// and those of another slot or cluster.
func (s *Store) PruneHorizons(ctx context.Context, origin Origin, longest time.Duration) error {
	_, err := s.pool.Exec(ctx, s.sql(`
DELETE FROM {{schema}}.horizon WHERE system_id <> $1 OR slot <> $2
  OR xid < (SELECT max(xid) FROM {{schema}}.horizon WHERE system_id = $1 AND slot = $2 AND settled_at <= now() - $3 * interval '1 microsecond')`),
		origin.System, origin.Slot, longest.Microseconds())
	if err != nil {
		return fmt.Errorf("forget horizons: %w", err)
	}
	return nil
}

// ForgetHorizons forgets those that are not settled. A slot that is made anew passes them without having sent what is
// before them.
func (s *Store) ForgetHorizons(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, s.sql(`DELETE FROM {{schema}}.horizon WHERE settled_at IS NULL`)); err != nil {
		return fmt.Errorf("forget horizons: %w", err)
	}
	return nil
}

// Outbox is a table to erase rows from.
type Outbox struct{ Schema, Name, ID string } // ID is the column of the event's id

// Stretch is how many blocks of a table, and of each of its partitions, one Erase looks at, and most rows it deletes.
const (
	Stretch   = 128
	eraseMost = 500
	eraseWait = "2s" // for a row that the application has locked
)

// Blocks returns how many blocks there are to look at: those of the table, or of its largest partition.
func (s *Store) Blocks(ctx context.Context, t Outbox) (int64, error) {
	var blocks int64
	err := s.pool.QueryRow(ctx, `SELECT max(pg_relation_size(r.relid)) / current_setting('block_size')::bigint + 1
FROM (SELECT relid::oid FROM pg_partition_tree($1::text::regclass) WHERE isleaf UNION SELECT $1::text::regclass::oid) r(relid)`, t.quoted()).Scan(&blocks)
	if err != nil {
		return 0, fmt.Errorf("ask for the size of table %s.%s: %w", t.Schema, t.Name, err)
	}
	return blocks, nil
}

func (t Outbox) quoted() string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// eraseSQL deletes by the rows' own address, which needs no index of the application's, and of a partitioned table no
// right on its partitions.
//
// A row has the lower half of its transaction's ID only. The rest follows from the row being older than the snapshot. Of
// one that is four billion transactions older or more, what follows is later than the truth, and it is kept a while longer.
//
// What is parked is kept, and what is in a gap. format gives the id as the stream did; a cast would cut the blanks of char(n).
const eraseSQL = `
DELETE FROM %[1]s o USING (
  SELECT v.tableoid AS part, v.ctid AS tid FROM %[1]s v CROSS JOIN (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) n
    CROSS JOIN LATERAL (SELECT n.next - ((n.next - v.xmin::text::bigint) & 4294967295) AS id) x
  WHERE v.ctid >= $1::text::tid AND v.ctid < $2::text::tid
    AND x.id < $3 AND NOT EXISTS (SELECT FROM {{schema}}.gap g WHERE x.id >= g.from_xid AND x.id < coalesce(g.to_xid, $3) OFFSET 0)
    AND NOT EXISTS (SELECT FROM {{schema}}.delivery d WHERE d.event_id = format('%%s', v.%[2]s) OFFSET 0)
  LIMIT $4) v
WHERE o.tableoid = v.part AND o.ctid = v.tid`

// Erase deletes rows of transactions below xid that are not parked, from a Stretch of the table's blocks, and reports
// whether there may be more in it.
func (s *Store) Erase(ctx context.Context, t Outbox, xid, block int64) (n int64, more bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var partitioned bool
		if err := tx.QueryRow(ctx, `SELECT relkind = 'p' FROM pg_class WHERE oid = $1::text::regclass`, t.quoted()).Scan(&partitioned); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '`+eraseWait+`'`); err != nil {
			return err
		}
		from := t.quoted()
		if !partitioned {
			from = "ONLY " + from // what inherits from it was never sent under its name
		}
		done, err := tx.Exec(ctx, s.sql(fmt.Sprintf(eraseSQL, from, quote(t.ID))),
			fmt.Sprintf("(%d,0)", block), fmt.Sprintf("(%d,0)", min(block+Stretch, 1<<32-1)), xid, eraseMost)
		n = done.RowsAffected()
		return err
	})
	if sqlState(err) == "55P03" {
		return 0, false, nil // locked: it is there the next time
	}
	if err != nil {
		if sqlState(err) == "42501" {
			err = errors.Join(err, fmt.Errorf("retention needs it: GRANT SELECT, DELETE ON %s TO relay's role", t.quoted()))
		}
		return 0, false, fmt.Errorf("delete settled rows of %s.%s: %w", t.Schema, t.Name, err)
	}
	return n, n == eraseMost, nil
}

// AnyParked reports whether anything is parked at all.
func (s *Store) AnyParked(ctx context.Context) (bool, error) {
	var any bool
	if err := s.pool.QueryRow(ctx, s.sql(`SELECT EXISTS (SELECT FROM {{schema}}.delivery)`)).Scan(&any); err != nil {
		return false, fmt.Errorf("look for parked deliveries: %w", err)
	}
	return any, nil
}
