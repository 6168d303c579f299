package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

// asRelay makes the test binary behave as the relay binary: what a test starts is the real program, race detector
// included.
const asRelay = "RELAY_TEST_AS_RELAY"

func TestMain(m *testing.M) {
	if os.Getenv(asRelay) != "" {
		os.Exit(realMain())
	}
	os.Exit(pgtest.Run(m))
}

// relayCommand returns the program as a process yet to be started, in a folder of its own.
func relayCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asRelay+"=1")
	cmd.Dir = t.TempDir()
	return cmd
}

// result is what a command line came to.
type result struct {
	status   int
	out, err string
}

// relayOut runs one command line inside the test, without a terminal.
func relayOut(t *testing.T, args ...string) result {
	t.Helper()
	return relayIn(t.Context(), args...)
}

func relayIn(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	status := execute(ctx, newConsole(bytes.NewReader(nil), &out, &errs), args)
	return result{status, out.String(), errs.String()}
}

// configFile writes a relay.yaml and returns its path.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), defaultConfig)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// databaseConfig is a relay.yaml for a fresh database.
func databaseConfig(t *testing.T, more string) (path, url string) {
	t.Helper()
	url = pgtest.Database(t)
	slot := "relay_" + filepath.Base(url)[len("test_"):]
	if i := bytes.IndexByte([]byte(slot), '?'); i > 0 {
		slot = slot[:i]
	}
	return configFile(t, "source:\n  url: "+url+"\n  slot: "+slot+"\n"+more+
		"endpoints:\n  billing: {url: \"http://127.0.0.1:1/\"}\n  shipping: {url: \"http://127.0.0.1:1/\"}\n"), url
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
