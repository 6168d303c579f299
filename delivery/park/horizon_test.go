package park

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

var (
	here    = Origin{System: "1", Slot: "relay"}
	outbox  = Outbox{Schema: "public", Name: "outbox", ID: "id"}
	farther = mapping.Place{Commit: 1 << 62}
)

// withOutbox returns a store, and a connection to the outbox beside it.
func withOutbox(t *testing.T, ddl string) (*Store, *pgx.Conn) {
	t.Helper()
	url := pgtest.Database(t)
	conn := connectTo(t, url)
	do(t, conn, ddl)
	return open(t, url), conn
}

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func do(t require.TestingT, conn *pgx.Conn, sql string, args ...any) {
	_, err := conn.Exec(context.Background(), sql, args...)
	require.NoError(t, err)
}

// erase deletes what is below the newest settled horizon and returns the ids of the rows that are left.
func erase(t require.TestingT, s *Store, conn *pgx.Conn) []string {
	ctx := context.Background()
	xid, err := s.SettledFor(ctx, here, 0)
	require.NoError(t, err)
	blocks, err := s.Blocks(ctx, outbox)
	require.NoError(t, err)
	for block := int64(0); block < blocks; {
		_, more, err := s.Erase(ctx, outbox, xid, block)
		require.NoError(t, err)
		if !more {
			block += Stretch
		}
	}
	rows, err := conn.Query(ctx, `SELECT id::text FROM outbox ORDER BY 1`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return ids
}

func horizon(t require.TestingT, s *Store) Horizon {
	h, err := s.TakeHorizon(context.Background(), here, 0)
	require.NoError(t, err)
	return h
}

// coverAll takes and settles a horizon that covers all that was committed before. It may take a while: transactions of other
// tests are open in the same cluster.
func coverAll(t require.TestingT, s *Store) {
	goal := horizon(t, s).Next
	require.Eventually(t, func() bool { return horizon(t, s).XID >= goal }, 30*time.Second, 5*time.Millisecond)
	settleHorizons(t, s)
}

func settleHorizons(t require.TestingT, s *Store) {
	require.NoError(t, s.SettleHorizons(context.Background(), here, farther))
}

func TestErase_KeepsRowsOfTransactionsThatWereOpenWhenTheHorizonWasTakenWhateverTheirTimeColumnSays(t *testing.T) {
	t.Parallel()
	s, conn := withOutbox(t, `CREATE TABLE outbox (id text, created_at timestamptz DEFAULT now())`)
	slow := connectTo(t, conn.Config().ConnString())
	do(t, slow, `BEGIN`)
	do(t, slow, `INSERT INTO outbox VALUES ('slow', '2000-01-01')`)
	do(t, slow, `SAVEPOINT a`)
	do(t, slow, `INSERT INTO outbox VALUES ('slow, in a savepoint', '2000-01-01')`)
	do(t, conn, `INSERT INTO outbox VALUES ('before')`) // after slow in IDs, so it has to wait for it
	horizon(t, s)
	do(t, slow, `COMMIT`)
	do(t, conn, `INSERT INTO outbox VALUES ('after', '2000-01-01')`)
	settleHorizons(t, s)
	require.Equal(t, []string{"after", "before", "slow", "slow, in a savepoint"}, erase(t, s, conn))
	horizon(t, s)
	require.Len(t, erase(t, s, conn), 4, "a horizon that is not settled deletes nothing")
	coverAll(t, s)
	require.Empty(t, erase(t, s, conn))
}

func TestErase_KeepsWhatIsParkedWhetherItWaitsOrIsDead(t *testing.T) {
	t.Parallel()
	s, conn := withOutbox(t, `CREATE TABLE outbox (id char(10))`)
	do(t, conn, `INSERT INTO outbox VALUES ('event-1'), ('event-2'), ('event-3')`)
	coverAll(t, s)
	waiting, dead := item(1, "k"), item(3, "k")
	waiting.Event.ID, dead.Event.ID, dead.State = "event-1   ", "event-3   ", "dead" // as the stream gives char(10)
	ids := park(t, s, waiting, dead)
	require.Equal(t, []string{"event-1", "event-3"}, erase(t, s, conn))
	settle(t, s, ids[:1])
	require.Equal(t, []string{"event-3"}, erase(t, s, conn))
}

func TestErase_SweepsEveryPartitionWithARightOnTheRootAlone(t *testing.T) {
	t.Parallel()
	s, conn := withOutbox(t, `CREATE TABLE outbox (id int, part int) PARTITION BY LIST (part);
		CREATE TABLE one PARTITION OF outbox FOR VALUES IN (1); CREATE TABLE two PARTITION OF outbox FOR VALUES IN (2)`)
	do(t, conn, `INSERT INTO outbox SELECT n, 1 + n % 2 FROM generate_series(1, 1501) n`)
	coverAll(t, s)
	do(t, conn, `INSERT INTO outbox VALUES (2000, 1)`)
	name := fmt.Sprintf("eraser_%d", time.Now().UnixNano())
	do(t, conn, `CREATE ROLE `+name+`; GRANT SELECT, DELETE ON outbox TO `+name)
	t.Cleanup(func() {
		_, err := conn.Exec(context.Background(), `DROP OWNED BY `+name+`; DROP ROLE `+name)
		require.NoError(t, err)
	})
	do(t, conn, `GRANT USAGE ON SCHEMA relay TO `+name+`; GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA relay TO `+name)
	cfg, err := PoolConfig(conn.Config().ConnString())
	require.NoError(t, err)
	cfg.ConnConfig.RuntimeParams["role"] = name
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	least := New(pool, "relay", nil)
	t.Cleanup(least.Close)
	require.Equal(t, []string{"2000"}, erase(t, least, conn))
	do(t, conn, `REVOKE DELETE ON outbox FROM `+name)
	_, _, err = least.Erase(t.Context(), outbox, 1<<60, 0)
	require.ErrorContains(t, err, `GRANT SELECT, DELETE ON "public"."outbox"`)
}

func TestErase_KeepsTheRowsOfATableThatInherits(t *testing.T) {
	t.Parallel()
	s, conn := withOutbox(t, `CREATE TABLE outbox (id text); CREATE TABLE heir () INHERITS (outbox)`)
	do(t, conn, `INSERT INTO outbox VALUES ('a')`)
	do(t, conn, `INSERT INTO heir VALUES ('b')`)
	coverAll(t, s)
	require.Equal(t, []string{"b"}, erase(t, s, conn))
}

func TestErase_LeavesARowThatIsLockedForTheNextTime(t *testing.T) {
	t.Parallel()
	s, conn := withOutbox(t, `CREATE TABLE outbox (id text)`)
	do(t, conn, `INSERT INTO outbox VALUES ('a')`)
	coverAll(t, s)
	holder := connectTo(t, conn.Config().ConnString())
	do(t, holder, `BEGIN`)
	do(t, holder, `SELECT FROM outbox FOR UPDATE`)
	require.Equal(t, []string{"a"}, erase(t, s, conn))
	do(t, holder, `ROLLBACK`)
	require.Empty(t, erase(t, s, conn))
}

func TestHorizons_OfAnotherClusterOrSlotCountForNothingAndAreForgotten(t *testing.T) {
	t.Parallel()
	s, conn := withOutbox(t, `CREATE TABLE outbox (id text)`)
	do(t, conn, `INSERT INTO outbox VALUES ('a')`)
	_, err := s.TakeHorizon(t.Context(), Origin{System: "2", Slot: "relay"}, 0)
	require.NoError(t, err)
	require.NoError(t, s.SettleHorizons(t.Context(), Origin{System: "2", Slot: "relay"}, farther))
	require.Equal(t, []string{"a"}, erase(t, s, conn))
	h := horizon(t, s)
	again, err := s.TakeHorizon(t.Context(), here, h.XID+1000)
	require.NoError(t, err)
	require.GreaterOrEqual(t, again.XID, h.XID)
	require.NoError(t, s.PruneHorizons(t.Context(), here, time.Hour))
	require.NoError(t, s.ForgetHorizons(t.Context()))
	var left int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM relay.horizon`).Scan(&left))
	require.Zero(t, left)
}

// TestErase_NeverDeletesARowWhoseCommitIsBehindTheSettledPosition is the rule itself: whatever transactions do, a row that
// is gone was committed before a place in the WAL that everything before was settled at.
func TestErase_NeverDeletesARowWhoseCommitIsBehindTheSettledPosition(t *testing.T) {
	t.Parallel()
	s, conn := withOutbox(t, `CREATE TABLE outbox (id bigint PRIMARY KEY, note text)`)
	const writers = 4
	var conns [writers]*pgx.Conn
	for i := range conns {
		conns[i] = connectTo(t, conn.Config().ConnString())
	}
	next := int64(0)
	rapid.Check(t, func(t *rapid.T) {
		for w := range conns {
			do(t, conns[w], `ROLLBACK`) // left open by a run that failed
		}
		do(t, conn, `TRUNCATE outbox; TRUNCATE relay.horizon`)
		var open [writers][]int64     // written and not committed
		commits := map[int64]uint64{} // row → end of the WAL after its commit
		exists := map[int64]bool{}
		settled := uint64(0)
		end := func() uint64 {
			var lsn int64
			require.NoError(t, conn.QueryRow(context.Background(), `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint`).Scan(&lsn))
			return uint64(lsn)
		}
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			w := rapid.IntRange(0, writers-1).Draw(t, "writer")
			switch rapid.SampledFrom([]string{"write", "write", "commit", "rollback", "horizon", "settle", "erase", "update"}).Draw(t, "do") {
			case "write":
				if open[w] == nil {
					do(t, conns[w], `BEGIN`)
				} else {
					do(t, conns[w], `SAVEPOINT s`)
				}
				next++
				do(t, conns[w], `INSERT INTO outbox VALUES ($1)`, next)
				open[w] = append(open[w], next)
			case "commit":
				do(t, conns[w], `COMMIT`)
				for _, id := range open[w] {
					commits[id], exists[id] = end(), true
				}
				open[w] = nil
			case "rollback":
				do(t, conns[w], `ROLLBACK`)
				open[w] = nil
			case "update":
				do(t, conn, `UPDATE outbox SET note = 'x' WHERE id = (SELECT min(id) FROM outbox)`)
			case "horizon":
				horizon(t, s)
			case "settle":
				settled = end()
				place := mapping.Place{}
				*(*uint64)(&place.Commit) = settled
				require.NoError(t, s.SettleHorizons(context.Background(), here, place))
			case "erase":
				left := map[string]bool{}
				for _, id := range erase(t, s, conn) {
					left[id] = true
				}
				for id := range exists {
					if !left[fmt.Sprint(id)] {
						require.LessOrEqual(t, commits[id], settled, "row %d", id)
						delete(exists, id)
					}
				}
			}
		}
		for w := range conns {
			do(t, conns[w], `COMMIT`)
		}
		coverAll(t, s)
		require.Empty(t, erase(t, s, conn), "in the end all of it goes")
	})
}
