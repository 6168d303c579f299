package park

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

// reach is about how many deliveries of one queue are readable at a time. It bounds what has to be held back when the
// first of them fails, however many wait behind it, and what is let through in one go when it succeeds.
const reach = 512

// newRow is an item on its way into the table.
type newRow struct {
	*delivery.Parked
	index   int // in the call
	id, nth int64
	queue   *string
	blocked bool
}

func (r *newRow) place() mapping.Place { return r.Event.Place }

// queueID names a queue.
type queueID struct{ endpoint, queue string }

// queueState is what the table says of a queue before a Park.
type queueState struct {
	first, last int64          // nth of the first and last readable row
	lastPlace   *mapping.Place // of the last readable row
	stuck       *mapping.Place // first place that is blocked or due later
}

// Park is documented at delivery.Parker. Within a queue the order is that of the places, whatever the order of the calls: a delivery
// older than those that wait already goes before them, and they are held back until it is settled.
func (s *Store) Park(ctx context.Context, items []delivery.Parked) ([]int64, error) {
	return s.park(ctx, items, false)
}

// Add parks what another process than the running relay, or a replay, asks for, and tells the running relay.
func (s *Store) Add(ctx context.Context, items []delivery.Parked) ([]int64, error) {
	return s.park(ctx, items, true)
}

