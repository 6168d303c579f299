package park

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc/cdctest"
	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

// lock returns a lease that is armed.
func lock(t *testing.T, s *Store) *Lease {
	t.Helper()
	lease, err := s.Lock(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(lease.Release)
	require.NoError(t, lease.Arm())
	return lease
}

func requireTaken(t *testing.T, s *Store) {
	t.Helper()
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	told := false
	_, err := s.Lock(short, func() { told = true })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, told)
}

// terminate ends the session of a lease as an administrator does.
func terminate(t *testing.T, s *Store, l *Lease) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, int64(l.pid))
	require.NoError(t, err)
}

func TestLock_IsForOneAndGoesWithItsConnection(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := open(t, url), open(t, url)
	lease := lock(t, a)
	require.True(t, lease.Valid())
	requireTaken(t, b)

	terminate(t, b, lease)
	<-lease.Lost()
	require.False(t, lease.Valid())
	lease.Release()
	lock(t, b).Release()
	lock(t, a).Release()
}

func TestLease_KeepsAWriterOutOnceAnotherHasTheLock(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := open(t, url), open(t, url)
	origin := Origin{"7300000000000000001", "relay"}
	save := func(s *Store, n int) error {
		return s.SavePositions(t.Context(), origin, map[string]mapping.Position{"a": {Mark: at(n)}})
	}
	lost := lock(t, a)
	park(t, a, item(1, "k"))
	require.NoError(t, save(a, 1))
	terminate(t, b, lost)
	<-lost.Lost()
	other := lock(t, b)

	_, err := a.Park(t.Context(), items(2, 3, "k"))
	require.ErrorIs(t, err, errFenced)
	require.ErrorIs(t, a.Settle(t.Context(), "a", []int64{1}, nil), errFenced)
	require.ErrorIs(t, save(a, 2), errFenced)
	park(t, b, item(2, "k"))
	require.NoError(t, save(b, 2))

	again, err := a.Relock(t.Context(), lost)
	require.NoError(t, err)
	require.Nil(t, again, "another has it")
	other.Release()
	again, err = a.Relock(t.Context(), lost)
	require.NoError(t, err)
	defer again.Release()
	require.NoError(t, again.Arm())
	park(t, a, item(3, "k"))
}

func TestLock_WaitsForATransactionOfWhoHadItBefore(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := open(t, url), open(t, url)
	lost := lock(t, a)
	writing, written := make(chan struct{}), make(chan error, 1)
	go func() {
		written <- a.write(t.Context(), nil, func(tx pgx.Tx) error { // it has passed the fence
			close(writing)
			<-lost.Lost()
			time.Sleep(500 * time.Millisecond) // a transaction that takes its time
			_, err := tx.Exec(t.Context(), `INSERT INTO relay.endpoint (name) VALUES ('late')`)
			return err
		})
	}()
	<-writing
	terminate(t, b, lost)
	lease := lock(t, b)
	known, err := b.LoadEndpoints(t.Context())
	require.NoError(t, err)
	require.Contains(t, known, "late", "what comes after the lock sees all that was written before it")
	require.NoError(t, <-written)
	lease.Release()
}

// A process that is stopped while it sends rows leaves a server process that waits for the rest of them for ever, whatever
// its timeouts are.
func TestLock_EndsATransactionThatWaitsForAStoppedProcess(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := open(t, url), open(t, url)
	lost := lock(t, a)
	rest, more := io.Pipe()
	written := make(chan error, 1)
	go func() {
		written <- a.write(t.Context(), []string{"a"}, func(tx pgx.Tx) error {
			_, err := tx.Conn().PgConn().CopyFrom(t.Context(), rest, a.sql(copySQL))
			return err
		})
	}()
	_, err := more.Write([]byte(copyHeader)) // it has passed the fence
	require.NoError(t, err)
	terminate(t, b, lost)
	<-lost.Lost()
	lease := lock(t, b)
	park(t, b, item(1, "k"))
	lease.Release()
	require.NoError(t, more.Close())
	require.Error(t, <-written)
}

