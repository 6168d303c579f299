package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func everyCommand(root *cobra.Command, visit func(*cobra.Command)) {
	visit(root)
	for _, sub := range root.Commands() {
		everyCommand(sub, visit)
	}
}

func TestEveryCommandHasAnExampleThatNamesIt(t *testing.T) {
	t.Parallel()
	root := newRoot(newConsole(nil, nil, nil))
	everyCommand(root, func(cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.Contains(t, cmd.Example, strings.TrimSuffix(cmd.CommandPath(), " help"), cmd.CommandPath())
	})
}

func TestEveryExampleParses(t *testing.T) {
	t.Parallel()
	everyCommand(newRoot(newConsole(nil, nil, nil)), func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
			line, _, _ = strings.Cut(line, "|")
			line, _, _ = strings.Cut(line, ">")
			words := strings.Fields(line)
			if len(words) == 0 || words[0] != "relay" {
				continue
			}
			for i, word := range words {
				words[i] = strings.Trim(word, "'")
			}
			fresh := newRoot(newConsole(nil, nil, nil))
			found, rest, err := fresh.Find(words[1:])
			require.NoError(t, err, line)
			if !strings.Contains(line, "{") { // quotes are the shell's business
				require.NoError(t, found.ParseFlags(rest), line)
			}
		}
	})
}

func TestExitStatusTellsUsageFromFailure(t *testing.T) {
	t.Parallel()
	bad := configFile(t, "sauce: 1\n")
	good := configFile(t, "source: {url: \"postgres://127.0.0.1:1/x\"}\nendpoints: {a: {url: \"http://127.0.0.1:1\"}}\n")
	for name, tc := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"help":               {[]string{"--help"}, 0, ""},
		"unknown command":    {[]string{"chek"}, 2, "check"},
		"unknown flag":       {[]string{"check", "--fast"}, 2, "--fast"},
		"superfluous word":   {[]string{"version", "now"}, 2, "now"},
		"missing flag":       {[]string{"send", "-c", good}, 2, "type"},
		"missing file":       {[]string{"check", "-c", filepath.Join(t.TempDir(), "none.yaml")}, 2, "no such file"},
		"bad configuration":  {[]string{"check", "-c", bad}, 2, "sauce"},
		"run with a bad one": {[]string{"setup", "-c", bad}, 2, "sauce"},
		"offline":            {[]string{"check", "--offline", "-c", good}, 0, ""},
		"no database":        {[]string{"setup", "-c", good}, 1, "127.0.0.1"},
		"too short a demo":   {[]string{"demo", "--duration", "1s"}, 2, "at least 5s"},
		"no selection":       {[]string{"discard", "-c", good}, 2, "--all"},
		"not an ID":          {[]string{"retry", "x", "-c", good}, 2, "not an ID"},
		"not a time":         {[]string{"retry", "--since", "yesterday", "-c", good}, 2, "RFC 3339|24h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := relayOut(t, tc.args...)
			require.Equal(t, tc.status, got.status, got.err)
			require.Contains(t, got.err+got.out, strings.Split(tc.says, "|")[len(strings.Split(tc.says, "|"))-1])
		})
	}
}

func TestVersionIsJSONOnRequest(t *testing.T) {
	t.Parallel()
	got := relayOut(t, "version", "--json")
	require.Zero(t, got.status)
	var b build
	require.NoError(t, json.Unmarshal([]byte(got.out), &b))
	require.NotEmpty(t, b.Version)
	require.Contains(t, b.Go, "go1.")
}

func TestInitWritesASampleThatLoadsAndKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "relay.yaml")
	require.Zero(t, relayOut(t, "init", "-c", path).status)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = mapping.Parse(path, data, func(name string) (string, bool) { return "", false })
	require.NoError(t, err)

	sample, mine := string(data), "mine, and longer than a sample"+strings.Repeat("#", len(data))
	require.NoError(t, os.WriteFile(path, []byte(mine), 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	got := relayOut(t, "init", "-c", path)
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, got.err, "--force")
	data, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, mine, string(data))

	require.Zero(t, relayOut(t, "init", "-c", path, "--force").status)
	require.Equal(t, sample, readFile(t, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, "-rw-------", info.Mode().String(), "secrets will stand in it, whoever could read the old one")
	require.Zero(t, relayOut(t, "check", "-c", path, "--offline").status)
}

func TestCheckReportsEveryConfigErrorAtOnceAsJSON(t *testing.T) {
	t.Parallel()
	path := configFile(t, "sauce: 1\nendpoints: {a: {url: \"ftp://x\", timeout: soon}}\n")
	got := relayOut(t, "check", "--json", "-c", path)
	require.Equal(t, exitUsage, got.status)
	require.Empty(t, got.err)
	var report struct {
		OK       bool
		Findings []finding
	}
	require.NoError(t, json.Unmarshal([]byte(got.out), &report))
	require.False(t, report.OK)
	require.Len(t, report.Findings, 3)
	first := report.Findings[0]
	require.Equal(t, finding{
		Level: levelError, Subject: "sauce", Problem: first.Problem, File: path, Line: 1, Column: 1, Snippet: "    1 | sauce: …\n      | ^",
	}, first)
}

func TestCompletionIsOfferedForEveryShell(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := relayOut(t, "completion", shell)
		require.Zero(t, got.status, got.err)
		require.Contains(t, got.out, "relay", shell)
	}
}

func TestEndpointNamesAreCompleted(t *testing.T) {
	t.Parallel()
	path := configFile(t, "endpoints: {billing: {url: \"http://127.0.0.1:1\"}}\n")
	got := relayOut(t, "__complete", "pause", "-c", path, "")
	require.Contains(t, got.out, "billing")
}
