package cdc_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc"
)

// look returns a function that looks with one Lookout.
func (s *system) look() func() *cdc.Sight {
	s.t.Helper()
	lookout := cdc.NewLookout(s.src)
	s.t.Cleanup(lookout.Close)
	return func() *cdc.Sight {
		s.t.Helper()
		sight, err := lookout.Look(s.t.Context())
		require.NoError(s.t, err)
		return sight
	}
}

// The stream knows a table by its identity, and so does who watches it: nothing is missing, and nothing is to be replayed.
func TestLookout_TakesARenamedTableForWhatItIs(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run, look := s.stream(nil), s.look()
	run.until(cdc.StateStreaming)
	sight := look()
	require.NoError(t, sight.Publication)
	require.Empty(t, sight.Renamed)

	s.exec(`ALTER TABLE outbox RENAME TO events`)
	s.exec(`INSERT INTO events (type, key, payload) VALUES ('t', '1', '{}')`)
	run.wait(t, 1)
	sight = look()
	require.NoError(t, sight.Publication, "its rows come through")
	require.Equal(t, "public.outbox is public.events now", sight.Renamed)
	s.exec(`CREATE SCHEMA app`)
	s.exec(`ALTER TABLE events SET SCHEMA app`)
	sight = look()
	require.NoError(t, sight.Publication)
	require.Equal(t, "public.outbox is app.events now", sight.Renamed)

	// One that begins now knows no table of that name, and neither does the stream: both say where it may have gone.
	require.NoError(t, run.stop())
	for _, err := range []error{s.look()().Publication, func() error {
		old := s.stream(nil)
		eventually(t, "an error", func() bool { return old.Status().Err != nil })
		return old.Status().Err
	}()} {
		f := faultOf(t, err, cdc.FaultPublicationTable)
		require.Contains(t, f.Problem, "table public.outbox does not exist; publication relay contains app.events")
		require.Contains(t, f.Remedy, "if public.outbox was renamed, ")
		require.NotContains(t, f.Remedy, "ADD TABLE", "which the server would refuse")
	}

	// Another table in its place is not published, and its rows are missing indeed.
	s.exec(`CREATE TABLE outbox (LIKE app.events INCLUDING ALL)`)
	sight = look()
	require.Empty(t, sight.Renamed)
	require.Contains(t, faultOf(t, sight.Publication, cdc.FaultPublicationTable).Remedy, `ADD TABLE "public"."outbox"`)
	s.exec(`DROP TABLE outbox`)
	s.exec(`ALTER TABLE app.events SET SCHEMA public`)
	s.exec(`ALTER TABLE events RENAME TO outbox`)
	sight = look()
	require.NoError(t, sight.Publication)
	require.Empty(t, sight.Renamed)
	s.exec(`DROP TABLE outbox`)
	require.Contains(t, faultOf(t, look().Publication, cdc.FaultPublicationTable).Problem, "table public.outbox does not exist")
}

func TestLookout_ToldOfARenamedTableThatLeftThePublicationSaysSo(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	look := s.look()
	require.NoError(t, look().Publication)
	s.exec(`ALTER TABLE outbox RENAME TO events`)
	s.exec(`ALTER PUBLICATION relay DROP TABLE events`)
	sight := look()
	require.Empty(t, sight.Renamed)
	require.Error(t, sight.Publication)
}

func TestLookout_SeesTheSameFiltersWhateverTheirTableAndColumnsAreCalled(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	if s.version() < 15 {
		t.Skip("publications have lists of columns, and filters, from PostgreSQL 15")
	}
	s.exec(`CREATE TABLE other (n int)`)
	s.exec(`ALTER PUBLICATION relay SET TABLE outbox (id, type, key, payload) WHERE (type <> 'secret')`)
	look := s.look()
	before := look().Filters
	require.Equal(t, "only rows of public.outbox where (type <> 'secret'::text); only columns id, type, key, payload of public.outbox", before)
	for _, sql := range []string{
		`ALTER TABLE outbox RENAME TO events`, `ALTER TABLE events RENAME type TO kind`, `ALTER TABLE events RENAME payload TO body`,
		`ALTER TABLE events ADD more text`, `ALTER PUBLICATION relay ADD TABLE other WHERE (n > 1)`,
	} {
		s.exec(sql)
		require.Equal(t, before, look().Filters, sql)
	}
	s.exec(`ALTER PUBLICATION relay SET TABLE events (id, kind, key) WHERE (kind <> 'secret')`)
	require.Equal(t, "only rows of public.outbox where (kind <> 'secret'::text); only columns id, kind, key of public.outbox", look().Filters)
}

