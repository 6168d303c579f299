package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// asRun runs a command line as a process, with an environment, and returns what it came to.
func asRun(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := relayCommand(t, args...)
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the status says it
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func TestCommands_NameTheEndpointThatWasMeant(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	for _, args := range [][]string{
		{"pause", "biling"},
		{"resume", "biling"},
		{"parked", "--endpoint", "biling"},
		{"retry", "--endpoint", "biling", "--yes"},
		{"discard", "--endpoint", "biling", "--yes"},
		{"replay", "--endpoint", "biling", "--since", "1h", "--yes"},
		{"explain", "--endpoint", "biling"},
	} {
		got := relayOut(t, append(args, "-c", path)...)
		require.Equal(t, exitUsage, got.status, args)
		require.Equal(t, "relay: no endpoint \"biling\" in "+path+", did you mean billing?\n", got.err, args)
		require.Empty(t, got.out, args)
	}
}

func TestCommands_RefuseToAskWithoutATerminal(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	got := asRun(t, nil, "teardown", "-c", path)
	require.Equal(t, exitUsage, got.status)
	require.Contains(t, got.err, "not asked for lack of a terminal; add --yes")
}

func TestStatus_FitsTheColumnsItIsGiven(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "admin: {listen: \"127.0.0.1:1\"}\n")
	got := asRun(t, []string{"COLUMNS=40"}, "status", "-c", path)
	require.Equal(t, exitFailed, got.status)
	require.NotContains(t, got.out, "\x1b", "no colours into a pipe")
	for line := range strings.Lines(got.out) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 40, line)
	}
}

// What is piped into head goes on to a reader that is gone: the system ends the process, as it does with any other, and nothing is
// said about it.
func TestCommands_EndInSilenceWhenTheirReaderIsGone(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	for _, args := range [][]string{{"schema"}, {"status"}, {"parked", "--json"}, {"check"}, {"help"}, {"setup", "--print"}} {
		reader, writer, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		cmd := relayCommand(t, append(args, "-c", path)...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = writer, &errs
		_ = cmd.Run() // by a signal, or with what it came to
		require.NoError(t, writer.Close())
		require.NotContains(t, errs.String(), "panic", args)
		require.NotContains(t, errs.String(), "broken pipe", args)
	}
}

func TestRun_SaysWhichKeyIsAboutAnAdminPortThatIsTaken(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "")
	text := readFile(t, path)
	first := startRelay(t, "  a: {url: \"http://127.0.0.1:1\"}\n")
	taken := configFile(t, text+"admin: {listen: \""+strings.TrimPrefix(first.Admin(), "http://")+"\"}\n")
	got := asRun(t, nil, "run", "-c", taken)
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, got.err, "address already in use (admin.listen in "+taken+" says where)")
	require.Equal(t, 1, strings.Count(got.err, "\n"), got.err)
	first.Stop()
}
