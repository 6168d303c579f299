package cdc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

func asFault(err error, f **cdc.Fault) bool { return errors.As(err, f) }

// problems joins the findings of a level, each with its remedy.
func problems(findings []cdc.Finding, level string) string {
	var lines []string
	for _, f := range findings {
		if f.Level == level {
			lines = append(lines, f.Subject+": "+f.Problem+" → "+f.Remedy)
		}
	}
	return strings.Join(lines, "\n")
}

func TestInspect_FindsNothingAfterSetup(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	findings := cdc.Inspect(t.Context(), s.src)
	require.Empty(t, problems(findings, cdc.LevelError))
	require.Regexp(t, `^max_slot_wal_keep_size: is not set: .*$`, problems(findings, cdc.LevelWarning), "the server's default, and nothing else")
	require.Len(t, findings, 8)
}

func TestInspect_NamesEachFaultWithItsRemedy(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`CREATE TABLE wrong (id int, type text, payload int, headers text, created_at text)`)
	s.exec(`CREATE UNLOGGED TABLE unlogged (id int, type text, payload json)`)
	s.exec(`CREATE VIEW seen AS SELECT * FROM outbox`)
	s.exec(`CREATE TABLE parts (id int, type text, payload json) PARTITION BY LIST (type)`)
	s.exec(`CREATE TABLE parts_a PARTITION OF parts DEFAULT`)
	s.exec(`CREATE TABLE made (id int, type text GENERATED ALWAYS AS ('x') STORED, payload json)`)
	s.exec(`ALTER PUBLICATION relay ADD TABLE parts`)
	s.exec(`ALTER PUBLICATION relay SET (publish = 'insert, delete', publish_via_partition_root = false)`)
	src := s.src
	src.Messages = []string{"relay"}
	src.Tables = append(src.Tables,
		cdc.SourceTable{Name: "public.wrong", Columns: map[string]string{"key": "aggregateid"}, Named: map[string]bool{"key": true}},
		cdc.SourceTable{Name: "public.unlogged"}, cdc.SourceTable{Name: "public.seen"}, cdc.SourceTable{Name: "public.parts"},
		cdc.SourceTable{Name: "public.absent"}, cdc.SourceTable{Name: "public.made"},
	)
	findings := cdc.Inspect(t.Context(), src)
	failures := problems(findings, cdc.LevelError)
	for _, want := range []string{
		`table public.wrong has no column "aggregateid"`, `ADD COLUMN "aggregateid" text`,
		`column "payload" of public.wrong is of type integer`, `column "headers" of public.wrong is of type text`, `column "created_at" of public.wrong is of type text`,
		`ALTER TABLE "public"."unlogged" SET LOGGED`, `public.seen is not a table`, `table public.absent does not exist`, `relay setup`,
		`column "type" of public.made is generated`, `ALTER PUBLICATION "relay" ADD TABLE "public"."wrong"`,
		`ALTER PUBLICATION "relay" SET (publish_via_partition_root = true)`,
	} {
		require.Contains(t, failures, want)
	}
	warnings := problems(findings, cdc.LevelWarning)
	require.Contains(t, warnings, "SET (publish = 'insert')")
	require.Contains(t, warnings, "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean,text,bytea")

	src.Slot, src.Publication = "absent", "absent"
	failures = problems(cdc.Inspect(t.Context(), src), cdc.LevelError)
	require.Contains(t, failures, "replication slot absent does not exist")
	require.Contains(t, failures, "publication absent does not exist")

	src.URL = "postgres://postgres:secret@127.0.0.1:1/postgres"
	failures = problems(cdc.Inspect(t.Context(), src), cdc.LevelError)
	require.Contains(t, failures, "no connection to 127.0.0.1:1")
	require.NotContains(t, failures, "secret")
}

// relay setup would make an empty table in its place, and a relay that runs with the old name would then pass over what is in the other.
func TestInspect_DoesNotTakeARenamedTableForOneThatIsToBeMade(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`ALTER TABLE outbox RENAME TO events`)
	failures := problems(cdc.Inspect(t.Context(), s.src), cdc.LevelError)
	require.Equal(t, 1, strings.Count(failures, "does not exist"), "said once: %s", failures)
	require.Contains(t, failures, "table public.outbox does not exist; publication relay contains public.events → if public.outbox was renamed, ")
	require.NotContains(t, failures, "CREATE TABLE")
	s.exec(`DROP TABLE events`)
	require.Contains(t, problems(cdc.Inspect(t.Context(), s.src), cdc.LevelError), "table public.outbox does not exist → relay setup, or: CREATE TABLE")
}

