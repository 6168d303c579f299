package campaign

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

func TestRelay_DoesNotResendALargeTransactionAfterAKillInItsMiddle(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	s := NewSystem(t, pgtest.Database(t))
	s.Hold = "60s" // so that nothing is parked, where a resend would be recognised: it is the position that counts
	e := s.Subscribe("all", "", nil)
	e.Delay = 3 * time.Millisecond // 16 at once: some 5,000 a second at most
	s.Setup()
	s.Start()
	s.Bulk(1, rows, 0)
	for _, n := range []int64{rows / 4, rows / 2, rows * 3 / 4} {
		s.Await(time.Minute, "delivering", func() bool { return e.Good() >= n })
		s.Kill()
		s.Start()
	}
	s.Drained(time.Minute)
	s.Stop()
	sum := s.Verdict()["all"] // it judges each duplicate: delivered in the last moments before the kill, or not allowed
	require.Less(t, sum.Duplicates, rows)
}

// What was parked just before a kill, its position not saved, may be drained before the stream brings it again, and the relay be
// stopped, or the endpoint taken out of the file and put back, in between. Here the stream cannot begin, because somebody else reads
// the slot. The endpoint takes each event once, for it had taken none when the relay was killed.
func TestRelay_DeliversOnceWhatWasParkedJustBeforeAKill(t *testing.T) {
	t.Parallel()
	t.Run("stopped in between", func(t *testing.T) { t.Parallel(); parkedBeforeAKill(t, false) })
	t.Run("taken out in between", func(t *testing.T) { t.Parallel(); parkedBeforeAKill(t, true) })
}

func parkedBeforeAKill(t *testing.T, takenOut bool) {
	const rows = 3000
	s := NewSystem(t, pgtest.Database(t))
	down := s.Subscribe("down", "", nil)
	none := s.Subscribe("none", "order: none", nil)
	none.Unordered = true
	s.Setup()
	require.NoError(t, down.Set(Failing))
	require.NoError(t, none.Set(Failing))
	s.Relay = s.Spawn("RELAY_FAILPOINT=parked:4")
	s.Bulk(1, rows, 0)
	s.Await(time.Minute, "killed", s.Relay.Ended)
	require.Equal(t, -1, s.Relay.ExitCode(), s.Relay.Log())
	parked := s.parked("down", "waiting") + s.parked("none", "waiting")
	require.NotZero(t, parked)

	letGo := s.occupySlot()
	require.NoError(t, down.Set(Healthy))
	require.NoError(t, none.Set(Healthy))
	if takenOut {
		s.Remove("down")
		s.Write()
	}
	s.Relay = s.Spawn()
	if takenOut {
		s.Await(20*time.Second, "drained", func() bool { return s.parked("none", "waiting") == 0 })
		s.PutBack("down")
		s.Write()
		s.Reload()
	}
	s.Await(20*time.Second, "drained", func() bool { return s.parked("down", "waiting")+s.parked("none", "waiting") == 0 })
	require.EqualValues(t, parked, down.Good()+none.Good())
	if !takenOut {
		s.Stop()
	}
	letGo()
	if !takenOut {
		s.Start()
	}
	s.Drained(time.Minute)
	s.Stop()
	for name, sum := range s.Verdict() {
		require.Zero(t, sum.Duplicates, name)
	}
}

// occupySlot reads from the slot, and confirms nothing, until it is told to let go.
func (s *System) occupySlot() (letGo func()) {
	cfg, err := pgconn.ParseConfig(s.URL)
	require.NoError(s.t, err)
	cfg.RuntimeParams["replication"] = "database"
	var conn *pgconn.PgConn
	s.Await(20*time.Second, "slot let go by the one that was killed", func() bool {
		conn, err = pgconn.ConnectConfig(s.t.Context(), cfg)
		require.NoError(s.t, err)
		err = pglogrepl.StartReplication(s.t.Context(), conn, s.Slot, 0, pglogrepl.StartReplicationOptions{
			PluginArgs: []string{"proto_version '1'", "publication_names 'relay'"},
		})
		return err == nil
	})
	return func() { require.NoError(s.t, conn.Close(s.t.Context())) }
}

// A key whose endpoint is slow for it must not make the others' deliveries, which overtook it, come again.
func TestRelay_DoesNotRepeatWhatOvertookASlowKey(t *testing.T) {
	t.Parallel()
	const rows = 12_000
	s := NewSystem(t, pgtest.Database(t))
	s.Hold = "5s"
	e := s.Subscribe("all", "timeout: 2s", nil)
	var slow atomic.Bool
	slow.Store(true)
	e.Slow = func(id ID) time.Duration {
		if slow.Load() && id.Seq()%3 == 0 {
			return 500 * time.Millisecond
		}
		return 0
	}
	s.Setup()
	s.Start()
	s.Bulk(1, rows, 3)
	s.Await(time.Minute, "all other keys delivered", func() bool { return e.Good() >= rows*2/3 })
	time.Sleep(slackBefore + 300*time.Millisecond) // what is delivered by now is not delivered "just now" any more
	s.Kill()
	good := e.Good()
	slow.Store(false)
	s.Start()
	s.Drained(time.Minute)
	s.Stop()
	t.Logf("%d were delivered at the kill", good)
	s.Verdict()
}
