package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

const examples = repository + "/examples"

func TestTheGoAppsOrdersReachItsReceiver(t *testing.T) {
	t.Parallel()
	requireOrdersDelivered(t, []string{goExample(t, "orders")},
		exec.CommandContext(t.Context(), goExample(t, "receivers/go")), "DATABASE_URL="+pgtest.Database(t))
}

func TestTheNodeAppsOrdersReachItsReceiver(t *testing.T) {
	t.Parallel()
	node := needNode(t, filepath.Join(examples, "node"))
	needNode(t, filepath.Join(receivers, "node"))
	requireOrdersDelivered(t, []string{node, examples + "/node/app.mjs"},
		exec.CommandContext(t.Context(), node, receivers+"/node/receiver.mjs"), "DATABASE_URL="+pgtest.Database(t))
}

func TestThePythonAppsOrdersReachItsReceiver(t *testing.T) {
	t.Parallel()
	python := needPsycopg(t)
	requireOrdersDelivered(t, []string{python, examples + "/python/app.py"},
		exec.CommandContext(t.Context(), python, receivers+"/python/receiver.py"), "DATABASE="+filepath.Join(t.TempDir(), "received.db"))
}

func TestTheNodeAppsPackagesAreLockedAndOfNoParticularRegistry(t *testing.T) {
	t.Parallel()
	var lock struct {
		Packages map[string]struct{ Integrity, Resolved string }
	}
	require.NoError(t, json.Unmarshal([]byte(readDoc(t, "examples/node/package-lock.json")), &lock))
	require.Greater(t, len(lock.Packages), 1)
	for name, p := range lock.Packages {
		require.Empty(t, p.Resolved, name)
		if name != "" { // the app itself
			require.NotEmpty(t, p.Integrity, name)
		}
	}
}

// goExample builds an example's program and returns its path.
func goExample(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "example")
	text, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "relay/examples/"+name).CombinedOutput()
	require.NoError(t, err, string(text))
	return path
}

// needPsycopg returns a Python that has psycopg, and skips the test if there is none.
func needPsycopg(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import psycopg").Run() == nil {
			return python
		}
	}
	t.Skip("skipped: no python3 here has psycopg; make test installs it where apt-get is")
	return ""
}

// requireOrdersDelivered has the app place orders, which relay delivers to the receiver. One whose event cannot be written
// must not be there either.
func requireOrdersDelivered(t *testing.T, app []string, receiver *exec.Cmd, env string) {
	t.Helper()
	s, err := newSecrets()
	require.NoError(t, err)
	url := startReceiver(t, receiver, env, "RELAY_SECRET="+s.HMAC)
	r := startRelay(t, "  shop: {url: \""+url+"/webhooks\", secrets: ["+s.HMAC+"]}\n")
	_, err = r.Conn.Exec(t.Context(), readDoc(t, "examples/sql/schema.sql")+
		`ALTER TABLE outbox ADD CHECK (payload->>'total' <> '13.00')`)
	require.NoError(t, err)

	const orders = 3
	for range orders {
		text, err := r.runApp(app, "alice", "20.10")
		require.NoError(t, err, text)
		require.Contains(t, text, "placed order ")
	}
	_, err = r.runApp(app, "alice", "13.00")
	require.Error(t, err)
	r.eventually(func() bool { return ordersAt(t, url) == orders }, "orders at the receiver")
	requireRevenue(t, url, orders)
	var placed int
	require.NoError(t, r.Conn.QueryRow(t.Context(), `SELECT count(*) FROM orders WHERE customer = 'alice'`).Scan(&placed))
	require.Equal(t, orders, placed, "an order without an event")
}

func (r *running) runApp(app []string, args ...string) (string, error) {
	cmd := exec.CommandContext(r.t.Context(), app[0], append(app[1:len(app):len(app)], args...)...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+r.URL)
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// ordersAt is how many orders a receiver counts.
func ordersAt(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url + "/revenue")
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // a test's answer
	var revenue struct{ Orders int }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&revenue))
	return revenue.Orders
}
