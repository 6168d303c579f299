package campaign

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// pair is a primary and its standby.
type pair struct {
	*System
	primary, standby *pgtemp.Cluster
	limit            context.Context // of what is waited for
}

// newPair starts both, and a system whose URL names both.
func newPair(t *testing.T, bin string, settings map[string]string) *pair {
	t.Helper()
	limit, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	p := &pair{limit: limit, primary: pgtest.Cluster(t, pgtemp.Options{Bin: bin})}
	var err error
	p.standby, err = pgtemp.Standby(t.Context(), p.primary, settings)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := p.standby.Stop(); err != nil {
			t.Errorf("stop the standby: %v", err)
		}
	})
	p.System = NewSystem(t, fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=2",
		p.standby.Port, p.primary.Port))
	return p
}

// failOver kills the primary and promotes the standby.
func (p *pair) failOver() {
	p.t.Helper()
	from := time.Now()
	require.NoError(p.t, p.primary.Kill())
	require.NoError(p.t, p.standby.Promote(p.limit))
	p.Broken("fail-over", from, slackBefore, slackDatabase)
	p.t.Log("promoted within", time.Since(from))
}

func (p *pair) onPrimary(statements ...string) {
	p.t.Helper()
	conn, err := pgx.Connect(p.limit, p.primary.URL("postgres"))
	require.NoError(p.t, err)
	defer closeConn(conn)
	for _, sql := range statements {
		_, err := conn.Exec(p.limit, sql)
		require.NoError(p.t, err, sql)
	}
}

