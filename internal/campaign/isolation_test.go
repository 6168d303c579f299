package campaign

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// lag measures how old the WAL is that a slot still holds: by when it was the end of the WAL.
type lag struct {
	conn  *pgx.Conn
	slot  string
	marks []mark
	worst time.Duration
	bytes int64
}

type mark struct {
	lsn uint64
	at  time.Time
}

// look takes one look and keeps the worst.
func (l *lag) look(t *testing.T) {
	var end, confirmed int64
	err := l.conn.QueryRow(t.Context(), `SELECT (pg_current_wal_lsn() - '0/0')::bigint, (confirmed_flush_lsn - '0/0')::bigint
FROM pg_replication_slots WHERE slot_name = $1`, l.slot).Scan(&end, &confirmed)
	require.NoError(t, err)
	now := time.Now()
	l.marks = append(l.marks, mark{uint64(end), now})
	for len(l.marks) > 0 && l.marks[0].lsn <= uint64(confirmed) {
		l.marks = l.marks[1:]
	}
	if len(l.marks) > 0 {
		l.worst = max(l.worst, now.Sub(l.marks[0].at))
	}
	l.bytes = max(l.bytes, end-confirmed)
}

func TestRelay_LetsNoBadEndpointCostAGoodOne(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Cluster(t, pgtemp.Options{}).URL("postgres")) // its own, to measure its WAL
	good := s.Subscribe("good", "", nil)
	hanging := s.Subscribe("hanging", "", nil)
	refusing := s.Subscribe("refusing", "", nil)
	failing := s.Subscribe("failing", "", nil)
	s.Setup()
	s.Start()
	require.NoError(t, hanging.Set(Hanging))
	require.NoError(t, refusing.Set(Refusing))
	require.NoError(t, failing.Set(Failing))
	stop := s.writers(2, 2, 10*time.Millisecond)
	l := &lag{conn: s.Connect(), slot: s.Slot}
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // a rhythm of looks
		l.look(t)
	}
	stop()
	s.Await(3*time.Second, "the good endpoint has everything", func() bool {
		truth, err := ReadTruth(t.Context(), s.URL)
		require.NoError(t, err)
		return truth.undrained(good) == ""
	})
	t.Logf("slot at most %s and %d bytes behind", l.worst, l.bytes)
	require.Less(t, l.worst, 6*time.Second, "the slot is held no longer than source.hold (1s) and what a busy machine adds")
	for _, e := range []*Subscription{hanging, refusing, failing} {
		require.Zero(t, e.Good())
		require.NoError(t, e.Set(Healthy))
	}
	s.Drained(time.Minute)
	s.Stop()
	for name, sum := range s.Verdict() {
		require.Zero(t, sum.Duplicates, name)
		require.Zero(t, sum.Dead, name)
	}
}

func TestRelay_LetsPostgresShutDownAlthoughAnEndpointIsDown(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"fsync": "on"}})
	s := NewSystem(t, cluster.URL("postgres"))
	s.Hold = "20s" // longer than the shutdown may take: it is not hold that lets go
	s.Subscribe("good", "", nil)
	hanging := s.Subscribe("hanging", "timeout: 15s", nil)
	refusing := s.Subscribe("refusing", "", nil)
	s.Setup()
	s.Start()
	require.NoError(t, hanging.Set(Hanging))
	require.NoError(t, refusing.Set(Refusing))
	stop := s.writers(3, 2, 10*time.Millisecond)
	time.Sleep(2 * time.Second) // under load
	began := time.Now()
	require.NoError(t, cluster.Shutdown(pgtemp.Fast))
	took := time.Since(began)
	t.Log("shutdown took", took)
	require.Less(t, took, 10*time.Second)
	require.NoError(t, cluster.Launch(t.Context()))
	s.Broken("Postgres restarted", began, slackBefore, slackDatabase)
	require.NoError(t, hanging.Set(Healthy))
	require.NoError(t, refusing.Set(Healthy))
	stop()
	s.Drained(time.Minute)
	s.Stop()
	require.Zero(t, s.Verdict()["good"].Duplicates, "it was no crash, and relay lived on")
}
