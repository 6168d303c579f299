// Package pgtest gives tests real Postgres databases, in the manner of net/http/httptest.
package pgtest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/internal/pgtemp"
)

// shared is the cluster of this test process, started by the first test that asks. It runs without fsync: no test
// pulls the machine's plug, and killed processes lose nothing that the system already holds.
var shared = sync.OnceValues(func() (*pgtemp.Cluster, error) {
	started.Store(true)
	return pgtemp.Start(context.Background(), pgtemp.Options{Settings: fast(nil)})
})

var started atomic.Bool

// Run runs the tests of a package and stops the shared cluster. Without it the cluster ends when the process has ended.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
func Run(m *testing.M) int {
	code := m.Run()
	if !started.Load() {
		return code
	}
	if c, err := shared(); err == nil {
		if err := c.Stop(); err != nil {
			fmt.Println("stop the tests' cluster:", err)
			return max(code, 1)
		}
	}
	return code
}

var databases atomic.Int64

// Database returns the URL of a fresh, empty database, which is dropped after the test together with its slots. It lies
// in the one cluster shared by the tests of a process, so it is cheap, but making a replication slot waits for the open
// transactions of all tests: one that keeps a transaction open, or that disturbs the server, takes a Cluster of its own.
func Database(t testing.TB) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	url, err := c.CreateDatabase(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(c.URL("postgres"), name); err != nil {
			t.Logf("drop database %s: %v", name, err) // the cluster goes away anyway
		}
	})
	return url
}

// Cluster returns a cluster of the test's own, without fsync unless opts ask for it, which is stopped after the test.
func Cluster(t testing.TB, opts pgtemp.Options) *pgtemp.Cluster {
	t.Helper()
	opts.Settings = fast(opts.Settings)
	c, err := pgtemp.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop cluster: %v", err)
		}
	})
	return c
}

func fast(settings map[string]string) map[string]string {
	all := map[string]string{"fsync": "off"}
	maps.Copy(all, settings)
	return all
}

// drop removes a database in spite of the clients and slots it may still have.
func drop(admin, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the statements' answers are all that counts
	// A stream may reconnect between the two statements, or take a moment to end, hence more than one try.
	for {
		err := dropSlots(ctx, conn, name)
		if err == nil {
			_, err = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
		}
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "slot") {
			return err
		}
		time.Sleep(50 * time.Millisecond) // there is no event for a slot's release
	}
}

func dropSlots(ctx context.Context, conn *pgx.Conn, database string) error {
	const kick = `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active`
	if _, err := conn.Exec(ctx, kick, database); err != nil {
		return err
	}
	const drop = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1`
	_, err := conn.Exec(ctx, drop, database)
	return err
}
