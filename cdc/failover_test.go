package cdc_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/cdc/cdctest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// failoverCluster is one of a version whose slots fail over.
func failoverCluster(t *testing.T) *pgtemp.Cluster {
	t.Helper()
	bin := pgtemp.FailoverBin(t.Context())
	if bin == "" {
		t.Skip("slots fail over from PostgreSQL 17 on, whose binaries are not here: make test-matrix fetches them")
	}
	return pgtest.Cluster(t, pgtemp.Options{Bin: bin})
}

func (s *system) failsOver() bool {
	s.t.Helper()
	var failover bool
	err := s.conn.QueryRow(s.t.Context(), `SELECT failover FROM pg_replication_slots WHERE NOT temporary AND slot_name = $1`, s.src.Slot).Scan(&failover)
	require.NoError(s.t, err)
	return failover
}

func TestSetup_MakesASlotThatFailsOver(t *testing.T) {
	t.Parallel()
	c := failoverCluster(t)
	s := setup(t, c.URL("postgres"))
	require.True(t, s.failsOver())

	s.src.Slot += "_sql"
	sql, err := cdc.SetupSQL(s.src)
	require.NoError(t, err)
	for range 2 {
		for _, statement := range pgtest.Statements(sql) { // one transaction each, as psql does it
			_, err = s.conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err, statement)
		}
	}
	require.True(t, s.failsOver())

	s.src.Slot += "_copy"
	s.src.Existing = &cdc.Existing{
		Begin: func(context.Context, cdc.LSN) error { return nil },
		Each:  func(*cdc.Row) error { return nil },
		End:   func(context.Context) error { return nil },
	}
	_, err = cdc.Setup(t.Context(), s.src)
	require.NoError(t, err)
	require.True(t, s.failsOver(), "a copy does not inherit it")
}

// The SQL for a DBA makes the slot on versions that do not know of fail-over too.
func TestSetupSQL_MakesTheSlotOnEveryVersion(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.src.Slot += "_sql"
	sql, err := cdc.SetupSQL(s.src)
	require.NoError(t, err)
	for range 2 {
		for _, statement := range pgtest.Statements(sql) {
			_, err = s.conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err, statement)
		}
	}
	s.stream(nil).until(cdc.StateStreaming)
}

func TestInspect_SaysWhatAFailOverWouldDo(t *testing.T) {
	t.Parallel()
	about := func(src cdc.Source) string {
		for _, f := range cdc.Inspect(t.Context(), src) {
			if f.Subject == "fail-over" {
				require.NotEqual(t, cdc.LevelError, f.Level, "it is advice")
				return f.Level + ": " + f.Problem + " " + f.Remedy
			}
		}
		return ""
	}
	s := fresh(t)
	require.Contains(t, about(s.src), "ok: no standby is connected")
	s.src.URL = strings.Replace(s.src.URL, "127.0.0.1", "127.0.0.1:1,127.0.0.1", 1)
	require.Contains(t, about(s.src), "warning: source.url names several servers")
	s.src.URL += "&target_session_attrs=read-write"
	require.Contains(t, about(s.src), "ok: no standby is connected")

	c := failoverCluster(t)
	s = setup(t, c.URL("postgres"))
	s.exec("SELECT pg_create_physical_replication_slot('standby')")
	require.Contains(t, about(s.src), "warning: synchronized_standby_slots is empty")
	s.exec("ALTER SYSTEM SET synchronized_standby_slots = 'standby'")
	s.exec("SELECT pg_reload_conf()")
	eventually(t, "the setting", func() bool { return strings.Contains(about(s.src), "ok: slot "+s.src.Slot+" is carried over") })
	require.Contains(t, about(s.src), "hot_standby_feedback")
	s.exec("SELECT pg_drop_replication_slot($1)", s.src.Slot)
	s.exec("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", s.src.Slot)
	require.Contains(t, about(s.src), "ALTER_REPLICATION_SLOT")
}

// Both servers are there, and the stream goes from one to the other: only the timeline tells that what it knows of places is
// of the other one. What it read beyond the fork counts although the end of its transaction was not read.
func TestStream_DoesNotGoOnOnAPromotedServer(t *testing.T) {
	t.Parallel()
	t.Run("between transactions", func(t *testing.T) { promoteUnder(t, func(*recorder) {}) })
	t.Run("in a transaction", func(t *testing.T) { promoteUnder(t, func(r *recorder) { r.fullAt = 1000 }) })
}

