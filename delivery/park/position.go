package park

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"relay/mapping"
)

// Origin is what positions are of: a slot of a cluster. Those of another mean nothing, and are not applied: a rebuilt
// cluster counts its LSNs from the start.
type Origin struct {
	System string // the cluster's system identifier
	Slot   string
}

// LoadPositions returns how far each endpoint is settled, for the endpoints whose position is of this origin.
func (s *Store) LoadPositions(ctx context.Context, origin Origin) (map[string]mapping.Position, error) {
	found, err := s.pool.Query(ctx, s.sql(`SELECT endpoint, (lsn - '0/0'::pg_lsn)::bigint, ordinal, open, beyond FROM {{schema}}.position
WHERE slot = $1 AND system_id = $2`), origin.Slot, origin.System)
	if err != nil {
		return nil, fmt.Errorf("load positions: %w", err)
	}
	positions := map[string]mapping.Position{}
	var endpoint, open, beyond string
	var lsn, ordinal int64
	_, err = pgx.ForEachRow(found, []any{&endpoint, &lsn, &ordinal, &open, &beyond}, func() error {
		p := mapping.Position{Mark: *placeOf(&lsn, &ordinal)}
		var err error
		if p.Open, err = parsePlaces(open); err != nil {
			return err
		}
		p.Beyond, err = parsePlaces(beyond)
		positions[endpoint] = p
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load positions: %w", err)
	}
	return positions, nil
}

// SavePositions saves those of the endpoints given. One that is ahead already is left as it is, because what is settled
// stays settled; but one of another origin is replaced.
func (s *Store) SavePositions(ctx context.Context, origin Origin, positions map[string]mapping.Position) error {
	if len(positions) == 0 {
		return nil
	}
	var endpoints, lsns, opens, beyonds []string
	var ordinals []int64
	for endpoint, p := range positions {
		endpoints, lsns = append(endpoints, endpoint), append(lsns, p.Mark.Commit.String())
		ordinals = append(ordinals, int64(p.Mark.Ordinal))
		opens, beyonds = append(opens, formatPlaces(p.Open)), append(beyonds, formatPlaces(p.Beyond))
	}
	err := s.write(ctx, nil, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, s.sql(`
INSERT INTO {{schema}}.position AS p (endpoint, lsn, ordinal, open, beyond, slot, system_id)
SELECT i.endpoint, i.lsn, i.ordinal, i.open, i.beyond, $6, $7
FROM unnest($1::text[], $2::text[]::pg_lsn[], $3::bigint[], $4::text[], $5::text[]) AS i(endpoint, lsn, ordinal, open, beyond)
ORDER BY i.endpoint
ON CONFLICT (endpoint) DO UPDATE SET lsn = excluded.lsn, ordinal = excluded.ordinal, open = excluded.open, beyond = excluded.beyond,
  slot = excluded.slot, system_id = excluded.system_id, saved_at = now()
WHERE (p.lsn, p.ordinal) <= (excluded.lsn, excluded.ordinal) OR p.slot <> excluded.slot OR p.system_id <> excluded.system_id`),
			endpoints, lsns, ordinals, opens, beyonds, origin.Slot, origin.System)
		return err
	})
	if err != nil {
		return fmt.Errorf("save positions: %w", err)
	}
	return nil
}

// Reconcile returns the positions with what is in the table settled as well. The slot's stream may bring it again: it was parked
// after the position was saved. Called before anything is delivered; what the stream cannot bring is left out, of which
// there may be millions of rows.
func (s *Store) Reconcile(ctx context.Context, origin Origin, positions map[string]mapping.Position) (map[string]mapping.Position, error) {
	var marked, open []seat
	for endpoint, p := range positions {
		marked = append(marked, seat{endpoint, p.Mark})
		for _, place := range p.Open {
			open = append(open, seat{endpoint, place})
		}
	}
	there := make(map[string][]mapping.Place)
	endpoints, lsns, ordinals := columnsOf(marked)
	found, err := s.pool.Query(ctx, s.sql(fromSQL), endpoints, lsns, ordinals, origin.Slot)
	if err == nil {
		err = eachPlace(found, func(endpoint string, place mapping.Place) {
			if mapping.InStream(place) {
				there[endpoint] = append(there[endpoint], place)
			}
		})
	}
	parked := make(map[seat]int64)
	if err == nil {
		err = s.find(ctx, s.pool, open, parked)
	}
	for p := range parked {
		there[p.endpoint] = append(there[p.endpoint], p.place)
	}
	if err != nil {
		return nil, fmt.Errorf("look for what is parked from the positions on: %w", err)
	}
	reconciled := make(map[string]mapping.Position, len(positions))
	for endpoint, p := range positions {
		reconciled[endpoint] = p.With(there[endpoint])
	}
	return reconciled, nil
}

