package park

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

const insertSQL = `
INSERT INTO {{schema}}.delivery (id, turn, nth, endpoint, queue, state, blocked, attempts, due, status, error, since,
  lsn, ordinal, event_id, type, key, table_name, kind, readable, payload, headers, commit_time, detail)
SELECT i.id, i.id, i.nth, i.endpoint, i.queue, i.state, i.blocked, i.attempts, i.due, nullif(i.status, 0), nullif(i.error, ''), i.since,
  i.lsn, i.ordinal, i.event_id, i.type, i.key, i.table_name, i.kind, i.readable, i.payload, i.headers, i.commit_time, i.detail
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::int[], $8::timestamptz[],
  $9::int[], $10::text[], $11::timestamptz[], $12::text[]::pg_lsn[], $13::bigint[], $14::text[], $15::text[], $16::text[], $17::text[],
  $18::smallint[], $19::boolean[], $20::bytea[], $21::text[], $22::timestamptz[], $23::bytea[])
  AS i(id, nth, endpoint, queue, state, blocked, attempts, due, status, error, since,
  lsn, ordinal, event_id, type, key, table_name, kind, readable, payload, headers, commit_time, detail)`

// A call of few rows comes from a lane that has time: it is done in pieces, each shorter than the slice of a core that a
// server process gets. On a machine that is busy, who waits for the core waits for a piece, not for all of them; a healthy
// endpoint's events do at every step from commit to receipt. A statement costs what some six rows do: where more comes in than
// a lane gathers, it is the pace that counts.
const (
	few   = 600
	piece = 16
)

// pieces cuts what one call does.
func pieces[T any](all []T) iter.Seq[[]T] {
	if len(all) > few {
		return slices.Chunk(all, len(all))
	}
	return slices.Chunk(all, piece)
}

func (s *Store) insert(ctx context.Context, tx pgx.Tx, rows []newRow) error {
	for part := range pieces(rows) {
		if _, err := tx.Exec(ctx, s.sql(insertSQL), columnar(part)...); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
	}
	return nil
}

// columnar turns the rows into one array a column.
func columnar(rows []newRow) []any {
	n := len(rows)
	id, nth, ordinal := make([]int64, n), make([]int64, n), make([]int64, n)
	endpoint, state, errText, lsn := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	eventID, typ, table := make([]string, n), make([]string, n), make([]string, n)
	queue, key, headers := make([]*string, n), make([]*string, n), make([]*string, n)
	blocked, readable := make([]bool, n), make([]bool, n)
	attempts, status, kind := make([]int32, n), make([]int32, n), make([]int16, n)
	due, since, commit := make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	payload, detail := make([][]byte, n), make([][]byte, n)
	for i := range rows {
		r, ev := &rows[i], rows[i].Event
		id[i], nth[i], endpoint[i], queue[i], blocked[i] = r.id, r.nth, r.Endpoint, r.queue, r.blocked
		state[i] = string(cmp.Or(r.State, delivery.Waiting))
		attempts[i], status[i], errText[i] = int32(r.Attempts), int32(r.Status), text(r.Err)
		due[i], since[i], commit[i] = toTime(r.Due), toTime(r.Since), toTime(ev.CommitTime)
		lsn[i], ordinal[i] = ev.Place.Commit.String(), int64(ev.Place.Ordinal)
		eventID[i], typ[i], table[i], kind[i] = text(ev.ID), text(ev.Type), text(ev.Table), int16(ev.Kind)
		if ev.Keyed {
			key[i] = new(text(ev.Key))
		}
		if ev.Headers != nil {
			headers[i] = new(text(string(ev.Headers)))
		}
		readable[i] = ev.Kind != mapping.PayloadBytes && utf8.Valid(ev.Payload) && slices.Index(ev.Payload, 0) < 0
		payload[i], detail[i] = ev.Payload, encodeDetail(ev)
	}
	return []any{
		id, nth, endpoint, queue, state, blocked, attempts, due, status, errText, since, lsn, ordinal,
		eventID, typ, key, table, kind, readable, payload, headers, commit, detail,
	}
}

func text(s string) string {
	s, _ = storable(s)
	return s
}