// Of a session that ends, the lock may be free a moment before its token is: whoever takes over waits for both.
func TestLock_WaitsForTheTokenOfWhoHadItBefore(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := open(t, url), open(t, url)
	ending, err := a.connectWith(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, a.mark(t.Context(), ending, 7))
	took := make(chan error, 1)
	go func() {
		lease, err := b.Lock(t.Context(), nil)
		if err == nil {
			lease.Release()
		}
		took <- err
	}()
	require.Eventually(t, func() bool {
		var waits bool
		err := a.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND objid = 7 AND NOT granted)`).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, 10*time.Millisecond)
	require.Empty(t, took)
	require.NoError(t, ending.Close(t.Context()))
	require.NoError(t, <-took)
}

// The server gives the lock of a relay that is silent to the next, but not before the relay's own lease is over.
func TestLease_IsOverBeforeTheServerGivesTheLockAway(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	proxy := cdctest.NewProxy(t, url)
	a, b := open(t, proxy.URL), open(t, url)
	cut := lock(t, a)
	proxy.Stall()
	stalled := time.Now()
	ended := make(chan time.Time, 1)
	go func() {
		<-cut.Lost()
		ended <- time.Now()
	}()
	for cut.Fresh() {
		time.Sleep(10 * time.Millisecond) // a clock's reading cannot be waited for
	}
	stale := time.Since(stalled)
	require.Less(t, stale, freshTerm+time.Second)
	require.True(t, cut.Valid(), "nothing new is sent long before the lease is over")
	lease := lock(t, b)
	given := time.Now()
	require.False(t, cut.Valid())
	over := <-ended
	t.Logf("not fresh after %s, over after %s, given away after %s", stale, over.Sub(stalled), given.Sub(stalled))
	require.Greater(t, given.Sub(over), time.Second)
	require.Less(t, given.Sub(stalled), serverLease+5*time.Second)
	lease.Release()
	proxy.Resume()
}

func TestRelock_EndsTheSessionThatTheServerStillKeeps(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	proxy := cdctest.NewProxy(t, url)
	a := open(t, proxy.URL)
	lost := lock(t, a)
	proxy.Stall()
	<-lost.Lost()
	proxy.Resume()
	began := time.Now()
	var lease *Lease
	require.Eventually(t, func() bool {
		var err error
		lease, err = a.Relock(t.Context(), lost)
		return err == nil // else it is still kept
	}, 10*time.Second, 20*time.Millisecond)
	require.NotNil(t, lease, "the session of the lost lease is our own, and not another relay's")
	t.Logf("had it again within %s", time.Since(began))
	lease.Release()
}

func TestArm_RefusesAnotherCluster(t *testing.T) {
	t.Parallel()
	s := setup(t)
	lease := lock(t, s)
	lease.Release()
	other, err := s.Lock(t.Context(), nil)
	require.NoError(t, err)
	defer other.Release()
	other.Server.System = "7300000000000000001"
	require.ErrorIs(t, other.Arm(), ErrOtherCluster)
	require.Nil(t, s.lease.Load())
}

func TestLease_AdmitsNoConnectionToAServerThatWasPromotedMeanwhile(t *testing.T) {
	t.Parallel()
	s := setup(t)
	lease := lock(t, s)
	lease.Server.Timeline++ // as if the pool came to another server than the lock did
	s.pool.Reset()
	_, err := s.Park(t.Context(), items(1, 1, "k"))
	require.ErrorContains(t, err, "the server is on timeline 1 of cluster")
}

func TestLease_NeedsNoPrivilege(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	admin := open(t, url)
	_, err := admin.pool.Exec(t.Context(), `CREATE ROLE lease_plain LOGIN; GRANT USAGE ON SCHEMA relay TO lease_plain; GRANT ALL ON ALL TABLES IN SCHEMA relay TO lease_plain; GRANT ALL ON ALL SEQUENCES IN SCHEMA relay TO lease_plain`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, _ = admin.pool.Exec(context.Background(), `DROP OWNED BY lease_plain; DROP ROLE lease_plain`, pgx.QueryExecModeSimpleProtocol)
	})
	s, err := Open(t.Context(), url+"&user=lease_plain", "relay", nil)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	lease := lock(t, s)
	park(t, s, item(1, "k"))
	terminate(t, s, lease)
	<-lease.Lost()
}

// A standby that is promoted may lack the last that its primary committed: what was read and settled there is waiting here.
func TestArm_OnAnotherServerReadsAnewWhatTheLastOneHadSettled(t *testing.T) {
	t.Parallel()
	s := setup(t)
	park(t, s, items(1, 4, "k")...)
	_, rows := next(t, s, nil, 4)
	_, err := s.pool.Exec(t.Context(), `CREATE TABLE behind AS SELECT * FROM relay.delivery`)
	require.NoError(t, err)
	settle(t, s, idsOf(rows))
	_, err = s.pool.Exec(t.Context(), `INSERT INTO relay.delivery SELECT * FROM behind`)
	require.NoError(t, err)
	lease, err := s.Lock(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(lease.Release)
	s.server.Store(&Server{System: lease.Server.System, Timeline: lease.Server.Timeline - 1})
	require.NoError(t, lease.Arm())
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-1", "event-2", "event-3", "event-4"}, names)
}

// Whoever has lost the lock says nothing of endpoints and positions any more either.
func TestLease_KeepsEveryWriteOutOnceItIsLost(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	a, b := open(t, url), open(t, url)
	lease := lock(t, a)
	require.NoError(t, a.SetGone(t.Context(), "a"))
	terminate(t, b, lease)
	<-lease.Lost()
	lock(t, b)
	require.ErrorIs(t, a.SetGone(t.Context(), "a"), errFenced)
	require.ErrorIs(t, a.SaveBreaker(t.Context(), "a", time.Now().Add(time.Hour), time.Hour), errFenced)
	require.ErrorIs(t, a.DeletePositions(t.Context()), errFenced)
	require.NoError(t, b.SaveBreaker(t.Context(), "a", time.Time{}, 0))
}
