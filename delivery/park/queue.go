package park

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

// reach is about how many deliveries of one queue are readable at a time. It bounds what has to be held back when the
// first of them fails, however many wait behind it, and what is let through in one go when it succeeds: a tenth of a second's
// work. What is beyond it costs a second write before it is sent.
const reach = 2048

// queueID names a queue.
type queueID struct{ endpoint, queue string }

// queueState is what the table says of a queue before a Park, as far as lookSQL asks, and what it will say after it.
type queueState struct {
	first, last           int64 // nth of the first and last readable row
	firstPlace, lastPlace *mapping.Place
	stuck                 *mapping.Place // first place that is blocked or due later

	exact bool // first and firstPlace are; else it was not asked for them
	mixed bool // rows came out of order: it is not as arranged any more
}

// suffices reports whether what is known is all that arrange has to know.
func (q *queueState) suffices(d demand, reach int64) bool {
	return q != nil && (q.exact || !(d.timed && q.lastPlace != nil) && q.last+d.n <= reach)
}

// demand is what the rows of a call ask of one queue.
type demand struct {
	queueID
	n     int64 // rows
	timed bool  // one of them waits for a time
}

// demandsOf returns the queues in which some of the rows will wait.
func demandsOf(rows []newRow) []demand {
	at := make(map[queueID]int, len(rows))
	var demands []demand
	for i := range rows {
		r := &rows[i]
		if r.queue == nil || r.State == delivery.Dead {
			continue
		}
		id := queueID{r.Endpoint, *r.queue}
		n, known := at[id]
		if !known {
			n = len(demands)
			at[id] = n
			demands = append(demands, demand{queueID: id})
		}
		d := &demands[n]
		d.n++
		d.timed = d.timed || !r.Due.IsZero()
	}
	return demands
}

// lookSQL asks of each queue no more than arrange has to know, because that is a third of what it costs to park: what is stuck
// only if anything of the endpoints is, and which row is the first only if, counting all $3 that come, there might be more than
// may be readable, or one of them waits for a time. The last is always asked for: a dead one that waits again is stuck in its
// place, and what is readable behind it is not held back.
const lookSQL = `
SELECT k.endpoint, k.queue, f.nth, (f.lsn - '0/0'::pg_lsn)::bigint, f.ordinal, l.nth, (l.lsn - '0/0'::pg_lsn)::bigint, l.ordinal, (s.lsn - '0/0'::pg_lsn)::bigint, s.ordinal
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[]) AS k(endpoint, queue, n, timed)
LEFT JOIN LATERAL (
  SELECT d.lsn, d.ordinal FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND d.queue = k.queue AND d.state = 'waiting' AND (d.blocked OR d.due IS NOT NULL)
    AND EXISTS (SELECT FROM {{schema}}.delivery x
      WHERE x.endpoint = ANY ($1) AND x.state = 'waiting' AND (x.blocked OR x.due IS NOT NULL))
  ORDER BY d.lsn, d.ordinal, d.id LIMIT 1) s ON true
LEFT JOIN LATERAL (
  SELECT d.nth, d.lsn, d.ordinal FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND d.queue = k.queue AND d.state = 'waiting' AND NOT d.blocked AND d.queue IS NOT NULL
  ORDER BY d.lsn DESC, d.ordinal DESC, d.id DESC LIMIT 1) l ON true
LEFT JOIN LATERAL (
  SELECT d.nth, d.lsn, d.ordinal FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND d.queue = k.queue AND d.state = 'waiting' AND NOT d.blocked AND d.queue IS NOT NULL
    AND (k.timed AND l.nth IS NOT NULL OR l.nth + k.n > $5)
  ORDER BY d.lsn, d.ordinal, d.id LIMIT 1) f ON true
WHERE l.nth IS NOT NULL OR s.lsn IS NOT NULL`

// look returns the states of the rows' queues, those that are known and those it asks for. Of an empty queue there is none.
func (s *Store) look(ctx context.Context, tx pgx.Tx, rows []newRow, known map[string]*remembered) (map[queueID]*queueState, error) {
	states := map[queueID]*queueState{}
	demands := slices.DeleteFunc(demandsOf(rows), func(d demand) bool {
		state := known[d.endpoint].queues[d.queue]
		if !state.suffices(d, int64(s.reach)) {
			return false
		}
		states[d.queueID] = state
		return true
	})
	for part := range pieces(demands) {
		if err := s.lookAt(ctx, tx, part, states); err != nil {
			return nil, fmt.Errorf("look at the queues: %w", err)
		}
	}
	return states, nil
}

