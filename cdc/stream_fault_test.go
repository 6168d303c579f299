package cdc_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/cdc/cdctest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func TestStream_LosesAndRepeatsNothingWhenTheWireIsCut(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	proxy := cdctest.NewProxy(t, s.src.URL)
	run := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.URL = proxy.URL })
	run.until(cdc.StateStreaming)
	const n = 20000
	go func() { // cuts in the middle of transactions
		for i := range 6 {
			for run.count() < (i+1)*n/8 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond) // polls the count
			}
			proxy.Cut()
		}
	}()
	s.write(1, n/2)
	s.write(n/2+1, n-1)
	rows := run.wait(t, n-1)
	s.write(n, n)
	rows = append(rows[:n-1:n-1], run.wait(t, n)[n-1])
	requireOnceInOrder(t, rows, n)
	require.Same(t, rows[0].Tx, rows[n/2-1].Tx, "a transaction cut in two goes on")
	require.NotSame(t, rows[0].Tx, rows[n/2].Tx)
	require.Same(t, rows[0].Table, rows[n-1].Table)
	require.Greater(t, proxy.Connections(), 2)
	require.NoError(t, run.stop())
	require.Len(t, run.commits, 3)
}

func TestStream_SaysThatTheServerWasNotToldWhatBecameDurableLast(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	proxy := cdctest.NewProxy(t, s.src.URL)
	run := s.stream(func(c *cdc.StreamConfig, r *recorder) { c.URL, r.hold = proxy.URL, true })
	s.write(1, 1)
	run.wait(t, 1)
	run.waitCommits(t, 1)
	proxy.Close()
	run.until(cdc.StateConnecting)
	run.release()
	err := run.stop()
	require.Error(t, err)
	require.NotErrorAs(t, err, new(*cdc.Fault), "why the last connection broke, and not why there is no other")
}

func TestStream_GivesUpASilentServer(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	proxy := cdctest.NewProxy(t, s.src.URL)
	run := s.stream(func(c *cdc.StreamConfig, _ *recorder) {
		c.URL = proxy.URL + sep(proxy.URL) + "wal_sender_timeout=1s"
		c.StatusInterval = 100 * time.Millisecond
		c.Silence = 1200 * time.Millisecond
	})
	s.write(1, 1)
	run.wait(t, 1)
	opened := proxy.Connections()
	began := time.Now()
	eventually(t, "idle, but not silent: it answers when asked", func() bool { return run.Status().LastByte.Sub(began) > 1500*time.Millisecond })
	require.Equal(t, opened, proxy.Connections())
	proxy.Stall()
	require.Contains(t, run.until(cdc.StateConnecting).Err.Error(), "silent")
	s.write(2, 2)
	proxy.Resume()
	requireOnceInOrder(t, run.wait(t, 2), 2)
}

// A row can take longer than the server may be silent, and answers come behind it.
func TestStream_TakesTheBytesOfALargeRowForLife(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	proxy := cdctest.NewProxy(t, s.src.URL)
	run := s.stream(func(c *cdc.StreamConfig, _ *recorder) {
		c.URL, c.StatusInterval, c.Silence = proxy.URL, 100*time.Millisecond, time.Second
	})
	run.until(cdc.StateStreaming)
	opened := proxy.Connections()
	proxy.Drip(1<<10, 50*time.Millisecond)
	s.exec(`INSERT INTO outbox (type, key, payload) SELECT 't', '1', to_jsonb(repeat('x', 64 << 10))`) // 3 s
	requireOnceInOrder(t, run.wait(t, 1), 1)
	require.Equal(t, opened, proxy.Connections(), "still the same connection")
	proxy.Drip(0, 0)
}

func TestStream_OutlivesRestartsOfTheServer(t *testing.T) {
	t.Parallel()
	c := pgtest.Cluster(t, pgtemp.Options{})
	s := setup(t, c.URL("postgres"))
	run := s.stream(nil)
	next := 1
	for _, mode := range []pgtemp.Mode{pgtemp.Fast, pgtemp.Immediate, pgtemp.Crash} {
		s.write(next, next+99)
		run.wait(t, next+99)
		require.NoError(t, c.Shutdown(mode))
		// Killed backends may outlive their postmaster by a moment, and the server does not start beside them.
		eventually(t, "start", func() bool { return c.Launch(t.Context()) == nil })
		s.conn = dial(t, s.src.URL)
		next += 100
	}
	s.write(next, next)
	requireOnceInOrder(t, run.wait(t, next), next)
}

