package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

// running is the real program, delivering from a database of its own, with its admin server and debug log.
type running struct {
	t      *testing.T
	URL    string // of the database
	Config string // path of its relay.yaml, in a folder of its own
	Conn   *pgx.Conn

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  syncBuffer
}

// startRelay sets up a fresh database and starts relay run on it. The endpoints are indented YAML.
func startRelay(t *testing.T, endpoints string, env ...string) *running {
	t.Helper()
	r := prepareRelay(t, endpoints)
	r.Start(env...)
	return r
}

// prepareRelay is startRelay up to the start.
func prepareRelay(t *testing.T, endpoints string) *running {
	t.Helper()
	return prepareRelayAt(t, pgtest.Database(t), endpoints)
}

// prepareRelayAt is prepareRelay for a database that is there.
func prepareRelayAt(t *testing.T, database, endpoints string) *running {
	t.Helper()
	r := &running{t: t, URL: database}
	u, err := url.Parse(r.URL)
	require.NoError(t, err)
	r.Config = configFile(t, fmt.Sprintf("source: {url: %q, slot: %q, hold: 1s}\nadmin: {listen: \"127.0.0.1:0\"}\n"+
		"log: {level: debug}\nshutdown_timeout: 5s\nendpoints:\n%s", r.URL, "relay_"+strings.Trim(u.Path, "/"), endpoints))
	r.Conn, err = pgx.Connect(t.Context(), r.URL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Conn.Close(t.Context()) })
	return r
}

// Dir is the folder of the configuration, to which its paths are relative.
func (r *running) Dir() string { return filepath.Dir(r.Config) }

// Start sets up what is missing in the database and starts the program.
func (r *running) Start(env ...string) {
	r.t.Helper()
	setup := relayOut(r.t, "setup", "-c", r.Config)
	require.Zero(r.t, setup.status, setup.err)
	r.run(env...)
	r.eventually(func() bool {
		return adminListening.MatchString(r.Log()) && strings.Contains(r.get("/readyz"), "ready: streaming")
	}, "relay streams")
}

// run starts the program, whatever the database is like.
func (r *running) run(env ...string) {
	r.t.Helper()
	started := len(adminListening.FindAllString(r.Log(), -1))
	r.cmd = relayCommand(r.t, "run", "-c", r.Config)
	r.cmd.Env = append(r.cmd.Env, env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	require.NoError(r.t, r.cmd.Start())
	done := make(chan struct{})
	r.done = done
	cmd := r.cmd
	go func() {
		_ = cmd.Wait() // the exit status is looked at by Stop
		close(done)
	}()
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-done
		if r.t.Failed() {
			r.t.Logf("the relay's log:\n%s", r.log.String())
		}
	})
	r.eventually(func() bool { return len(adminListening.FindAllString(r.Log(), -1)) > started }, "its admin server listens")
}

// Stop ends the program softly.
func (r *running) Stop() {
	r.t.Helper()
	require.NoError(r.t, r.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		require.Fail(r.t, "relay does not stop")
	}
	require.Zero(r.t, r.cmd.ProcessState.ExitCode())
}

// Insert writes one event into the outbox and returns its id.
func (r *running) Insert(typ, payload, headers string) string {
	r.t.Helper()
	var id string
	require.NoError(r.t, r.Conn.QueryRow(r.t.Context(),
		`INSERT INTO outbox (type, payload, headers) VALUES ($1, $2::text::jsonb, nullif($3::text, '')::jsonb) RETURNING id::text`,
		typ, payload, headers).Scan(&id))
	return id
}

// Log is what it has logged so far.
func (r *running) Log() string { return r.log.String() }

var adminListening = regexp.MustCompile(`admin listening.* address=(\S+)`)

// Admin is the URL of its admin server.
func (r *running) Admin() string {
	r.t.Helper()
	found := adminListening.FindAllStringSubmatch(r.Log(), -1) // the last, if it was started again
	require.NotEmpty(r.t, found, "admin address in the log")
	return "http://" + found[len(found)-1][1]
}

// get returns what the admin server answers, or the error.
func (r *running) get(path string) string {
	resp, err := http.Get(r.Admin() + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close() //nolint:errcheck // a test's answer
	body, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return string(body)
}

// Write writes a file beside the configuration, in place of what was there, as editors and secret mounts do: by rename.
func (r *running) Write(name string, data []byte) {
	r.t.Helper()
	path := filepath.Join(r.Dir(), name)
	require.NoError(r.t, os.WriteFile(path+".new", data, 0o600))
	require.NoError(r.t, os.Rename(path+".new", path))
}

func (r *running) eventually(cond func() bool, what string) {
	r.t.Helper()
	require.Eventually(r.t, cond, time.Minute, 20*time.Millisecond, what)
}

// syncBuffer is a buffer that several goroutines use.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns everything so far.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