// lookAt adds the states of the queues that are not empty.
func (s *Store) lookAt(ctx context.Context, tx pgx.Tx, demands []demand, states map[queueID]*queueState) error {
	n := len(demands)
	endpoints, queues, counts, timed := make([]string, n), make([]string, n), make([]int64, n), make([]bool, n)
	for i, d := range demands {
		endpoints[i], queues[i], counts[i], timed[i] = d.endpoint, d.queue, d.n, d.timed
	}
	found, err := tx.Query(ctx, s.sql(lookSQL), endpoints, queues, counts, timed, s.reach)
	if err != nil {
		return err
	}
	var id queueID
	var first, firstLSN, firstOrdinal, last, lastLSN, lastOrdinal, stuckLSN, stuckOrdinal *int64
	_, err = pgx.ForEachRow(found, []any{
		&id.endpoint, &id.queue, &first, &firstLSN, &firstOrdinal,
		&last, &lastLSN, &lastOrdinal, &stuckLSN, &stuckOrdinal,
	}, func() error {
		state := &queueState{
			first:      1, // the least it can be
			firstPlace: placeOf(firstLSN, firstOrdinal),
			lastPlace:  placeOf(lastLSN, lastOrdinal),
			stuck:      placeOf(stuckLSN, stuckOrdinal),
		}
		if first != nil {
			state.first, state.exact = *first, true
		}
		if last != nil {
			state.last = *last
		}
		states[id] = state
		return nil
	})
	return err
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

	blocked bool // the row at after is
}

// arrange decides for each row whether it is blocked, and returns the parts of queues that wait behind new rows. It brings
// the states up to date.
func arrange(rows []newRow, states map[queueID]*queueState, reach int) []span {
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
			state = &queueState{first: 1, exact: true}
			states[id] = state
		}
		older := state.lastPlace != nil && r.place().Before(*state.lastPlace)
		if older {
			ahead = append(ahead, span{queueID: id, after: r.place()}) // the first in order is the lowest: it covers the others
			state.lastPlace, state.mixed = nil, true
			if next := r.place().Next(); state.stuck == nil || next.Before(*state.stuck) {
				state.stuck = &next // what is held back in the table may come before the newer ones of this call
			}
		}
		state.last++
		r.nth = state.last
		r.blocked = state.blocks(r, int64(reach))
		if older {
			ahead[len(ahead)-1].blocked = r.blocked
		}
		place, due := r.place(), !r.Due.IsZero()
		if (r.blocked || due) && (state.stuck == nil || place.Before(*state.stuck)) {
			state.stuck = &place
		}
		switch {
		case r.blocked && due: // its turn comes when it is let through, and its attempt then says when the next may be
			without := *r.Parked
			without.Due = time.Time{}
			r.Parked = &without
		case !r.blocked && (state.firstPlace == nil || place.Before(*state.firstPlace)):
			state.firstPlace = &place
		}
		if !r.blocked {
			state.lastPlace = &place
		}
	}
	return ahead
}

// blocks reports whether a new row has to wait for another: for one that is stuck, for any if it waits for a time itself (of
// a queue only the first does), or because enough are readable. The first of a queue never has: nothing would let it through.
func (q *queueState) blocks(r *newRow, reach int64) bool {
	place := r.place()
	if q.stuck != nil && !place.Before(*q.stuck) {
		return true
	}
	return q.firstPlace != nil && !place.Before(*q.firstPlace) && (!r.Due.IsZero() || r.nth-q.first >= reach)
}

// holdBack blocks the readable rows of the spans; of a whole queue, all but the first that waits for a time.
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
UPDATE {{schema}}.delivery d SET blocked = true, due = NULL
FROM unnest($1::text[], $2::text[], $3::text[]::pg_lsn[], $4::bigint[], $5::boolean[]) AS k(endpoint, queue, lsn, ordinal, whole)
CROSS JOIN LATERAL (
  SELECT x.id FROM {{schema}}.delivery x
  WHERE x.endpoint = k.endpoint AND x.queue = k.queue AND x.state = 'waiting' AND NOT x.blocked AND x.queue IS NOT NULL
    AND CASE WHEN NOT k.whole THEN (x.lsn, x.ordinal) > (k.lsn, k.ordinal)
        ELSE x.id <> (SELECT h.id FROM {{schema}}.delivery h
          WHERE h.endpoint = k.endpoint AND h.queue = k.queue AND h.state = 'waiting' AND NOT h.blocked AND h.queue IS NOT NULL
            AND h.due IS NOT NULL
          ORDER BY h.lsn, h.ordinal, h.id LIMIT 1) END
  OFFSET 0) behind
WHERE d.id = behind.id`), endpoints, queues, lsns, ordinals, whole)
	if err != nil {
		return fmt.Errorf("hold back what is behind: %w", err)
	}
	return nil
}

// shut returns the queues of which nothing may be readable any more: all that was stood behind a new row that is blocked
// itself, by a dead one that waits again in its place.
func shut(spans []span) []queueID {
	var queues []queueID
	for _, sp := range spans {
		if sp.blocked {
			queues = append(queues, sp.queueID)
		}
	}
	return queues
}

func split(queues []queueID) (endpoints, names []string) {
	endpoints, names = make([]string, len(queues)), make([]string, len(queues))
	for i, q := range queues {
		endpoints[i], names[i] = q.endpoint, q.queue
	}
	return endpoints, names
}
