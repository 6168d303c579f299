package cdc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// Why relay writes no heartbeat: the slot of a quiet database follows what others write on the same server, by keepalives
// alone, confirmed position and restart_lsn both, and nothing is written for it.
func TestStream_MovesTheSlotOfAQuietDatabaseWhileAnotherIsBusy(t *testing.T) {
	t.Parallel()
	c := pgtest.Cluster(t, pgtemp.Options{})
	url, err := c.CreateDatabase(t.Context(), "quiet")
	require.NoError(t, err)
	s := setup(t, url)
	run := s.stream(nil)
	run.until(cdc.StateStreaming)
	other := dial(t, c.URL("postgres"))
	_, err = other.Exec(t.Context(), `CREATE TABLE busy (x text)`)
	require.NoError(t, err)
	restart := s.lsn(`SELECT restart_lsn::text FROM pg_replication_slots`)
	written := func() (n int64) {
		require.NoError(t, s.conn.QueryRow(t.Context(), `SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables`).Scan(&n))
		return n
	}
	before := written()

	worst := int64(0)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		_, err := other.Exec(t.Context(), `INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 500)`)
		require.NoError(t, err)
		worst = max(worst, int64(s.walEnd())-int64(s.confirmed()))
	}
	end := s.walEnd()
	t.Logf("%d MiB written by the other database, confirmed at most %d KiB behind", (int64(end)-int64(restart))>>20, worst>>10)
	require.Less(t, worst, (int64(end)-int64(restart))/2, "confirmed while the other database writes, not after it")
	eventually(t, "confirmed passes the other's writes", func() bool { return s.confirmed() >= end })
	_, err = other.Exec(t.Context(), `CHECKPOINT`) // logs running transactions, as the server does by itself every 15 s
	require.NoError(t, err)
	eventually(t, "restart_lsn passes them too", func() bool { return s.lsn(`SELECT restart_lsn::text FROM pg_replication_slots`) >= end })
	require.Equal(t, before, written(), "nothing was written for it")
}
