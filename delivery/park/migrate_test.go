package park

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"relay/internal/pgtemp/pgtest"
)

func bare(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, "relay", nil)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestMigrate_MayRunInManyRelaysAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var group errgroup.Group
	for range 8 {
		s := bare(t, url)
		group.Go(func() error { return s.Migrate(t.Context()) })
	}
	require.NoError(t, group.Wait())
	version, err := bare(t, url).Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, len(migrations()), version)
	done, err := Migrate(t.Context(), url, "relay")
	require.NoError(t, err)
	require.Empty(t, done, "nothing is left to do")
}

func TestMigrate_GoesOnAfterACrashBetweenSteps(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.Database(t))
	n := len(migrations()) + 1
	broken := migration{n, "broken", "CREATE TABLE {{schema}}.half (); SELECT 1/0;"}
	done, err := s.migrate(t.Context(), append(migrations(), broken))
	require.ErrorContains(t, err, fmt.Sprintf("version %d (broken)", n))
	require.Len(t, done, n-1)
	whole := migration{n, "whole", "CREATE TABLE {{schema}}.half ();"}
	done, err = s.migrate(t.Context(), append(migrations(), whole))
	require.NoError(t, err)
	require.Equal(t, []string{fmt.Sprintf("schema relay: migrated to version %d (whole)", n)}, done)

	var newer *NewerError
	require.ErrorAs(t, s.Migrate(t.Context()), &newer)
	require.Equal(t, n, newer.Version)
}

func TestMigrationSQL_IsWhatMigrateDoes(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.Database(t))
	for range 2 {
		conn, err := s.pool.Acquire(t.Context())
		require.NoError(t, err)
		_, err = conn.Conn().PgConn().Exec(t.Context(), MigrationSQL("relay")).ReadAll()
		conn.Release()
		require.NoError(t, err)
	}
	done, err := s.migrate(t.Context(), migrations())
	require.NoError(t, err)
	require.Empty(t, done)
}

func TestMigrate_NeedsNoRightOverTheDatabaseWhenADBADidIt(t *testing.T) {
	t.Parallel()
	admin := bare(t, pgtest.Database(t))
	role, as := newRole(t, admin)
	var denied *DeniedError
	err := as.Migrate(t.Context())
	require.ErrorAs(t, err, &denied)
	require.ErrorContains(t, err, "GRANT CREATE ON DATABASE")

	require.NoError(t, admin.Migrate(t.Context()))
	require.ErrorAs(t, as.Migrate(t.Context()), &denied, "it may not read")
	conn, err := admin.pool.Acquire(t.Context())
	require.NoError(t, err)
	_, err = conn.Conn().PgConn().Exec(t.Context(), GrantSQL("relay", role)).ReadAll()
	conn.Release()
	require.NoError(t, err)
	require.NoError(t, as.Migrate(t.Context()))
	park(t, as, item(1, "k"), item(2, "k"))
	_, rows := next(t, as, nil, 10)
	settle(t, as, idsOf(rows))
	require.NoError(t, as.Pause(t.Context(), "a"))
	require.NoError(t, as.SavePositions(t.Context(), Origin{"1", "s"}, nil))

	n := len(migrations()) + 1
	_, err = as.migrate(t.Context(), append(migrations(), migration{n, "newer", "ALTER TABLE {{schema}}.delivery ADD newer int;"}))
	require.NoError(t, err, "a newer relay may migrate as the role")
	var others int
	require.NoError(t, admin.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_class
		WHERE relnamespace = 'relay'::regnamespace AND relkind IN ('r', 'v', 'S') AND relowner <> $1::regrole`, quote(role)).Scan(&others))
	require.Zero(t, others, "of the relations in its schema")
}

// A publication FOR ALL TABLES publishes updates, which Postgres refuses in a table that has no primary key.
func TestMigrate_GivesEveryTableAPrimaryKey(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.Database(t))
	require.NoError(t, s.Migrate(t.Context()))
	rows, err := s.pool.Query(t.Context(), `SELECT relname::text FROM pg_class c WHERE relnamespace = 'relay'::regnamespace AND relkind = 'r'
		AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)`)
	require.NoError(t, err)
	without, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Empty(t, without)
}

// newRole returns a role with no rights but to log in, and a store as it.
func newRole(t *testing.T, admin *Store) (string, *Store) {
	t.Helper()
	cfg := admin.pool.Config()
	role := "park_" + cfg.ConnConfig.Database
	_, err := admin.pool.Exec(t.Context(), fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD 'secret'`, quote(role)))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, err := admin.pool.Exec(ctx, fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", quote(role)), pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	})
	u, err := url.Parse(cfg.ConnString())
	require.NoError(t, err)
	q := u.Query()
	if q.Get("user") != "" {
		q.Set("user", role)
		u.RawQuery = q.Encode()
	}
	if u.User != nil {
		u.User = url.UserPassword(role, "secret")
	}
	return role, bare(t, u.String())
}