func TestPublication_SaysHowATableThatIsNotInItGetsThere(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`CREATE SCHEMA app;
		CREATE TABLE app.whole (LIKE outbox INCLUDING ALL);
		CREATE TABLE app.parts (id uuid, type text, key text, payload jsonb) PARTITION BY LIST (key);
		CREATE TABLE app.part PARTITION OF app.parts DEFAULT;
		CREATE UNLOGGED TABLE app.fleeting (LIKE outbox)`, pgx.QueryExecModeSimpleProtocol)
	viaRoot := `SET (publish_via_partition_root = true)`
	for name, tc := range map[string]struct {
		since              int
		publication, table string
		problem, remedy    string // neither: it is in it
	}{
		"all tables":                   {14, `FOR ALL TABLES`, "app.whole", "", ""},
		"all, partitioned":             {14, `FOR ALL TABLES`, "app.parts", "names of its partitions", viaRoot},
		"all, partitioned, by root":    {14, `FOR ALL TABLES WITH (publish_via_partition_root = true)`, "app.parts", "", ""},
		"all, partition":               {14, `FOR ALL TABLES`, "app.part", "", ""},
		"all, partition by root":       {14, `FOR ALL TABLES WITH (publish_via_partition_root = true)`, "app.part", "under the name of app.parts", "name app.parts"},
		"all, no such table":           {14, `FOR ALL TABLES`, "app.none", "table app.none does not exist", "if app.none was renamed"},
		"all, unlogged":                {14, `FOR ALL TABLES`, "app.fleeting", "unlogged", "SET LOGGED"},
		"schema":                       {15, `FOR TABLES IN SCHEMA app`, "app.whole", "", ""},
		"schema, partitioned":          {15, `FOR TABLES IN SCHEMA app`, "app.parts", "names of its partitions", viaRoot},
		"schema, partitioned, by root": {15, `FOR TABLES IN SCHEMA app WITH (publish_via_partition_root = true)`, "app.parts", "", ""},
		"schema, partition by root":    {15, `FOR TABLES IN SCHEMA app WITH (publish_via_partition_root = true)`, "app.part", "under the name of app.parts", "name app.parts"},
		"another schema":               {15, `FOR TABLES IN SCHEMA app`, "public.outbox", "does not contain table public.outbox", `ADD TABLE "public"."outbox"`},
		"table":                        {14, `FOR TABLE app.whole`, "app.whole", "", ""},
		"another table":                {14, `FOR TABLE app.whole`, "public.outbox", "does not contain table public.outbox", `ADD TABLE "public"."outbox"`},
		"partitioned":                  {14, `FOR TABLE app.parts`, "app.parts", "names of its partitions", viaRoot},
		"partitioned, by root":         {14, `FOR TABLE app.parts WITH (publish_via_partition_root = true)`, "app.parts", "", ""},
		"partition by its root":        {14, `FOR TABLE app.parts WITH (publish_via_partition_root = true)`, "app.part", "under the name of app.parts", "name app.parts"},
		"partition of a table":         {14, `FOR TABLE app.parts`, "app.part", "", ""},
	} {
		if s.version() < tc.since {
			continue
		}
		s.exec(`DROP PUBLICATION IF EXISTS theirs`)
		s.exec(`CREATE PUBLICATION theirs ` + tc.publication)
		src := s.src // the other publication has the outbox, and is none of its business
		src.Publication, src.Tables = "theirs", []cdc.SourceTable{{Name: tc.table}}
		lookout := cdc.NewLookout(src)
		sight, err := lookout.Look(t.Context())
		lookout.Close()
		require.NoError(t, err, name)
		failures := problems(cdc.Inspect(t.Context(), src), cdc.LevelError)
		if tc.problem == "" {
			require.NoError(t, sight.Publication, name)
			require.NotContains(t, failures, "publication theirs", name)
			continue
		}
		require.ErrorContains(t, sight.Publication, tc.problem, name)
		require.ErrorContains(t, sight.Publication, tc.remedy, name)
		require.Contains(t, failures, tc.problem, name)
		require.Contains(t, failures, tc.remedy, name)
	}
}
