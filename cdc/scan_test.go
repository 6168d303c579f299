package cdc_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc"
)

// scan returns the rows of a range.
func (s *system) scan(r cdc.Range) []*cdc.Row {
	s.t.Helper()
	var rows []*cdc.Row
	require.NoError(s.t, cdc.Scan(s.t.Context(), s.src, r, func(row *cdc.Row) error {
		rows = append(rows, row)
		return nil
	}))
	return rows
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestScan_ReadsRowsAsTheStreamSendsThem(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`CREATE TYPE mood AS ENUM ('sad', 'happy')`)
	s.exec(`CREATE DOMAIN short AS varchar(20)`)
	s.exec(`CREATE TABLE rich (id bigint, type text, key text, payload bytea, headers jsonb, at timestamptz, n numeric, f float8,
		m mood, s short, a int[], iv interval, d date, ts timestamp, u uuid, b bool, made int GENERATED ALWAYS AS (1) STORED, "odd ""name" char(5))`)
	s.exec(`ALTER PUBLICATION relay ADD TABLE rich`)
	s.src.Tables = []cdc.SourceTable{{Name: "public.rich", Columns: map[string]string{"time": "at"}}}
	s.exec(`INSERT INTO rich VALUES (1, 't', NULL, '\x00ff', '{"a": 1.50}', '2026-03-01 12:00:00.123456+05', 1.10, 0.1, 'happy', 'x',
		'{1,NULL,3}', '1 day 02:03:04', '2026-01-02', '2026-01-02 03:04:05', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', true, DEFAULT, 'ab')`)
	want := s.stream(nil).wait(t, 1)[0]

	got := s.scan(cdc.Range{})
	require.Len(t, got, 1)
	require.Equal(t, want.Table, got[0].Table)
	require.Equal(t, want.Values, got[0].Values)
	require.Zero(t, got[0].Place)
	require.WithinDuration(t, time.Now(), got[0].CommitTime, time.Minute)
}

func TestScan_SendsNoColumnAndNoRowThatThePublicationKeepsBack(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	if version := s.conn.PgConn().ParameterStatus("server_version"); version < "15" {
		t.Skip("publications have lists of columns, and filters, from PostgreSQL 15")
	}
	s.exec(`ALTER TABLE outbox ADD secret text, ADD tenant int`)
	s.exec(`ALTER PUBLICATION relay SET TABLE outbox (id, type, key, payload, created_at, tenant) WHERE (tenant = 1)`)
	s.exec(`INSERT INTO outbox (type, key, payload, secret, tenant) VALUES ('a', 'mine', '{}', 's', 1), ('a', 'theirs', '{}', 's', 2)`)
	rows := s.scan(cdc.Range{})
	require.Equal(t, []string{"mine"}, column(t, rows, "key"))
	require.Negative(t, rows[0].Table.Column("secret"))
	require.Negative(t, rows[0].Table.Column("headers"))
}

func TestScan_IsInOrderOfTimeThenIDOverAllTablesWithinTheRange(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`CREATE SCHEMA "Odd.S"`)
	s.exec(`CREATE TABLE parts (id int, type text, key text, payload json, "when" timestamp) PARTITION BY RANGE (id)`)
	s.exec(`CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)`)
	s.exec(`CREATE TABLE parts_high PARTITION OF parts DEFAULT`)
	s.exec(`CREATE TABLE heir () INHERITS (outbox)`)
	s.src.Tables = append(s.src.Tables, cdc.SourceTable{Name: "public.parts", Columns: map[string]string{"time": "when"}})
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	for i, key := range []string{"0", "2", "4", "6"} {
		s.exec(`INSERT INTO outbox (type, key, payload, created_at) VALUES ('t', $1, '{}', $2)`, key, at(2*i))
	}
	s.exec(`INSERT INTO parts VALUES (11, 't', '3b', '{}', $1), (9, 't', '3a', '{}', $1), (1, 't', '1', '{}', $2), (2, 't', 'none', '{}', NULL)`,
		at(3), at(1))
	s.exec(`INSERT INTO heir (type, key, payload, created_at) VALUES ('t', 'heir', '{}', $1)`, at(2))

	require.Equal(t, []string{"0", "1", "2", "3a", "3b", "4", "6"}, column(t, s.scan(cdc.Range{}), "key"))
	require.Equal(t, []string{"2", "3a", "3b"}, column(t, s.scan(cdc.Range{Since: at(2), Until: at(4)}), "key"))
	require.Empty(t, s.scan(cdc.Range{Since: at(7)}))
}

