package park

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

// Existing is the parking of what was there before a slot. Its deliveries stand at places before any that a stream can have,
// in the order in which they are added, and so before the live ones of their key.
type Existing struct {
	store  *Store
	conn   *pgx.Conn // holds the lock
	slot   string
	commit int64
}

// BeginExisting takes away what an earlier attempt has parked that ended before there was a slot, and begins anew. The caller has
// made sure that there is no slot. With before, which is a place in the WAL, the deliveries go after what was parked by
// an earlier slot and before what comes from there on. Close must be called in the end.
func (s *Store) BeginExisting(ctx context.Context, slot string, before mapping.Place) (*Existing, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("park the existing rows: %w", err)
	}
	e := &Existing{store: s, conn: conn, slot: slot}
	if before != (mapping.Place{}) {
		e.commit = int64(before.Commit) - 1 // records are aligned: nothing of the WAL itself stands there
	}
	if err := e.begin(ctx); err != nil {
		e.Close(ctx)
		return nil, fmt.Errorf("park the existing rows: %w", err)
	}
	return e, nil
}

func (e *Existing) begin(ctx context.Context) error {
	var alone bool
	err := e.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, "relay existing "+e.store.name).Scan(&alone)
	if err != nil {
		return err
	}
	if !alone {
		return errors.New("another relay setup is at it; run it again when that one has ended")
	}
	var half string
	err = e.conn.QueryRow(ctx, e.store.sql(`SELECT place::text FROM {{schema}}.existing WHERE slot = $1 AND NOT done`), e.slot).Scan(&half)
	if err == nil {
		err = e.clear(ctx, half)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return e.conn.QueryRow(ctx, e.store.sql(`
INSERT INTO {{schema}}.existing (slot, place, done) SELECT $1, '0/0'::pg_lsn + CASE WHEN $2::bigint > 0 THEN $2::bigint ELSE nextval('{{schema}}.existing_place') END, false
ON CONFLICT (slot) DO UPDATE SET place = excluded.place, done = false RETURNING (place - '0/0'::pg_lsn)::bigint`), e.slot, e.commit).Scan(&e.commit)
}

func (e *Existing) clear(ctx context.Context, place string) error {
	for {
		found, err := e.conn.Query(ctx, e.store.sql(`SELECT id FROM {{schema}}.delivery WHERE lsn = $1::text::pg_lsn LIMIT $2`), place, chunk)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(found, pgx.RowTo[int64])
		if err != nil || len(ids) == 0 {
			return err
		}
		if _, err := e.store.Discard(ctx, Filter{IDs: ids}); err != nil {
			return err
		}
	}
}

// Place returns the place of the nth existing row.
func (e *Existing) Place(n uint32) mapping.Place {
	p := mapping.Place{Ordinal: n}
	*(*uint64)(&p.Commit) = uint64(e.commit)
	return p
}

// Add parks deliveries, whose events stand at a Place.
func (e *Existing) Add(ctx context.Context, items []delivery.Parked) error {
	_, err := e.store.Add(ctx, items)
	return err
}

// Lacking returns those of the deliveries whose event is not parked for their endpoint already.
func (e *Existing) Lacking(ctx context.Context, items []delivery.Parked) ([]delivery.Parked, error) {
	ids := make([]string, len(items))
	for i := range items {
		ids[i] = text(items[i].Event.ID)
	}
	found, err := e.conn.Query(ctx, e.store.sql(`SELECT d.endpoint, d.event_id FROM {{schema}}.delivery d WHERE d.event_id = ANY ($1)`), ids)
	if err != nil {
		return nil, fmt.Errorf("look for what is parked: %w", err)
	}
	type known struct{ endpoint, event string }
	parked := map[known]bool{}
	var k known
	if _, err := pgx.ForEachRow(found, []any{&k.endpoint, &k.event}, func() error { parked[k] = true; return nil }); err != nil {
		return nil, fmt.Errorf("look for what is parked: %w", err)
	}
	var lacking []delivery.Parked
	for i := range items {
		if !parked[known{items[i].Endpoint, ids[i]}] {
			lacking = append(lacking, items[i])
		}
	}
	return lacking, nil
}

// Close gives the lock up.
func (e *Existing) Close(ctx context.Context) { closeConn(ctx, e.conn) }

// EndExisting notes that there is a slot, so that what was parked before it stays.
func (s *Store) EndExisting(ctx context.Context, slot string) error {
	_, err := s.pool.Exec(ctx, s.sql(`UPDATE {{schema}}.existing SET done = true WHERE slot = $1 AND NOT done`), slot)
	if err != nil {
		return fmt.Errorf("note that the slot is there: %w", err)
	}
	return nil
}
