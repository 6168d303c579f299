package park

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestNext_ReadsNothingItDoesNotReturn puts 100,000 rows behind one key that waits, and looks at what Next reads, in a session
// with the planner's defaults. It fails when Next has a sequential scan or steps over the rows held back.
func TestNext_ReadsNothingItDoesNotReturn(t *testing.T) {
	t.Parallel()
	s := setup(t)
	head := item(1, "poison")
	head.Due = time.Now().Add(time.Hour)
	park(t, s, head)
	const behind = 100_000
	for from := 2; from < behind; from += 10_000 {
		park(t, s, items(from, from+9_999, "poison")...)
	}
	park(t, s, items(behind+100, behind+150, "well")...)

	names, rows := next(t, s, nil, 20)
	require.Len(t, names, 20)
	require.Equal(t, fmt.Sprintf("event-%d", behind+100), names[0])

	cfg, err := pgx.ParseConfig(s.pool.Config().ConnString())
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // ends with the test
	plan := explain(t, conn, s.sql(nextSQL), "a", time.Now(), idsOf(rows), 20, s.cursor("a").turn)
	require.NotContains(t, plan, "Seq Scan", plan)
	require.Contains(t, plan, "hashed SubPlan", plan)
	require.Regexp(t, `Index Scan using delivery_ready .*rows=20(\.00)? `, plan)
	require.NotContains(t, plan, "Rows Removed by Filter", plan)

	start := time.Now()
	settle(t, s, idsOf(rows))
	names, _ = next(t, s, nil, 20)
	require.Len(t, names, 20)
	b, err := s.Backlog(t.Context(), "a", 10)
	require.NoError(t, err)
	require.Equal(t, []string{"poison"}, b.Blocked)
	require.Less(t, time.Since(start), time.Second, "settle, next and backlog behind a poison key")
}

// At a start the places from each endpoint's position on are read, however many rows lie before them.
func TestReconcile_ReadsNothingFromBeforeThePosition(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for from := 1; from <= 50_000; from += 5_000 {
		park(t, s, items(from, from+4_999, fmt.Sprint("key", from))...)
	}
	cfg, err := pgx.ParseConfig(s.pool.Config().ConnString())
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // ends with the test
	endpoints, lsns, ordinals := columnsOf([]seat{{"a", at(49_991)}, {"b", at(1)}})
	plan := explain(t, conn, s.sql(fromSQL), endpoints, lsns, ordinals, "no such slot")
	require.NotContains(t, plan, "Seq Scan on delivery", plan)
	require.Regexp(t, `Index (Only )?Scan (using|on) delivery_place `, plan)
	require.NotContains(t, plan, "Rows Removed by Filter", plan)
}

func explain(t *testing.T, conn *pgx.Conn, query string, args ...any) string {
	t.Helper()
	found, err := conn.Query(t.Context(), "EXPLAIN (ANALYZE, TIMING off) "+query, args...)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(found, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(lines, "\n")
}

// TestSettle_LooksIntoIndexesOnly runs the lane's statements over a large table and asks the server for its scans.
func TestSettle_LooksIntoIndexesOnly(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for from := 1; from <= 50_000; from += 5_000 {
		park(t, s, items(from, from+4_999, fmt.Sprint("key", from))...)
	}
	_, rows := next(t, s, nil, 500)
	rows[1].Due = time.Now().Add(time.Hour)
	settle(t, s, []int64{rows[0].ID}, rows[1])
	_, err := s.Backlog(t.Context(), "a", 10)
	require.NoError(t, err)
	conn := s.pool
	require.Eventually(t, func() bool { // statistics come a little later
		var index, sequential int64
		err := conn.QueryRow(t.Context(), `SELECT idx_scan, seq_scan FROM pg_stat_user_tables WHERE relname = 'delivery'`).Scan(&index, &sequential)
		require.NoError(t, err)
		require.LessOrEqual(t, sequential, int64(8), "building the indexes is all that reads the table")
		return index > 0
	}, 15*time.Second, 100*time.Millisecond)
}
