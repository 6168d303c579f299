package cdc_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc"
)

func TestStream_HandsOverCommittedRowsOnly(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run := s.stream(nil)
	s.write(1, 1)
	s.exec("BEGIN")
	s.write(100, 103)
	s.exec("ROLLBACK")
	s.write(2, 50) // several rows in one transaction
	s.exec("BEGIN")
	s.write(51, 51)
	s.exec("SAVEPOINT a")
	s.write(104, 104)
	s.exec("ROLLBACK TO a")
	s.write(52, 52)
	s.exec("DELETE FROM outbox") // in the inserting transaction
	s.exec("COMMIT")
	copied := [][]any{{"t", "53", "{}"}, {"t", "54", "{}"}, {"t", "55", "{}"}}
	_, err := s.conn.CopyFrom(t.Context(), pgx.Identifier{"outbox"}, []string{"type", "key", "payload"}, pgx.CopyFromRows(copied))
	require.NoError(t, err)

	rows := run.wait(t, 55)
	require.NoError(t, run.stop())
	requireOnceInOrder(t, rows, 55)
	require.Equal(t, uint32(48), rows[49].Place.Ordinal)
	require.NotZero(t, rows[0].CommitTime)
	require.WithinDuration(t, time.Now(), rows[0].CommitTime, time.Minute)
}

func TestStream_PinsTheTextOfValues(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec("ALTER TABLE outbox ADD span interval, ADD data bytea")
	s.exec("DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''; ALTER DATABASE %1$I SET bytea_output = escape; " +
		"ALTER DATABASE %1$I SET datestyle = ''SQL, DMY''; ALTER DATABASE %1$I SET client_min_messages = error', current_database()); END$$")
	run := s.stream(nil)
	s.exec(`INSERT INTO outbox (type, key, payload, created_at, span, data)
	  VALUES ('t', '1', '{"n": 1.10}', '2026-02-03 04:05:06+00', '1 day', '\x00ff')`)
	row := run.wait(t, 1)
	require.Equal(t, []string{"2026-02-03 04:05:06+00"}, column(t, row, "created_at"))
	require.Equal(t, []string{"P1D"}, column(t, row, "span"))
	require.Equal(t, []string{`\x00ff`}, column(t, row, "data"))
	require.Equal(t, []string{`{"n": 1.10}`}, column(t, row, "payload"))
}

func TestStream_FollowsColumnChanges(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run := s.stream(nil)
	run.until(cdc.StateStreaming)
	s.requireColumnsOfTheirTime(func() *streaming { return run })
}

func TestStream_ReadsABacklogByTheColumnsOfItsTime(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.requireColumnsOfTheirTime(func() *streaming { return s.stream(nil) })
}

// requireColumnsOfTheirTime changes the table between rows.
func (s *system) requireColumnsOfTheirTime(run func() *streaming) {
	s.t.Helper()
	s.write(1, 2)
	s.exec("ALTER TABLE outbox ADD tenant text DEFAULT 'acme'")
	s.write(3, 3)
	s.exec("ALTER TABLE outbox DROP headers")
	s.write(4, 4)
	rows := run().wait(s.t, 4)
	requireOnceInOrder(s.t, rows, 4)
	require.Same(s.t, rows[0].Table, rows[1].Table)
	require.Equal(s.t, -1, rows[1].Table.Column("tenant"))
	require.Equal(s.t, 4, rows[1].Table.Column("headers"))
	require.Equal(s.t, []string{"acme", "acme"}, column(s.t, rows[2:], "tenant"))
	require.Equal(s.t, 4, rows[2].Table.Column("headers"))
	require.Equal(s.t, -1, rows[3].Table.Column("headers"))
}

func TestStream_TakesTransactionalMessagesOfItsPrefixes(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.src.Messages = []string{"relay"}
	run := s.stream(nil)
	s.exec("SELECT pg_logical_emit_message(false, 'relay', 'not transactional')")
	s.exec("SELECT pg_logical_emit_message(true, 'other', 'of somebody else')")
	s.exec("BEGIN")
	s.exec("SELECT pg_logical_emit_message(true, 'other', 'counts')")
	s.exec("SELECT pg_logical_emit_message(true, 'relay', 'event')")
	s.write(1, 1)
	s.exec("COMMIT")
	rows := run.wait(t, 2)
	require.Equal(t, "event", string(rows[0].Content))
	require.Equal(t, "relay", rows[0].Prefix)
	require.Equal(t, uint32(1), rows[0].Place.Ordinal)
	require.Equal(t, uint32(2), rows[1].Place.Ordinal)
	require.Same(t, rows[0].Tx, rows[1].Tx)
}

func TestStream_MovesAnIdleSlotAndOneWithOtherTraffic(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec("CREATE TABLE other (n int)")
	run := s.stream(func(c *cdc.StreamConfig, _ *recorder) { // nothing is left to statuses that are sent anyway
		c.StatusInterval = time.Hour
		c.URL += sep(c.URL) + "wal_sender_timeout=1h"
	})
	run.until(cdc.StateStreaming)
	s.exec("INSERT INTO other SELECT generate_series(1, 1000)")
	end := s.walEnd()
	eventually(t, "slot passes the other table's rows", func() bool { return s.confirmed() >= end })

	s.write(1, 1)
	run.wait(t, 1)
	end = s.walEnd()
	eventually(t, "slot passes the settled row", func() bool { return s.confirmed() >= end-64 })
}