func TestStream_LetsTheServerShutDownWithWorkOpen(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		fullAt int
		behind bool // another host that says nothing
	}{"reading": {0, false}, "full": {5, false}, "full, behind a dead host": {5, true}}
	for name, with := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := pgtest.Cluster(t, pgtemp.Options{})
			s := setup(t, c.URL("postgres"))
			run := s.stream(func(cfg *cdc.StreamConfig, r *recorder) {
				r.hold, r.fullAt = true, with.fullAt
				if with.behind {
					cfg.URL = cdctest.BehindSilent(t, cfg.URL)
					cfg.URL += sep(cfg.URL) + "connect_timeout=2"
				}
			})
			s.write(1, 10)
			run.wait(t, 5)
			began := time.Now()
			require.NoError(t, c.Shutdown(pgtemp.Fast))
			require.Less(t, time.Since(began), 12*time.Second)
			t.Log("shutdown took", time.Since(began))
			require.NoError(t, c.Launch(t.Context()))
			run.release()
			run.makeRoom()
			s.conn = dial(t, s.src.URL)
			s.write(11, 11)
			requireOnceInOrder(t, run.wait(t, 11), 11)
		})
	}
}

func TestStream_OffersARefusedRowAgain(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run := s.stream(func(_ *cdc.StreamConfig, r *recorder) { r.refusals = 2 })
	s.write(1, 10)
	rows := run.wait(t, 10)
	requireOnceInOrder(t, rows, 10)
	end := s.walEnd()
	eventually(t, "confirmed", func() bool { return s.confirmed() >= end })
}

// A connection that breaks at the same row each time has not recovered, though it streams for a moment.
func TestStream_HasRecoveredWhenItGotFurther(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var log logbook
	run := s.stream(func(c *cdc.StreamConfig, r *recorder) { c.Logger, r.refusals = log.logger(), 3 })
	s.write(1, 10)
	requireOnceInOrder(t, run.wait(t, 10), 10)
	eventually(t, "recovered", func() bool { return len(log.lines("stream recovered")) > 0 })
	require.NoError(t, run.stop())
	require.Len(t, log.lines("stream interrupted"), 1, log.text.String())
	recovered := log.lines("stream recovered")
	require.Len(t, recovered, 1, log.text.String())
	require.Contains(t, recovered[0], "attempts=3")
}

func TestStream_StandsByForASlotInUse(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	first := s.stream(nil)
	first.until(cdc.StateStreaming)
	second := s.stream(nil)
	status := second.until(cdc.StateWaiting)
	requireFault(t, status.Err, cdc.FaultSlotActive)
	s.write(1, 5)
	first.waitCommits(t, 1)
	require.Zero(t, second.count())
	require.NoError(t, first.stop())
	second.until(cdc.StateStreaming)
	s.write(6, 6)
	require.Equal(t, []string{"6"}, column(t, second.wait(t, 1), "key"))
}

func requireFault(t *testing.T, err error, kind cdc.FaultKind) {
	t.Helper()
	require.NotEmpty(t, faultOf(t, err, kind).Problem)
}

func faultOf(t *testing.T, err error, kind cdc.FaultKind) *cdc.Fault {
	t.Helper()
	var fault *cdc.Fault
	require.ErrorAs(t, err, &fault)
	require.Equal(t, kind, fault.Kind, "%v", err)
	require.NotEmpty(t, fault.Remedy, "%v", err)
	return fault
}

