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
	found, err := s.pool.Query(ctx, s.sql(`SELECT endpoint, (lsn - '0/0'::pg_lsn)::bigint, ordinal, open FROM {{schema}}.position
WHERE slot = $1 AND system_id = $2`), origin.Slot, origin.System)
	if err != nil {
		return nil, fmt.Errorf("load positions: %w", err)
	}
	positions := map[string]mapping.Position{}
	var endpoint, open string
	var lsn, ordinal int64
	_, err = pgx.ForEachRow(found, []any{&endpoint, &lsn, &ordinal, &open}, func() error {
		places, err := parseOpen(open)
		positions[endpoint] = mapping.Position{Mark: *placeOf(&lsn, &ordinal), Open: places}
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
	var endpoints, lsns, opens []string
	var ordinals []int64
	for endpoint, p := range positions {
		endpoints, lsns = append(endpoints, endpoint), append(lsns, p.Mark.Commit.String())
		ordinals, opens = append(ordinals, int64(p.Mark.Ordinal)), append(opens, formatOpen(p.Open))
	}
	err := s.write(ctx, nil, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, s.sql(`
INSERT INTO {{schema}}.position AS p (endpoint, lsn, ordinal, open, slot, system_id)
SELECT i.endpoint, i.lsn, i.ordinal, i.open, $5, $6
FROM unnest($1::text[], $2::text[]::pg_lsn[], $3::bigint[], $4::text[]) AS i(endpoint, lsn, ordinal, open)
ORDER BY i.endpoint
ON CONFLICT (endpoint) DO UPDATE SET lsn = excluded.lsn, ordinal = excluded.ordinal, open = excluded.open,
  slot = excluded.slot, system_id = excluded.system_id, saved_at = now()
WHERE (p.lsn, p.ordinal) <= (excluded.lsn, excluded.ordinal) OR p.slot <> excluded.slot OR p.system_id <> excluded.system_id`),
			endpoints, lsns, ordinals, opens, origin.Slot, origin.System)
		return err
	})
	if err != nil {
		return fmt.Errorf("save positions: %w", err)
	}
	return nil
}

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

// formatOpen writes places in ascending order as lsn+ordinal, separated by blanks; of one in the transaction of the place
// before it +n, by how much its ordinal is higher.
func formatOpen(places []mapping.Place) string {
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

func parseOpen(text string) ([]mapping.Place, error) {
	var places []mapping.Place
	var last mapping.Place
	for field := range strings.FieldsSeq(text) {
		lsn, ordinal, _ := strings.Cut(field, "+")
		n, err := strconv.ParseUint(ordinal, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("open place %q: %w", field, err)
		}
		p := mapping.Place{Commit: last.Commit, Ordinal: last.Ordinal + uint32(n)}
		if lsn != "" {
			p.Ordinal = uint32(n)
			if err := p.Commit.Scan(lsn); err != nil {
				return nil, fmt.Errorf("open place %q: %w", field, err)
			}
		}
		places = append(places, p)
		last = p
	}
	return places, nil
}