func TestStream_NeverConfirmsWhatIsOpen(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec("CREATE TABLE other (n int)")
	before := s.confirmed()
	run := s.stream(func(c *cdc.StreamConfig, r *recorder) {
		r.hold = true
		c.StatusInterval = 50 * time.Millisecond
	})
	s.write(1, 3)
	rows := run.wait(t, 3)
	for range 5 { // keepalives pass the open transaction; so must not the slot
		s.exec("INSERT INTO other SELECT generate_series(1, 100)")
		end := s.walEnd()
		eventually(t, "a status past them", func() bool { return s.seen().written >= end })
		require.LessOrEqual(t, s.confirmed(), rows[0].Place.Commit)
		require.GreaterOrEqual(t, s.confirmed(), before)
	}
	end := s.walEnd()
	run.release()
	eventually(t, "slot passes when all is settled", func() bool { return s.confirmed() >= end })
}

func TestStream_AnswersStatusWhileTheConsumerIsFull(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run := s.stream(func(c *cdc.StreamConfig, r *recorder) {
		c.URL += sep(c.URL) + "wal_sender_timeout=1500ms"
		c.StatusInterval = 300 * time.Millisecond
		r.fullAt = 10
	})
	s.write(1, 5000)
	run.wait(t, 10)
	pid := s.activePID()
	s.repliedFor(3 * time.Second) // longer than the server waits for a sign of life
	require.Equal(t, 10, run.count(), "nothing is handed over to a full consumer")
	require.Equal(t, pid, s.activePID(), "still the same connection")
	require.Equal(t, cdc.StateStreaming, run.Status().State)
	run.makeRoom()
	requireOnceInOrder(t, run.wait(t, 5000), 5000)
	require.Equal(t, pid, s.activePID())
}

func sep(url string) string {
	if strings.Contains(url, "?") {
		return "&"
	}
	return "?"
}

func (s *system) activePID() int {
	s.t.Helper()
	var pid int
	err := s.conn.QueryRow(s.t.Context(), `SELECT coalesce(active_pid, 0) FROM pg_replication_slots WHERE slot_name = $1`, s.src.Slot).Scan(&pid)
	require.NoError(s.t, err)
	return pid
}

func TestStream_StopConfirmsWhatIsDurable(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	next := 1
	for range 5 {
		run := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.StatusInterval = time.Hour })
		s.write(next, next+9)
		rows := run.wait(t, 10)
		run.waitCommits(t, 1)
		began := time.Now()
		require.NoError(t, run.stop())
		require.Less(t, time.Since(began), 3*time.Second)
		require.Equal(t, next, atoi(t, column(t, rows, "key")[0]), "nothing of the last stream comes again")
		require.Equal(t, cdc.StateStopped, run.Status().State)
		eventually(t, "confirmed", func() bool { return s.confirmed() >= run.mark.Durable() })
		next += 10
	}
}

func TestStream_PauseReadsNoMoreButConfirms(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run := s.stream(func(_ *cdc.StreamConfig, r *recorder) { r.hold = true })
	s.write(1, 3)
	rows := run.wait(t, 3)
	run.waitCommits(t, 1)
	run.Pause()
	run.until(cdc.StatePaused)
	s.write(4, 6)
	end := s.walEnd()
	eventually(t, "the rows are sent", func() bool { return s.seen().sent >= end })
	s.repliedFor(0)
	require.Equal(t, 3, run.count())
	require.LessOrEqual(t, s.confirmed(), rows[0].Place.Commit)
	run.release()
	eventually(t, "confirmed while paused", func() bool { return s.confirmed() > rows[0].Place.Commit })
	require.NoError(t, run.stop())

	again := s.stream(nil)
	require.Equal(t, []string{"4", "5", "6"}, column(t, again.wait(t, 3), "key"))
}

// A relay that stops takes no more rows, and one may be on its way when it pauses the stream.
func TestStream_KeepsItsConnectionWhenARowIsRefusedOnThePause(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	started := make(chan *streaming, 1)
	run := s.stream(func(_ *cdc.StreamConfig, r *recorder) {
		r.hold = true
		r.before = func(n int) error {
			if n < 3 {
				return nil
			}
			(<-started).Pause()
			return errors.New("the relay is stopping")
		}
	})
	run.until(cdc.StateStreaming)
	pid := s.activePID()
	s.write(1, 1)
	s.write(2, 2)
	rows := run.wait(t, 2)
	run.waitCommits(t, 2)
	started <- run
	s.write(3, 3)
	run.until(cdc.StatePaused)
	run.release()
	eventually(t, "confirmed while paused", func() bool { return s.confirmed() > rows[1].Place.Commit })
	require.Equal(t, pid, s.activePID(), "still the same connection")
	require.NoError(t, run.Status().Err)
	require.NoError(t, run.stop())
	require.Equal(t, []string{"3"}, column(t, s.stream(nil).wait(t, 1), "key"))
}

func TestStream_StartsWhereOurOwnPositionSays(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.write(1, 3)
	start := s.walEnd()
	s.write(4, 4)
	run := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.Start = start })
	require.Equal(t, []string{"4"}, column(t, run.wait(t, 1), "key"))
	eventually(t, "slot follows", func() bool { return s.confirmed() >= start })
}