func promoteUnder(t *testing.T, prepare func(*recorder)) {
	t.Helper()
	t.Parallel()
	c := pgtest.Cluster(t, pgtemp.Options{})
	standby, err := pgtemp.Standby(t.Context(), c, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop()) })
	s := setup(t, c.URL("postgres"))
	run := s.stream(func(cfg *cdc.StreamConfig, r *recorder) {
		prepare(r)
		cfg.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write", c.Port, standby.Port)
	})
	s.write(1, 10)
	run.wait(t, 10)
	require.NoError(t, standby.CaughtUp(t.Context(), c))
	require.NoError(t, standby.Detach(t.Context()))
	s.write(11, 1000) // the standby does not have them
	run.wait(t, 1000)

	require.NoError(t, c.Kill())
	require.NoError(t, standby.Promote(t.Context()))
	other := dial(t, standby.URL("postgres"))
	_, err = other.Exec(t.Context(), `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, s.src.Slot)
	require.NoError(t, err)
	for range 5 { // its WAL grows beyond where the stream was
		_, err = other.Exec(t.Context(), `INSERT INTO outbox (type, key, payload) SELECT 'order.created', 'new', '{}' FROM generate_series(1, 1000) n`)
		require.NoError(t, err)
	}
	eventually(t, "it says so", func() bool { return cdc.Promoted(run.Status().Err) })
	require.Contains(t, run.Status().Err.Error(), "timeline 1 went over to 2 at 0/")
	require.Contains(t, run.Status().Err.Error(), "exists on the old primary only")
	require.Len(t, run.wait(t, 1000), 1000)
	_ = run.stop() // what the old primary was not told before it died it never will be

	anew := s.stream(func(cfg *cdc.StreamConfig, _ *recorder) { cfg.URL = standby.URL("postgres") })
	require.Len(t, anew.wait(t, 5000), 5000, "a stream that knows nothing of the old one gets all that the slot has")
}

func TestStream_SaysThatTheServerIsAStandbyAndThatAnotherClusterAnswers(t *testing.T) {
	t.Parallel()
	c, other := pgtest.Cluster(t, pgtemp.Options{}), pgtest.Cluster(t, pgtemp.Options{})
	standby, err := pgtemp.Standby(t.Context(), c, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop()) })
	s := setup(t, c.URL("postgres"))
	run := s.stream(func(cfg *cdc.StreamConfig, _ *recorder) { cfg.URL = standby.URL("postgres") })
	eventually(t, "an error", func() bool { return run.Status().Err != nil })
	require.Contains(t, faultOf(t, run.Status().Err, cdc.FaultStandby).Remedy, "target_session_attrs=read-write")
	src := s.src
	src.URL = standby.URL("postgres")
	require.Contains(t, problems(cdc.Inspect(t.Context(), src), cdc.LevelError), "the server is a standby")

	there := setup(t, other.URL("postgres"))
	run = s.stream(func(cfg *cdc.StreamConfig, _ *recorder) {
		cfg.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable", c.Port, other.Port)
		cfg.Slot = s.src.Slot
	})
	run.until(cdc.StateStreaming)
	there.write(1, 10)
	require.NoError(t, c.Shutdown(pgtemp.Fast))
	eventually(t, "it says so", func() bool {
		err := run.Status().Err
		return err != nil && strings.Contains(err.Error(), "this is another database cluster")
	})
	requireFault(t, run.Status().Err, cdc.FaultDiverged)
	require.Zero(t, run.count())
}

// A relay that is cut off keeps its slot until wal_sender_timeout, unless the one that took over may end its session.
func TestStream_TakesTheSlotFromASessionThatIsSilent(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	proxy := cdctest.NewProxy(t, s.src.URL)
	silent := s.stream(func(cfg *cdc.StreamConfig, _ *recorder) { cfg.URL = proxy.URL })
	silent.until(cdc.StateStreaming)
	live := s.stream(func(cfg *cdc.StreamConfig, _ *recorder) { cfg.Exclusive = true })
	live.until(cdc.StateWaiting)
	s.repliedFor(7 * time.Second) // longer than a silent session would be given
	s.write(1, 5)
	silent.wait(t, 5)
	require.Zero(t, live.count(), "who says something each second keeps it")
	silent.waitCommits(t, 1)
	end := s.walEnd()
	eventually(t, "confirmed", func() bool { return s.confirmed() >= end })

	cut := time.Now()
	proxy.Stall()
	s.write(6, 10)
	require.Equal(t, []string{"6", "7", "8", "9", "10"}, column(t, live.wait(t, 5), "key"))
	require.Less(t, time.Since(cut), 20*time.Second)
	t.Log("took it within", time.Since(cut))
	require.NoError(t, live.stop())
}