func TestScan_TakesNoMemoryForABigTable(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	const n = 200_000
	s.exec(`INSERT INTO outbox (type, key, payload, created_at) SELECT 't', g::text, jsonb_build_object('pad', repeat('x', 500)),
		'2026-01-01'::timestamptz + g * interval '1 ms' FROM generate_series(1, $1) g`, n)
	seen, most := 0, uint64(0)
	require.NoError(t, cdc.Scan(t.Context(), s.src, cdc.Range{}, func(row *cdc.Row) error {
		seen++
		if got := string(row.Values[row.Table.Column("key")]); got != fmt.Sprint(seen) {
			return fmt.Errorf("got key %s, want %d", got, seen)
		}
		if seen%20_000 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	}))
	require.Equal(t, n, seen)
	require.Less(t, most, uint64(64<<20), "the rows are over 100 MB")
}

// Small rows say nothing about those after them: how many are asked for at once must not follow from them alone.
func TestScan_TakesNoMemoryForLargeRowsAfterManySmallOnes(t *testing.T) { //nolint:paralleltest // measures memory
	const small, large, size = 6000, 150, 512 << 10
	for name, tc := range map[string]struct {
		tables int
		most   int64
	}{
		"one table, row by row": {1, 12 << 20},
		"two, in turns":         {2, 2*64*size + 12<<20}, // what is left of a fetch is in memory while the other is read
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // measures memory
			s := fresh(t)
			for i := range tc.tables {
				table := "outbox"
				if i > 0 {
					table = fmt.Sprint("outbox_", i)
					s.exec(`CREATE TABLE ` + table + ` (LIKE outbox INCLUDING ALL)`)
					s.exec(`ALTER PUBLICATION relay ADD TABLE ` + table)
					s.src.Tables = append(s.src.Tables, cdc.SourceTable{Name: "public." + table})
				}
				s.exec(`INSERT INTO `+table+` (type, payload, created_at) SELECT 't', jsonb_build_object('pad', repeat('x', CASE WHEN g > $1 THEN $3::int ELSE 300 END)),
					'2026-01-01'::timestamptz + g * interval '1 ms' FROM generate_series(1, $1::int + $2::int) g`, small, large, size)
			}
			heap := func() int64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return int64(m.HeapAlloc)
			}
			seen, before, most := 0, heap(), int64(0)
			require.NoError(t, cdc.Scan(t.Context(), s.src, cdc.Range{}, func(row *cdc.Row) error {
				if seen++; row.Size() >= size && seen%5 == 0 {
					most = max(most, heap())
				}
				return nil
			}))
			require.Equal(t, tc.tables*(small+large), seen)
			t.Logf("at most %d MiB", (most-before)>>20)
			require.Less(t, most-before, tc.most)
		})
	}
}

func TestScan_EndsWithTheErrorOfItsReader(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`INSERT INTO outbox (type, payload) SELECT 't', '{}' FROM generate_series(1, 100)`)
	enough := errors.New("enough")
	require.ErrorIs(t, cdc.Scan(t.Context(), s.src, cdc.Range{}, func(*cdc.Row) error { return enough }), enough)
}

func TestScan_NamesWhatIsInTheWayWithItsRemedy(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`CREATE TABLE timeless (id int, type text, payload json)`)
	s.exec(`CREATE TABLE wrong (id int, type text, payload json, created_at text)`)
	role := "reader_" + s.src.Slot
	s.exec(`CREATE ROLE ` + role + ` LOGIN`)
	t.Cleanup(func() {
		_, err := s.conn.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	})
	for _, statement := range []string{
		`CREATE TABLE secured (LIKE outbox)`, `ALTER TABLE secured ENABLE ROW LEVEL SECURITY`, `GRANT SELECT ON secured TO ` + role,
	} {
		s.exec(statement)
	}
	for name, tc := range map[string]struct {
		table, role string
		says        []string
	}{
		"no such table":  {"public.none", "", []string{"public.none does not exist"}},
		"no time":        {"public.timeless", "", []string{`no column "created_at"`, "columns: {time: …}"}},
		"not a time":     {"public.wrong", "", []string{"of type text"}},
		"not readable":   {"public.outbox", role, []string{"cannot be read", "GRANT SELECT"}},
		"row protection": {"public.secured", role, []string{"BYPASSRLS"}},
	} {
		src := s.src
		src.Tables = []cdc.SourceTable{{Name: tc.table}}
		if tc.role != "" {
			src.URL += sep(src.URL) + "user=" + tc.role
		}
		err := cdc.Scan(t.Context(), src, cdc.Range{}, func(*cdc.Row) error { return nil })
		require.Error(t, err, name)
		for _, says := range tc.says {
			require.ErrorContains(t, err, says, name)
		}
	}
}

