package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// demoCommand returns a demo whose temporary files go to a folder of their own.
func demoCommand(t *testing.T, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay-demo-test-") // not t.TempDir: the server's account has to get in
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	cmd = relayCommand(t, append([]string{"demo"}, args...)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	return cmd, dir
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestDemoKeepsThePromiseAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	cmd, dir := demoCommand(t, "--duration", "5s", "--json")
	cmd.Env = append(cmd.Env, "PGSERVICE=mine", "PGTARGETSESSIONATTRS=standby", "PGOPTIONS=-c nonsense=1", "PGSSLMODE=verify-full") // are for another Postgres
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s%s", out.String(), errs.String())
	var v verdict
	require.NoError(t, json.Unmarshal(out.Bytes(), &v), out.String())
	require.True(t, v.Kept)
	require.Len(t, v.Endpoints, 3)
	require.Positive(t, v.Endpoints[0].Refused, "the outage was noticed")
	for _, e := range v.Endpoints {
		require.Positive(t, e.Expected)
		require.Equal(t, e.Expected, e.Received)
	}
	requireEmpty(t, dir)
}

func TestDemoCleansUpAfterCtrlC(t *testing.T) {
	t.Parallel()
	cmd, dir := demoCommand(t, "--duration", "1m")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "committed") {
		n, err := out.Read(buf)
		require.NoError(t, err, text.String())
		text.Write(buf[:n])
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	begun := time.Now()
	require.Error(t, cmd.Wait())
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), errs.String())
	require.Contains(t, errs.String(), "interrupted")
	require.Less(t, time.Since(begun), 20*time.Second)
	requireEmpty(t, dir)
}

func TestDemoSaysHowToGetPostgres(t *testing.T) {
	t.Parallel()
	cmd, _ := demoCommand(t)
	cmd.Env = append(cmd.Env, "RELAY_PG_BIN=/nonexistent")
	text, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(text), "initdb")
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
}