// A slot sends nothing that was committed before its confirmed LSN, and one that is yet to be made nothing from before now.
const fromSQL = `
SELECT k.endpoint, (l.lsn - '0/0'::pg_lsn)::bigint, l.ordinal
FROM unnest($1::text[], $2::text[]::pg_lsn[], $3::bigint[]) AS k(endpoint, lsn, ordinal)
CROSS JOIN (SELECT coalesce((SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $4), pg_current_wal_insert_lsn()) AS lsn) c
CROSS JOIN LATERAL (
  SELECT d.lsn, d.ordinal FROM {{schema}}.delivery d
  WHERE d.endpoint = k.endpoint AND (d.lsn, d.ordinal) >= (k.lsn, k.ordinal) AND d.lsn >= c.lsn AND d.lsn > '0/0') l`

// DeletePositions deletes the positions of the endpoints, or with none all of them. A slot made anew, or a
// position that should go back, starts from this.
func (s *Store) DeletePositions(ctx context.Context, endpoints ...string) error {
	err := s.write(ctx, nil, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, s.sql(`DELETE FROM {{schema}}.position WHERE endpoint = ANY ($1) OR $2`), slices.Concat([]string{}, endpoints), len(endpoints) == 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete positions: %w", err)
	}
	return nil
}

// Adopt makes what another cluster has left, from which this one was restored or upgraded, fit for this one: positions are
// forgotten and what is parked is taken out of the stream's order. It reports whether there was anything.
func (s *Store) Adopt(ctx context.Context, origin Origin) (bool, error) {
	var foreign bool
	err := s.pool.QueryRow(ctx, s.sql(`SELECT EXISTS (SELECT FROM {{schema}}.position WHERE system_id <> $1)`), origin.System).Scan(&foreign)
	if err != nil {
		return false, fmt.Errorf("look for positions of another cluster: %w", err)
	}
	if !foreign {
		return false, nil
	}
	if err := s.Unplace(ctx); err != nil {
		return false, err
	}
	if _, err := s.pool.Exec(ctx, s.sql(`DELETE FROM {{schema}}.position WHERE system_id <> $1`), origin.System); err != nil {
		return false, fmt.Errorf("forget positions of another cluster: %w", err)
	}
	return true, nil
}

// Unplace takes what is parked out of the stream's order, keeping its own. Needed when the cluster was rebuilt: places of
// the old one would be taken for the new one's, and a new event for a resend.
func (s *Store) Unplace(ctx context.Context) error {
	endpoints, err := s.endpointNames(ctx, Filter{})
	if err != nil {
		return err
	}
	err = s.write(ctx, endpoints, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, s.sql(`
UPDATE {{schema}}.delivery d SET lsn = '0/0', ordinal = n.ordinal
FROM (SELECT id, row_number() OVER (PARTITION BY endpoint ORDER BY lsn, ordinal, id) AS ordinal FROM {{schema}}.delivery) n
WHERE d.id = n.id`))
		return err
	})
	if err != nil {
		return fmt.Errorf("take parked deliveries out of the stream: %w", err)
	}
	return nil
}

// formatPlaces writes places in ascending order as lsn+ordinal, separated by blanks; of one in the transaction of the place
// before it +n, by how much its ordinal is higher.
func formatPlaces(places []mapping.Place) string {
	b := make([]byte, 0, 4*len(places))
	var last mapping.Place
	for i, p := range places {
		if i > 0 {
			b = append(b, ' ')
		}
		ordinal := p.Ordinal
		if i > 0 && p.Commit == last.Commit {
			ordinal -= last.Ordinal
		} else {
			b = append(b, p.Commit.String()...)
		}
		b = strconv.AppendUint(append(b, '+'), uint64(ordinal), 10)
		last = p
	}
	return string(b)
}

func parsePlaces(text string) ([]mapping.Place, error) {
	var places []mapping.Place
	var last mapping.Place
	for field := range strings.FieldsSeq(text) {
		lsn, ordinal, _ := strings.Cut(field, "+")
		n, err := strconv.ParseUint(ordinal, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("place %q: %w", field, err)
		}
		p := mapping.Place{Commit: last.Commit, Ordinal: last.Ordinal + uint32(n)}
		if lsn != "" {
			p.Ordinal = uint32(n)
			if err := p.Commit.Scan(lsn); err != nil {
				return nil, fmt.Errorf("place %q: %w", field, err)
			}
		}
		places = append(places, p)
		last = p
	}
	return places, nil
}