func TestStream_NamesTheFaultAndItsRemedy(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		spoil  func(*system, *cdc.StreamConfig)
		kind   cdc.FaultKind
		remedy string
	}{
		"no server":           {func(_ *system, c *cdc.StreamConfig) { c.URL = "postgres://postgres@127.0.0.1:1/postgres" }, cdc.FaultConnection, "source.url"},
		"no database":         {func(_ *system, c *cdc.StreamConfig) { c.URL += sep(c.URL) + "dbname=absent" }, cdc.FaultConnection, "existing database"},
		"unreadable URL":      {func(_ *system, c *cdc.StreamConfig) { c.URL = "postgres://h:port:x/" }, cdc.FaultConnection, "libpq URL"},
		"slot missing":        {func(_ *system, c *cdc.StreamConfig) { c.Slot = "absent" }, cdc.FaultSlotMissing, "pg_create_logical_replication_slot('absent'"},
		"publication missing": {func(_ *system, c *cdc.StreamConfig) { c.Publication = "absent" }, cdc.FaultPublication, `CREATE PUBLICATION "absent" FOR TABLE "public"."outbox"`},
		"table not in publication": {
			func(s *system, c *cdc.StreamConfig) {
				s.exec(`CREATE TABLE "odd""name" (LIKE outbox)`)
				c.Tables = append(c.Tables, `public.odd"name`)
			},
			cdc.FaultPublicationTable, `ALTER PUBLICATION "relay" ADD TABLE "public"."odd""name"`,
		},
		"inserts not published": {
			func(s *system, _ *cdc.StreamConfig) { s.exec("ALTER PUBLICATION relay SET (publish = 'delete')") },
			cdc.FaultPublicationTable, "SET (publish = 'insert')",
		},
		"slot of another plugin": {func(s *system, c *cdc.StreamConfig) {
			c.Slot += "_other"
			s.exec("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", c.Slot)
		}, cdc.FaultSlotPlugin, "source.slot"},
		"slot of another database": {func(s *system, c *cdc.StreamConfig) { c.Slot = setup(s.t, pgtest.Database(s.t)).src.Slot }, cdc.FaultSlotDatabase, "source.slot"},
		"role without replication": {func(s *system, c *cdc.StreamConfig) {
			role := "r" + s.src.Slot
			s.exec("CREATE ROLE " + role + " LOGIN")
			s.t.Cleanup(func() { _, _ = s.conn.Exec(context.Background(), "DROP ROLE "+role) })
			c.URL += sep(c.URL) + "user=" + role
		}, cdc.FaultPrivilege, "REPLICATION"},
		"position from the future": {func(_ *system, c *cdc.StreamConfig) { c.Start = 1 << 60 }, cdc.FaultDiverged, "source.url"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			run := s.stream(func(cfg *cdc.StreamConfig, _ *recorder) { c.spoil(s, cfg) })
			eventually(t, "an error", func() bool { return run.Status().Err != nil })
			fault := faultOf(t, run.Status().Err, c.kind)
			require.Contains(t, fault.Remedy, c.remedy)
			require.Contains(t, fault.Error(), fault.Remedy)
			require.NotEqual(t, cdc.StateStreaming, run.Status().State)
			require.NoError(t, run.stop())
		})
	}
}

func TestStream_NamesAWrongWALLevel(t *testing.T) {
	t.Parallel()
	c := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"wal_level": "replica"}})
	src := cdc.Source{URL: c.URL("postgres"), Slot: "relay", Publication: "relay", Schema: "relay"}
	_, err := cdc.Setup(t.Context(), src)
	requireFault(t, err, cdc.FaultWALLevel)
	s := &system{t: t, src: src}
	run := s.stream(nil)
	eventually(t, "an error", func() bool { return run.Status().Err != nil })
	require.Contains(t, faultOf(t, run.Status().Err, cdc.FaultWALLevel).Remedy, "ALTER SYSTEM SET wal_level = 'logical'")
	require.Contains(t, problems(cdc.Inspect(t.Context(), src), cdc.LevelError), "wal_level is replica, not logical")
}

func TestStream_NamesAnInvalidatedSlotAndOneThatVanished(t *testing.T) {
	t.Parallel()
	c := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}})
	s := setup(t, c.URL("postgres"))
	for range 4 {
		s.exec("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000)), pg_switch_wal()")
	}
	s.exec("CHECKPOINT")
	run := s.stream(nil)
	eventually(t, "an error", func() bool { return run.Status().Err != nil })
	requireFault(t, run.Status().Err, cdc.FaultSlotInvalidated)
	require.True(t, cdc.SlotLost(run.Status().Err))
	s.exec("SELECT pg_drop_replication_slot($1)", s.src.Slot)
	eventually(t, "the next error", func() bool {
		var f *cdc.Fault
		return asFault(run.Status().Err, &f) && f.Kind == cdc.FaultSlotMissing
	})
}

func TestStream_NamesAPublicationYoungerThanTheSlot(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec("DROP PUBLICATION relay")
	s.write(1, 1)
	s.exec("CREATE PUBLICATION relay FOR TABLE outbox WITH (publish = 'insert')")
	run := s.stream(nil)
	eventually(t, "an error", func() bool { return run.Status().Err != nil })
	requireFault(t, run.Status().Err, cdc.FaultPublicationLate)
	require.Zero(t, run.count())
}

func TestStream_StreamsAPartitionedTableUnderItsOwnName(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	conn := dial(t, url)
	_, err := conn.Exec(t.Context(), `CREATE TABLE outbox (id uuid DEFAULT gen_random_uuid(), type text, key text, payload jsonb, created_at timestamptz DEFAULT now()) PARTITION BY LIST (type);
	  CREATE TABLE outbox_a PARTITION OF outbox FOR VALUES IN ('order.created')`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	s := setup(t, url)
	run := s.stream(nil)
	s.write(1, 2)
	rows := run.wait(t, 2)
	requireOnceInOrder(t, rows, 2)
	require.Equal(t, "public.outbox", rows[0].Table.String())
}
