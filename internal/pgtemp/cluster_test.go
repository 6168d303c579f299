package pgtemp_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
)

// asOwner makes the test binary start a cluster, print its folder and wait to be killed.
const asOwner = "PGTEMP_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(asOwner) == "" {
		os.Exit(m.Run())
	}
	c, err := pgtemp.Start(context.Background(), pgtemp.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Dir)
	select {}
}

func start(t *testing.T, settings map[string]string) *pgtemp.Cluster {
	t.Helper()
	c, err := pgtemp.Start(t.Context(), pgtemp.Options{Settings: settings})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	return c
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // only the answer counts
	var answer string
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&answer))
	return answer
}

func TestCluster_IsReadyForLogicalReplicationAndDurable(t *testing.T) {
	t.Parallel()
	c := start(t, map[string]string{"max_wal_senders": "7", "application_name": "it's"})

	url, err := c.CreateDatabase(t.Context(), `odd "name"`)
	require.NoError(t, err)

	require.Equal(t, "logical", query(t, url, "SHOW wal_level"))
	require.Equal(t, "on", query(t, url, "SHOW fsync"))
	require.Equal(t, "7", query(t, url, "SHOW max_wal_senders"))
	require.Equal(t, `odd "name"`, query(t, url, "SELECT current_database()"))
}

func TestCluster_KeepsDataOverEveryKindOfRestart(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	url := c.URL("postgres")
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 'still here' AS word")
	require.NoError(t, err)

	for _, mode := range []pgtemp.Mode{pgtemp.Fast, pgtemp.Immediate, pgtemp.Crash} {
		pid := c.Pid()
		require.NoError(t, c.Restart(t.Context(), mode))
		require.NotEqual(t, pid, c.Pid())
		require.Equal(t, "still here", query(t, url, "SELECT word FROM kept"))
	}
}

func TestCluster_StopLeavesNothingBehindEvenAfterAKill(t *testing.T) {
	t.Parallel()
	c, err := pgtemp.Start(t.Context(), pgtemp.Options{})
	require.NoError(t, err)
	pid := c.Pid()
	require.NoError(t, c.Kill())
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.NoError(t, c.Stop())
	require.NoDirExists(t, c.Dir)
	require.NoError(t, c.Stop(), "a second stop is harmless")
}

func TestCluster_EndsWithItsOwner(t *testing.T) {
	t.Parallel()
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), asOwner+"=1")
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	dir := strings.TrimSpace(line)
	require.DirExists(t, filepath.Join(dir, "data"))

	require.NoError(t, owner.Process.Kill())
	_ = owner.Wait() // killed, as it should be

	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	}, 20*time.Second, 50*time.Millisecond, "%s is still there", dir)
}

func TestStart_SaysWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	_, err := pgtemp.Start(t.Context(), pgtemp.Options{Settings: map[string]string{"wal_level": "loud"}})
	require.ErrorContains(t, err, `invalid value for parameter "wal_level": "loud"`)
}

func TestFindBin_NamesTheRemedy(t *testing.T) { // not parallel: it sets the environment
	t.Setenv(pgtemp.BinEnv, t.TempDir())
	_, err := pgtemp.FindBin()
	require.ErrorContains(t, err, pgtemp.BinEnv)
	require.ErrorContains(t, err, "lacks initdb or postgres")

	t.Setenv(pgtemp.BinEnv, "")
	dir, err := pgtemp.FindBin()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "initdb"))
}

func TestCluster_StartsAgainAtOnceHoweverItEndedUnderLoad(t *testing.T) {
	t.Parallel()
	c := start(t, map[string]string{"max_connections": "60"})
	var clients sync.WaitGroup
	t.Cleanup(func() { // the last of them end with the cluster
		require.NoError(t, c.Stop())
		clients.Wait()
	})
	for i, mode := range []pgtemp.Mode{pgtemp.Immediate, pgtemp.Crash, pgtemp.Immediate, pgtemp.Crash, pgtemp.Fast} {
		for range 30 { // backends that do not look up from their work
			conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
			require.NoError(t, err)
			clients.Go(func() {
				_, _ = conn.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 100000000) a") // ends with the server
				_ = conn.Close(context.Background())
			})
		}
		require.NoError(t, c.Shutdown(mode), "time %d", i)
		require.NoError(t, c.Launch(t.Context()), "time %d", i)
	}
}
