package park

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

// newRow is an item on its way into the table.
type newRow struct {
	*delivery.Parked
	id, nth int64
	queue   *string
	blocked bool
}

func (r *newRow) place() mapping.Place { return r.Event.Place }

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
	endpoints := endpointsOf(items)
	known, err := s.locked(ctx, endpoints, func(tx pgx.Tx, known map[string]*remembered) error {
		rows, err := s.unparked(ctx, tx, items, known, ids)
		if err != nil || len(rows) == 0 {
			return err
		}
		states, err := s.look(ctx, tx, rows, known)
		if err != nil {
			return err
		}
		ahead := arrange(rows, states, s.reach)
		if err := s.holdBack(ctx, tx, ahead); err != nil {
			return err
		}
		if err := s.insert(ctx, tx, rows); err != nil {
			return err
		}
		if err := s.release(ctx, tx, shut(ahead)); err != nil {
			return err
		}
		note(known, states)
		if tell {
			return s.notify(ctx, tx, endpoints...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("park deliveries: %w", err)
	}
	for name, r := range known {
		s.memory.give(name, *r)
	}
	return ids, nil
}

// seat is what a row is known by: one place of the stream at one endpoint.
type seat struct {
	endpoint string
	place    mapping.Place
}

// columnsOf returns them as a statement takes them.
func columnsOf(seats []seat) (endpoints, lsns []string, ordinals []int64) {
	endpoints, lsns, ordinals = make([]string, len(seats)), make([]string, len(seats)), make([]int64, len(seats))
	for i, p := range seats {
		endpoints[i], lsns[i], ordinals[i] = p.endpoint, p.place.Commit.String(), int64(p.place.Ordinal)
	}
	return endpoints, lsns, ordinals
}

// unparked returns rows for the items that are not in the table yet, and puts the ID of each item into ids. Only a place that
// is not newer than all there is looked up, which is many when a call is repeated and otherwise few.
func (s *Store) unparked(ctx context.Context, tx pgx.Tx, items []delivery.Parked, known map[string]*remembered, ids []int64) ([]newRow, error) {
	b, err := s.before(ctx, tx, len(items), slices.Collect(maps.Keys(known)), known)
	if err != nil {
		return nil, err
	}
	seen := make(map[seat]int64, len(items)) // IDs
	var doubtful []seat
	for i := range items {
		p := seat{items[i].Endpoint, items[i].Event.Place}
		if last, ok := b.newest[p.endpoint]; ok && p.place.Commit != 0 && !last.Before(p.place) {
			doubtful = append(doubtful, p)
		}
	}
	if err := s.find(ctx, tx, doubtful, seen); err != nil {
		return nil, err
	}
	rows := make([]newRow, 0, len(items))
	for i := range items {
		p := seat{items[i].Endpoint, items[i].Event.Place}
		if id, there := seen[p]; there {
			ids[i] = id
			continue
		}
		if p.place.Commit != 0 { // what has no place in the stream is not sent again by it
			seen[p] = b.ids[i]
		}
		ids[i] = b.ids[i]
		r := newRow{Parked: &items[i], id: b.ids[i]}
		lane, ordered := items[i].Lane, items[i].Ordered
		if order := b.orders[items[i].Endpoint]; order != "" {
			lane, ordered = delivery.LaneKey(order, items[i].Event)
		}
		if ordered {
			r.queue = new(queueOf(lane))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// before is what a Park has to know first.
type before struct {
	newest map[string]mapping.Place // the last place parked for each endpoint
	ids    []int64                  // of the new rows

	// By which the endpoints' rows are queued: they hold for what is parked by another process too, which may have read another
	// file, and until Reorder has committed another.
	orders map[string]mapping.Order
}

// before asks for all of it at once. It drops from known what is not true any more.
func (s *Store) before(ctx context.Context, tx pgx.Tx, rows int, endpoints []string, known map[string]*remembered) (before, error) {
	b := before{newest: map[string]mapping.Place{}, orders: map[string]mapping.Order{}, ids: make([]int64, 0, rows)}
	batch := &pgx.Batch{}
	batch.Queue(s.sql(newestSQL), endpoints).Query(func(found pgx.Rows) error {
		return eachPlace(found, func(endpoint string, place mapping.Place) { b.newest[endpoint] = place })
	})
	batch.Queue(s.sql(`SELECT name, ordering, changes FROM {{schema}}.endpoint WHERE name = ANY ($1)`), endpoints).Query(func(found pgx.Rows) error {
		var name string
		var order mapping.Order
		var changes int64
		_, err := pgx.ForEachRow(found, []any{&name, &order, &changes}, func() error {
			b.orders[name] = order
			known[name].check(changes)
			return nil
		})
		return err
	})
	batch.Queue(s.sql(`SELECT nextval('{{schema}}.turn') FROM generate_series(1, $1::int)`), rows).Query(func(found pgx.Rows) error {
		var id int64
		_, err := pgx.ForEachRow(found, []any{&id}, func() error {
			b.ids = append(b.ids, id)
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return before{}, fmt.Errorf("look at the endpoints: %w", err)
	}
	for name, r := range known {
		if _, listed := b.orders[name]; !listed {
			r.lease = nil // nobody counts its changes
		}
	}
	return b, nil
}

const newestSQL = `
SELECT e.name, (l.lsn - '0/0'::pg_lsn)::bigint, l.ordinal
FROM unnest($1::text[]) AS e(name)
CROSS JOIN LATERAL (
  SELECT d.lsn, d.ordinal FROM {{schema}}.delivery d
  WHERE d.endpoint = e.name AND d.lsn > '0/0' ORDER BY d.lsn DESC, d.ordinal DESC LIMIT 1) l`

const findSQL = `
SELECT k.endpoint, (k.lsn - '0/0'::pg_lsn)::bigint, k.ordinal, l.id
FROM unnest($1::text[], $2::text[]::pg_lsn[], $3::bigint[]) AS k(endpoint, lsn, ordinal)
CROSS JOIN LATERAL (
  SELECT d.id FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND d.lsn = k.lsn AND d.ordinal = k.ordinal AND d.lsn > '0/0' LIMIT 1) l`

// querier is the pool, or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// find notes which of the seats are taken, and by the row of which ID.
func (s *Store) find(ctx context.Context, q querier, seats []seat, seen map[seat]int64) error {
	if len(seats) == 0 {
		return nil
	}
	endpoints, lsns, ordinals := columnsOf(seats)
	found, err := q.Query(ctx, s.sql(findSQL), endpoints, lsns, ordinals)
	if err == nil {
		var endpoint string
		var lsn, ordinal, id int64
		_, err = pgx.ForEachRow(found, []any{&endpoint, &lsn, &ordinal, &id}, func() error {
			seen[seat{endpoint, *placeOf(&lsn, &ordinal)}] = id
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("look for resends: %w", err)
	}
	return nil
}

// eachPlace calls fn with the endpoint and place of each row.
func eachPlace(found pgx.Rows, fn func(endpoint string, place mapping.Place)) error {
	var endpoint string
	var lsn, ordinal int64
	_, err := pgx.ForEachRow(found, []any{&endpoint, &lsn, &ordinal}, func() error {
		fn(endpoint, *placeOf(&lsn, &ordinal))
		return nil
	})
	return err
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