func (s *Store) park(ctx context.Context, items []delivery.Parked, tell bool) ([]int64, error) {
	ids := make([]int64, len(items))
	if len(items) == 0 {
		return ids, nil
	}
	rows, queues := prepare(items)
	err := s.write(ctx, endpointsOf(items), func(tx pgx.Tx) error {
		states, err := s.look(ctx, tx, rows, queues)
		if err != nil {
			return err
		}
		ahead := arrange(rows, states)
		if err := s.holdBack(ctx, tx, ahead); err != nil {
			return err
		}
		inserted, err := s.insert(ctx, tx, rows)
		if err != nil {
			return err
		}
		for i := range rows {
			if inserted[rows[i].id] {
				ids[rows[i].index] = rows[i].id
			}
		}
		if len(inserted) < len(rows) {
			// What was decided from a row that was there already may not hold: let through what nothing holds back.
			if err := s.release(ctx, tx, queues); err != nil {
				return err
			}
		}
		if tell {
			return s.notify(ctx, tx, endpointsOf(items)...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("park deliveries: %w", err)
	}
	return ids, nil
}

// prepare returns the rows, and the queues in which some of them will wait.
func prepare(items []delivery.Parked) ([]newRow, []queueID) {
	rows := make([]newRow, len(items))
	seen := map[queueID]bool{}
	var queues []queueID
	for i := range items {
		rows[i] = newRow{Parked: &items[i], index: i}
		if !items[i].Ordered {
			continue
		}
		queue := queueOf(items[i].Lane)
		rows[i].queue = &queue
		if id := (queueID{items[i].Endpoint, queue}); !seen[id] && items[i].State != delivery.Dead {
			seen[id] = true
			queues = append(queues, id)
		}
	}
	return rows, queues
}

// endpointsOf returns the endpoints' names in the order in which every call locks them.
func endpointsOf(items []delivery.Parked) []string {
	var names []string
	for i := range items {
		if i == 0 || items[i].Endpoint != items[i-1].Endpoint {
			names = append(names, items[i].Endpoint)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

const lookSQL = `
SELECT k.endpoint, k.queue, f.nth, l.nth, (l.lsn - '0/0'::pg_lsn)::bigint, l.ordinal, (s.lsn - '0/0'::pg_lsn)::bigint, s.ordinal
FROM unnest($1::text[], $2::text[]) AS k(endpoint, queue)
LEFT JOIN LATERAL (
  SELECT d.nth FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND d.queue = k.queue AND d.state = 'waiting' AND NOT d.blocked AND d.queue IS NOT NULL
  ORDER BY d.lsn, d.ordinal, d.id LIMIT 1) f ON true
LEFT JOIN LATERAL (
  SELECT d.nth, d.lsn, d.ordinal FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND d.queue = k.queue AND d.state = 'waiting' AND NOT d.blocked AND d.queue IS NOT NULL
    AND f.nth IS NOT NULL
  ORDER BY d.lsn DESC, d.ordinal DESC, d.id DESC LIMIT 1) l ON true
LEFT JOIN LATERAL (
  SELECT d.lsn, d.ordinal FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND d.queue = k.queue AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)
  ORDER BY d.lsn, d.ordinal, d.id LIMIT 1) s ON true
WHERE f.nth IS NOT NULL OR s.lsn IS NOT NULL`

// look numbers the rows and returns the state of the queues that are not empty.
func (s *Store) look(ctx context.Context, tx pgx.Tx, rows []newRow, queues []queueID) (map[queueID]*queueState, error) {
	states := map[queueID]*queueState{}
	endpoints, names := split(queues)
	batch := &pgx.Batch{}
	batch.Queue(s.sql(`SELECT nextval('{{schema}}.turn') FROM generate_series(1, $1::int)`), len(rows)).Query(func(found pgx.Rows) error {
		for i := 0; found.Next(); i++ {
			if err := found.Scan(&rows[i].id); err != nil {
				return err
			}
		}
		return found.Err()
	})
	batch.Queue(s.sql(lookSQL), endpoints, names).Query(func(found pgx.Rows) error {
		for found.Next() {
			var id queueID
			var first, last, lastLSN, lastOrdinal, stuckLSN, stuckOrdinal *int64
			if err := found.Scan(&id.endpoint, &id.queue, &first, &last, &lastLSN, &lastOrdinal, &stuckLSN, &stuckOrdinal); err != nil {
				return err
			}
			state := &queueState{lastPlace: placeOf(lastLSN, lastOrdinal), stuck: placeOf(stuckLSN, stuckOrdinal)}
			if first != nil {
				state.first, state.last = *first, *last
			}
			states[id] = state
		}
		return found.Err()
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("look at the queues: %w", err)
	}
	return states, nil
}

func placeOf(lsn, ordinal *int64) *mapping.Place {
	if lsn == nil {
		return nil
	}
	var p mapping.Place
	*(*uint64)(&p.Commit) = uint64(*lsn)
	p.Ordinal = uint32(*ordinal)
	return &p
}

// span is the part of a queue behind a place, or the whole of it.
type span struct {
	queueID
	after mapping.Place
	whole bool
}

// arrange decides for each row whether it is blocked, and returns the parts of queues that wait behind new rows.
func arrange(rows []newRow, states map[queueID]*queueState) []span {
	ordered := make([]*newRow, 0, len(rows))
	for i := range rows {
		if rows[i].queue != nil && rows[i].State != delivery.Dead {
			ordered = append(ordered, &rows[i])
		}
	}
	slices.SortStableFunc(ordered, func(a, b *newRow) int { return a.place().Compare(b.place()) })
	var ahead []span
	for _, r := range ordered {
		id := queueID{r.Endpoint, *r.queue}
		state := states[id]
		if state == nil {
			state = &queueState{first: 1}
			states[id] = state
		}
		if state.lastPlace != nil && r.place().Before(*state.lastPlace) {
			ahead = append(ahead, span{queueID: id, after: r.place()}) // the first in order is the lowest: it covers the others
			state.lastPlace = nil
		}
		state.last++
		r.nth = state.last
		r.blocked = state.stuck != nil && !r.place().Before(*state.stuck) || r.nth-state.first >= reach
		if place := r.place(); (r.blocked || !r.Due.IsZero()) && (state.stuck == nil || place.Before(*state.stuck)) {
			state.stuck = &place
		}
		if r.blocked {
			// Its turn comes when it is let through. What it was due for is then long past, or its next attempt says so again.
			r.Parked = withoutDue(r.Parked)
		}
	}
	return ahead
}

func withoutDue(p *delivery.Parked) *delivery.Parked {
	if p.Due.IsZero() {
		return p
	}
	without := *p
	without.Due = time.Time{}
	return &without
}

// holdBack blocks the readable rows of the spans, but those that wait for a time themselves.
func (s *Store) holdBack(ctx context.Context, tx pgx.Tx, spans []span) error {
	if len(spans) == 0 {
		return nil
	}
	var endpoints, queues, lsns []string
	var ordinals []int64
	var whole []bool
	for _, sp := range spans {
		endpoints, queues = append(endpoints, sp.endpoint), append(queues, sp.queue)
		lsns, ordinals = append(lsns, sp.after.Commit.String()), append(ordinals, int64(sp.after.Ordinal))
		whole = append(whole, sp.whole)
	}
	_, err := tx.Exec(ctx, s.sql(`
UPDATE {{schema}}.delivery d SET blocked = true
FROM unnest($1::text[], $2::text[], $3::text[]::pg_lsn[], $4::bigint[], $5::boolean[]) AS k(endpoint, queue, lsn, ordinal, whole)
CROSS JOIN LATERAL (
  SELECT x.id FROM {{schema}}.delivery x
  WHERE x.endpoint = k.endpoint AND x.queue = k.queue AND x.state = 'waiting' AND NOT x.blocked AND x.queue IS NOT NULL
    AND x.due IS NULL AND (k.whole OR (x.lsn, x.ordinal) > (k.lsn, k.ordinal))
  OFFSET 0) behind
WHERE d.id = behind.id`), endpoints, queues, lsns, ordinals, whole)
	if err != nil {
		return fmt.Errorf("hold back what is behind: %w", err)
	}
	return nil
}

const insertSQL = `
INSERT INTO {{schema}}.delivery (id, turn, nth, endpoint, queue, state, blocked, attempts, due, status, error, since,
  lsn, ordinal, event_id, type, key, table_name, kind, readable, payload, headers, commit_time, detail)
SELECT i.id, i.id, i.nth, i.endpoint, i.queue, i.state, i.blocked, i.attempts, i.due, nullif(i.status, 0), nullif(i.error, ''), i.since,
  i.lsn, i.ordinal, i.event_id, i.type, i.key, i.table_name, i.kind, i.readable, i.payload, i.headers, i.commit_time, i.detail
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::int[], $8::timestamptz[],
  $9::int[], $10::text[], $11::timestamptz[], $12::text[]::pg_lsn[], $13::bigint[], $14::text[], $15::text[], $16::text[], $17::text[],
  $18::smallint[], $19::boolean[], $20::bytea[], $21::text[], $22::timestamptz[], $23::bytea[])
  AS i(id, nth, endpoint, queue, state, blocked, attempts, due, status, error, since,
  lsn, ordinal, event_id, type, key, table_name, kind, readable, payload, headers, commit_time, detail)
ON CONFLICT (endpoint, lsn, ordinal) WHERE lsn > '0/0' DO NOTHING
RETURNING id`

// insert returns the IDs of the rows that were not there yet.
func (s *Store) insert(ctx context.Context, tx pgx.Tx, rows []newRow) (map[int64]bool, error) {
	found, err := tx.Query(ctx, s.sql(insertSQL), columnar(rows)...)
	if err != nil {
		return nil, fmt.Errorf("insert: %w", err)
	}
	inserted := make(map[int64]bool, len(rows))
	var id int64
	_, err = pgx.ForEachRow(found, []any{&id}, func() error {
		inserted[id] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("insert: %w", err)
	}
	return inserted, nil
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

func split(queues []queueID) (endpoints, names []string) {
	endpoints, names = make([]string, len(queues)), make([]string, len(queues))
	for i, q := range queues {
		endpoints[i], names[i] = q.endpoint, q.queue
	}
	return endpoints, names
}