// The way it is meant to be: a slot that fails over, a relay that does not run ahead of the standby, and commits that wait
// for it, relay's own among them.
func TestFailover_GoesOnWithTheSynchronisedSlotAndLosesNothing(t *testing.T) {
	t.Parallel()
	bin := pgtemp.FailoverBin(t.Context())
	if bin == "" {
		t.Skip("slots fail over from PostgreSQL 17 on, whose binaries are not here: make test-matrix fetches them")
	}
	p := newPair(t, bin, map[string]string{"sync_replication_slots": "on"})
	p.onPrimary("ALTER SYSTEM SET synchronized_standby_slots = 'standby'", "ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
	e := p.Subscribe("all", "", nil)
	down := p.Subscribe("down", "", nil)
	require.NoError(t, down.Set(Failing))
	p.Setup()
	p.Start()
	stop := p.writers(9, 2, 10*time.Millisecond)
	p.Await(30*time.Second, "delivers", func() bool { return e.Good() > 500 })
	require.NoError(t, p.standby.Synchronised(p.limit, p.primary, p.Slot))

	p.failOver()
	began, good := time.Now(), e.Good()
	p.Await(time.Minute, "delivers what is written to the new primary", func() bool { return e.Good() > good+200 })
	t.Log("went on within", time.Since(began))
	require.Contains(t, p.Relay.Log(), "starting over: the server was promoted")
	p.Ready(p.Relay)
	require.NoError(t, down.Set(Healthy))
	stop()
	p.Drained(time.Minute)
	conn := p.Connect()
	var behind bool
	p.Await(30*time.Second, "the slot is confirmed on the new primary", func() bool {
		err := conn.QueryRow(p.limit, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) > 100000 FROM pg_replication_slots WHERE slot_name = $1`, p.Slot).Scan(&behind)
		return err == nil && !behind
	})
	p.Stop()
	p.Verdict()
}

func TestFailover_SaysWhatMayBeMissingWhenTheNewPrimaryHasNoSlot(t *testing.T) {
	t.Parallel()
	p := newPair(t, "", nil)
	e := p.Subscribe("all", "", nil)
	p.Setup()
	p.Start()
	p.Bulk(1, 100, 0)
	p.Await(30*time.Second, "delivers", func() bool { return e.Good() == 100 })
	time.Sleep(1500 * time.Millisecond) // until the position is saved
	require.NoError(t, p.standby.CaughtUp(p.limit, p.primary))

	p.failOver()
	p.complains("replication slot "+p.Slot+" does not exist; rows committed after 0/", "before a new slot is made are not streamed", "relay setup", "on_slot_lost: recreate")
	require.Contains(t, p.Relay.Log(), "starting over: the server was promoted: timeline 1 went over to 2 at 0/")
	out, code := p.Command("setup")
	require.Zero(t, code, out)
	p.delivers(2)
	p.Stop()
	require.Zero(t, p.Verdict()["all"].Duplicates)
}

func TestFailover_SendsAgainWhatTheOutboxHasWhenTheSlotIsMadeAnew(t *testing.T) {
	t.Parallel()
	p := newPair(t, "", nil)
	p.More = "  on_slot_lost: recreate\n"
	e := p.Subscribe("all", "", nil)
	down := p.Subscribe("down", "", nil)
	p.Setup()
	p.Start()
	p.Bulk(1, 100, 0)
	p.Await(30*time.Second, "delivers", func() bool { return e.Good() == 100 && down.Good() == 100 })
	time.Sleep(7 * time.Second) // until a horizon is settled: see horizonLost
	require.NoError(t, down.Set(Failing))
	p.Bulk(2, 100, 0)
	p.Await(30*time.Second, "delivers", func() bool { return e.Good() == 200 })
	require.NoError(t, p.standby.CaughtUp(p.limit, p.primary))
	p.failOver()
	p.Bulk(3, 100, 0) // before relay has made a slot, perhaps
	require.NoError(t, down.Set(Healthy))
	p.Ready(p.Relay)
	p.Bulk(4, 100, 0)
	p.Drained(time.Minute)
	p.Stop()
	p.mu.Lock()
	for i := range p.broken {
		p.broken[i].From = p.broken[i].From.Add(-time.Minute) // the slot is made anew from a horizon, which is some seconds old
	}
	p.mu.Unlock()
	p.Verdict()
}

// A standby that had not received the last transactions is promoted. Their rows were delivered and exist no more; what the
// new primary writes at the same places in its WAL is not mistaken for them.
func TestFailover_GoesBackToWhatAStandbyKnowsThatWasBehind(t *testing.T) {
	t.Parallel()
	bin := pgtemp.FailoverBin(t.Context())
	if bin == "" {
		t.Skip("slots fail over from PostgreSQL 17 on, whose binaries are not here: make test-matrix fetches them")
	}
	p := newPair(t, bin, map[string]string{"sync_replication_slots": "on"})
	e := p.Subscribe("all", "", nil)
	p.Setup()
	p.Start()
	p.Bulk(1, 100, 0)
	p.Await(30*time.Second, "delivers", func() bool { return e.Good() == 100 })
	time.Sleep(1500 * time.Millisecond) // until the position is saved
	require.NoError(t, p.standby.Synchronised(p.limit, p.primary, p.Slot))
	require.NoError(t, p.standby.Detach(p.limit))
	p.Bulk(2, 2000, 0)
	p.Await(30*time.Second, "delivers what the standby does not have", func() bool { return e.Good() == 2100 })
	time.Sleep(1500 * time.Millisecond) // until a position beyond it is saved, on the old primary

	from := time.Now()
	require.NoError(t, p.primary.Kill())
	require.NoError(t, p.standby.Promote(p.limit))
	p.Broken("fail-over", from, slackBefore, slackDatabase)
	for writer := 3; writer <= 6; writer++ {
		p.Bulk(writer, 1000, 0) // its WAL grows beyond where relay was
	}
	p.Ready(p.Relay)
	require.Contains(t, p.Relay.Log(), "and what was committed in between exists on the old primary only")
	p.Await(30*time.Second, "delivers all that the new primary has", func() bool { return e.Good() >= 2100+4000 })
	p.Bulk(2, 2000, 0) // the application does it again: then they were committed after all
	p.Drained(time.Minute)
	p.Stop()
	p.Broken("the application did it again", from, time.Minute, 0)
	p.Verdict()
}

func TestFailover_RefusesAnotherClusterBehindTheSameURL(t *testing.T) {
	t.Parallel()
	one, other := pgtest.Cluster(t, pgtemp.Options{}), pgtest.Cluster(t, pgtemp.Options{})
	s := NewSystem(t, other.URL("postgres"))
	e := s.Subscribe("all", "", nil)
	s.Setup()
	s.URL = one.URL("postgres")
	s.Via = fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&connect_timeout=2", one.Port, other.Port)
	s.Setup()
	s.Start()
	s.Bulk(1, 100, 0)
	s.Await(20*time.Second, "delivers", func() bool { return e.Good() == 100 })
	time.Sleep(1500 * time.Millisecond) // until the position is saved

	require.NoError(t, one.Shutdown(pgtemp.Fast))
	s.complains("another database cluster", "source.url", "restart relay")
	s.URL = other.URL("postgres")
	s.Bulk(2, 100, 0)
	time.Sleep(3 * time.Second) // in which it could send them
	require.EqualValues(t, 100, e.Good())

	require.NoError(t, s.Relay.Stop(30*time.Second)) // it was meant to be that one
	s.Start()
	s.Await(30*time.Second, "delivers from the other cluster, whatever is known of the first", func() bool { return e.Good() == 200 })
	require.NoError(t, s.Relay.Stop(30*time.Second))
}

// A URL that leads to a standby is told so, and is well as soon as that is promoted.
func TestFailover_SaysThatItsServerIsAStandby(t *testing.T) {
	t.Parallel()
	p := newPair(t, "", nil)
	p.Subscribe("all", "", nil)
	p.Setup()
	require.NoError(t, p.standby.CaughtUp(p.limit, p.primary))
	p.Via = p.standby.URL("postgres")
	p.Write()
	p.Relay = p.Spawn()
	p.complains("the server is a standby", "target_session_attrs=read-write")
	require.NoError(t, p.standby.Promote(p.limit))
	p.URL = p.Via
	out, code := p.Command("setup")
	require.Zero(t, code, out)
	p.delivers(1)
	code, text := p.Relay.Get("/readyz")
	require.Equal(t, http.StatusOK, code, text)
	p.Stop()
	p.Verdict()
}
