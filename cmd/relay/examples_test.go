package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
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

func TestTheExamplesReadmeWorks(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "psql", "timeout"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: %s is not on this machine", tool)
		}
	}
	url, err := pgtest.Cluster(t, pgtemp.Options{}).CreateDatabase(t.Context(), "shop")
	require.NoError(t, err)
	port := freePort(t)
	config := configFile(t, strings.Replace(readDoc(t, defaultConfig), "127.0.0.1:4000", "127.0.0.1:"+port, 1)+"\nadmin: {listen: \"\"}\n")
	script, orders := readmeScript(t, url, port)
	require.GreaterOrEqual(t, orders, 2)
	cmd := exec.CommandContext(t.Context(), "bash", "-ec", script)
	cmd.SysProcAttr, cmd.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, time.Second
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "PATH="+relayInPath(t, config)+":"+os.Getenv("PATH"))
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with what it left in the background
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	arrived := func() bool { return strings.Count(out.String(), `"type":"order.created"`) == orders }
	require.Eventually(t, arrived, 60*time.Second, 50*time.Millisecond, "an order of each application")
}

var indented = regexp.MustCompile(`(?m)^    (.+)$`)

// readmeScript is the commands as they stand, and how many orders they place. Others may have taken the usual port, and npm ci
// was run before; the applications whose runtime is not here are left out.
func readmeScript(t *testing.T, url, port string) (script string, orders int) {
	t.Helper()
	python := psycopg(t)
	_, packages := os.Stat(examples + "/node/node_modules")
	replace := strings.NewReplacer("postgres://localhost/shop", url, "relay listen", "relay listen --port "+port,
		"npm ci && ", "", "python3 examples", python+" examples")
	for _, found := range indented.FindAllStringSubmatch(readDoc(t, "examples/README.md"), -1) {
		line := found[1]
		if strings.HasPrefix(line, "python3 ") && python == "" || strings.Contains(line, "node ") && packages != nil {
			continue
		}
		script += replace.Replace(line) + "\n"
		orders += strings.Count(line, "order.sql") + strings.Count(line, "alice")
	}
	return script, orders
}

// relayInPath returns a folder in which relay is the program, with this configuration.
func relayInPath(t *testing.T, config string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	folder := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec timeout --foreground 120 '%s' -c '%s' \"$@\"\n", asRelay, self, config)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "relay"), []byte(script), 0o700)) //nolint:gosec // it is run
	return folder
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
	python := psycopg(t)
	if python == "" {
		t.Skip("skipped: no python3 here has psycopg; make test installs it where apt-get is")
	}
	return python
}

func psycopg(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import psycopg").Run() == nil {
			return python
		}
	}
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
