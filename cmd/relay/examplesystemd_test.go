package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

const systemdUnit = "examples/systemd/relay.service"

// unit is what a unit file says, each key's values in the order of the file.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	keys := map[string][]string{}
	for line := range strings.Lines(readDoc(t, systemdUnit)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			keys[key] = append(keys[key], value)
		}
	}
	return keys
}

var credentialFile = regexp.MustCompile(`\$\{file:/run/credentials/relay\.service/([a-z-]+)\}`)

func TestTheSystemdUnitFitsItsConfiguration(t *testing.T) {
	t.Parallel()
	u := unit(t)
	requireCommand(t, strings.Fields(u["ExecStart"][0])[1:], "run", "/etc/relay/relay.yaml")
	require.Equal(t, []string{"/bin/kill -HUP $MAINPID"}, u["ExecReload"])

	text := readDoc(t, "examples/systemd/relay.yaml")
	var asked []string
	for _, found := range credentialFile.FindAllStringSubmatch(text, -1) {
		asked = append(asked, found[1]+":/etc/relay/secrets/"+found[1])
	}
	require.Equal(t, asked, u["LoadCredential"])

	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "database-url"), []byte("postgres://relay@db.example.com/shop\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "billing-secret"), []byte(vectorSecret+"\n"), 0o600))
	cfg, err := mapping.Parse("relay.yaml", []byte(strings.ReplaceAll(text, "/run/credentials/relay.service", folder)), os.LookupEnv)
	require.NoError(t, err)
	patience, err := time.ParseDuration(u["TimeoutStopSec"][0])
	require.NoError(t, err)
	require.Greater(t, patience, cfg.ShutdownTimeout+adminStopTimeout)
}

func TestTheSystemdUnitIsValidAndConfined(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("skipped: systemd-analyze is not on this machine")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "relay.service")
	text := strings.ReplaceAll(readDoc(t, systemdUnit), "/usr/local/bin/relay", self) // verify wants it to be there
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	for _, args := range [][]string{{"verify", path}, {"security", "--offline=true", "--threshold=15", "--no-pager", path}} {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
		if strings.Contains(string(out), "unrecognized option") {
			t.Skip("skipped: systemd-analyze here cannot judge a file")
		}
		require.NoError(t, err, string(out))
		if args[0] == "verify" {
			require.NotContains(t, string(out), path, "what it warns of is in the unit")
		}
	}
}

func TestTheSystemdUnitRestartsWhatCrashedAndNotWhatIsMisconfigured(t *testing.T) {
	t.Parallel()
	u := unit(t)
	require.Equal(t, []string{"on-failure"}, u["Restart"])
	require.Equal(t, []string{"2"}, u["RestartPreventExitStatus"])
	mistaken := relayCommand(t, "run", "-c", configFile(t, "endpoint: {}\n"))
	require.Error(t, mistaken.Run())
	require.Equal(t, 2, mistaken.ProcessState.ExitCode())

	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})) // as LimitCORE=0
	r := startRelay(t, "  a: {url: \"http://127.0.0.1:1/\"}\n", u["Environment"]...)
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGQUIT)) // ends it as a panic does
	<-r.done
	status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled(), "ended with %d, which systemd would take for a mistake in relay.yaml", status.ExitStatus())
}

// requireCommand is that a command line is one of relay's, with this configuration.
func requireCommand(t *testing.T, args []string, name, config string) {
	t.Helper()
	c := newConsole(nil, nil, nil)
	cmd, rest, err := newRoot(c).Find(args)
	require.NoError(t, err)
	require.Equal(t, name, cmd.Name())
	require.NoError(t, cmd.ParseFlags(rest))
	require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()))
	require.Equal(t, config, c.config)
}
