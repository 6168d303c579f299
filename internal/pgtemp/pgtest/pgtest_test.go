package pgtest_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestDatabase_IsFreshForEachTest(t *testing.T) {
	t.Parallel()
	for range 2 {
		conn, err := pgx.Connect(t.Context(), pgtest.Database(t))
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "CREATE TABLE outbox (id int)")
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
	}
}

func TestDatabase_IsDroppedWithItsSlotsAndClients(t *testing.T) {
	t.Parallel()
	other, err := pgx.Connect(t.Context(), pgtest.Database(t))
	require.NoError(t, err)
	defer other.Close(t.Context()) //nolint:errcheck // the test is over

	var name string
	t.Run("use one", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), pgtest.Database(t)) // left open
		require.NoError(t, err)
		name = conn.Config().Database
		_, err = conn.Exec(t.Context(), "SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')")
		require.NoError(t, err)
	})

	var left int
	err = other.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM pg_database WHERE datname = $1) + "+
		"(SELECT count(*) FROM pg_replication_slots WHERE database = $1)", name).Scan(&left)
	require.NoError(t, err)
	require.Zero(t, left)
}