func TestSetup_MayBeRunAgainAndAddsTables(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := setup(t, url)
	done, err := cdc.Setup(t.Context(), s.src)
	require.NoError(t, err)
	require.Empty(t, done)
	s.src.Tables = append(s.src.Tables, cdc.SourceTable{Name: `public.Odd "name"`})
	done, err = cdc.Setup(t.Context(), s.src)
	require.NoError(t, err)
	require.Len(t, done, 2)
	require.Contains(t, done[1], `added table public.Odd "name" to publication relay`)
	require.Empty(t, problems(cdc.Inspect(t.Context(), s.src), cdc.LevelError))

	s.src.Tables = []cdc.SourceTable{{Name: "public.events", Columns: map[string]string{"key": "aggregateid"}}}
	_, err = cdc.Setup(t.Context(), s.src)
	requireFault(t, err, cdc.FaultTable)
}

// A table that was renamed is missing under the name that the file has.
func TestSetup_SaysThatATableItMakesMayBeThereUnderAnotherName(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec("ALTER TABLE outbox RENAME TO events")
	done, err := cdc.Setup(t.Context(), s.src)
	require.NoError(t, err)
	require.Contains(t, strings.Join(done, "\n"), "contains public.events: if one of them is public.outbox under a new name")
}

func TestSetup_DoesNotAddATableWhoseSchemaThePublicationHas(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	if s.version() < 15 {
		t.Skip("PostgreSQL 14 has no schemas in publications")
	}
	s.exec("DROP PUBLICATION " + s.src.Publication)
	s.exec("CREATE PUBLICATION " + s.src.Publication + " FOR TABLES IN SCHEMA public WITH (publish = 'insert')")
	done, err := cdc.Setup(t.Context(), s.src)
	require.NoError(t, err)
	require.Empty(t, done)
}

func TestSetup_NamesWhoHoldsUpTheSlot(t *testing.T) {
	t.Parallel()
	c := pgtest.Cluster(t, pgtemp.Options{})
	conn := dial(t, c.URL("postgres"))
	_, err := conn.Exec(t.Context(), "CREATE TABLE held (); BEGIN; CREATE TABLE open ()", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	src := cdc.Source{URL: c.URL("postgres"), Slot: "relay", Publication: "relay", Tables: []cdc.SourceTable{{Name: "public.outbox"}}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = cdc.Setup(ctx, src)
	fault := faultOf(t, err, cdc.FaultSlotBlocked)
	require.Contains(t, fault.Problem, "idle in transaction")
	_, err = conn.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	done, err := cdc.Setup(t.Context(), src)
	require.NoError(t, err)
	require.Equal(t, []string{"created replication slot relay"}, done)
}

func TestTeardown_LeavesAnActiveSlotAlone(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run := s.stream(nil)
	run.until(cdc.StateStreaming)
	_, err := cdc.Teardown(t.Context(), s.src)
	requireFault(t, err, cdc.FaultSlotActive)
	require.NoError(t, run.stop())
	var done []string
	eventually(t, "teardown", func() bool {
		done, err = cdc.Teardown(t.Context(), s.src)
		return err == nil
	})
	require.Equal(t, []string{"dropped replication slot " + s.src.Slot, "dropped publication relay"}, done)
	done, err = cdc.Teardown(t.Context(), s.src)
	require.NoError(t, err)
	require.Empty(t, done)
}

func TestSetupSQL_IsEnoughForTheRoleItNames(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	conn := dial(t, url)
	role := `odd "role" $relay$` + time.Now().Format("150405.000000")
	src := cdc.Source{
		URL: url + sep(url) + "user=" + strings.NewReplacer(" ", "%20", `"`, "%22", "$", "%24").Replace(role), Slot: "print_" + conn.Config().Database, Publication: `odd "publication"`, Schema: "relay",
		Tables: []cdc.SourceTable{{Name: "public.outbox"}},
	}
	sql, err := cdc.SetupSQL(src)
	require.NoError(t, err)
	for range 2 { // it may be run again
		for _, statement := range pgtest.Statements(sql) {
			_, err := conn.Exec(t.Context(), statement)
			require.NoError(t, err, statement)
		}
	}
	t.Cleanup(func() {
		quoted := pgx.Identifier{role}.Sanitize()
		_, err := conn.Exec(context.Background(), "DROP OWNED BY "+quoted+" CASCADE; DROP ROLE "+quoted, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	})
	require.Empty(t, problems(cdc.Inspect(t.Context(), src), cdc.LevelError))
	done, err := cdc.Setup(t.Context(), src)
	require.NoError(t, err)
	require.Empty(t, done)
	s := &system{t: t, src: src, conn: conn}
	run := s.stream(nil)
	s.write(1, 2)
	requireOnceInOrder(t, run.wait(t, 2), 2)
	require.NoError(t, run.stop())
}