func TestScan_OfTheNewestEndsWithTheNewest(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`INSERT INTO outbox (type, key, payload, created_at) SELECT 't', g::text, '{}', '2026-03-01Z'::timestamptz + g * interval '1 s' FROM generate_series(1, 100) g`)
	require.Equal(t, []string{"98", "99", "100"}, column(t, s.scan(cdc.Range{Newest: 3}), "key"))
	require.Len(t, s.scan(cdc.Range{Newest: 1000}), 100)
	s.exec(`ALTER TABLE outbox DROP created_at`)
	s.exec(`INSERT INTO outbox (type, key, payload) VALUES ('t', 'last', '{}')`)
	require.Equal(t, "last", column(t, s.scan(cdc.Range{Newest: 2}), "key")[1])
}

// left waits until the server has none of relay's sessions in the database any more, and so none of its transactions.
func (s *system) left() {
	s.t.Helper()
	eventually(s.t, "no session of relay's", func() bool {
		var n int
		require.NoError(s.t, s.conn.QueryRow(s.t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'relay'`).Scan(&n))
		return n == 0
	})
}

// Rows that are large beside what a connection holds: the server stands in the middle of sending them when the scan ends.
func TestScan_LeavesNothingBehindHoweverItEnds(t *testing.T) {
	t.Parallel()
	const rows = 64
	s := fresh(t)
	s.exec(`CREATE TABLE second (LIKE outbox INCLUDING ALL)`)
	s.exec(`ALTER PUBLICATION relay ADD TABLE second`)
	s.src.Tables = append(s.src.Tables, cdc.SourceTable{Name: "public.second"})
	for _, table := range []string{"outbox", "second"} {
		s.exec(`INSERT INTO `+table+` (type, key, payload, created_at) SELECT 't', g::text, jsonb_build_object('pad', repeat('x', 1 << 20)),
			'2026-01-01'::timestamptz + g * interval '1 s' FROM generate_series(1, $1) g`, rows)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, tc := range []struct {
		name, condition string
		third           func() error // at the third row
		is              error
		says            string
		most            int // rows handed over
	}{
		{"its reader has enough", "", func() error { return enough }, enough, "enough", 3},
		{"its session is ended", "", func() error {
			s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'relay'`)
			return nil
		}, nil, "read table public.", 2*rows - 1},
		{"a row cannot be read", "1 / (key::int - 50) < 5", nil, nil, "division by zero", 2*50 - 1},
		{"its condition is not SQL", "of no use", nil, nil, "syntax error", 0},
		{"nothing is in its way", "", nil, nil, "", 2 * rows},
		{"it is cancelled", "", func() error { cancel(); return nil }, context.Canceled, "read table public.", 2*rows - 1},
	} {
		seen := 0
		err := cdc.Scan(ctx, s.src, cdc.Range{Condition: tc.condition}, func(row *cdc.Row) error {
			seen++
			require.Equal(t, fmt.Sprint((seen+1)/2), string(row.Values[row.Table.Column("key")]), tc.name)
			if seen == 3 && tc.third != nil {
				return tc.third()
			}
			return nil
		})
		require.LessOrEqual(t, seen, tc.most, tc.name)
		if tc.says == "" {
			require.NoError(t, err, tc.name)
			require.Equal(t, tc.most, seen, tc.name)
		} else {
			require.ErrorContains(t, err, tc.says, tc.name)
		}
		if tc.is != nil {
			require.ErrorIs(t, err, tc.is, tc.name)
		}
		s.left()
	}
}
