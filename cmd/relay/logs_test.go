package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

var (
	snakeCase = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	logKey    = regexp.MustCompile(` ([^ =]+)=`)
	quoted    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// The whole process: an endpoint that is well, one that is down from the beginning, one that rejects, and hundreds of events.
func TestLog_OfTheProcessCountsEndpointsAndNotEvents(t *testing.T) {
	t.Parallel()
	well := deliverytest.New(t, nil)
	rejects := deliverytest.New(t, deliverytest.Answers(deliverytest.Answer{Status: 400}))
	r := prepareRelay(t, "  well: {url: \""+well.URL+"\"}\n  down: {url: \"http://127.0.0.1:1/\", breaker: {open: 100ms, max_open: 200ms}}\n"+
		"  rejects: {url: \""+rejects.URL+"\", retry: {rejected: 1}}\n")
	text := strings.Replace(readFile(t, r.Config), "log: {level: debug}", "log: {level: info}", 1)
	require.NoError(t, os.WriteFile(r.Config, []byte(text), 0o600))
	r.Start()
	for range 300 {
		r.Insert("order.created", `1`, "")
	}
	well.Wait(t, 300)
	rejects.Wait(t, 300)
	r.eventually(func() bool { return strings.Contains(r.Log(), "endpoint breaker opened") }, "the outage is logged")
	r.Stop()
	lines := strings.Split(strings.TrimSpace(r.Log()), "\n")
	require.LessOrEqual(t, len(lines), 6, r.Log())
	for _, line := range lines {
		require.Regexp(t, `^time=\S+ level=[A-Z]+ msg=`, line)
		for _, key := range logKey.FindAllStringSubmatch(quoted.ReplaceAllString(line, `""`), -1) {
			require.Regexp(t, snakeCase, key[1], line)
		}
	}
}

func TestLog_IsOneObjectALineAsJSON(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	level := new(slog.LevelVar)
	log := newLogger("json", level, &out)
	log.Info("endpoint recovered", "endpoint", "billing", "duration", time.Second)
	log.Debug("not shown")
	level.Set(slog.LevelDebug) // by a reload
	log.Debug("shown")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	var entry map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &entry))
	require.Equal(t, "billing", entry["endpoint"])
	require.Equal(t, "INFO", entry["level"])
}

func TestReload_FollowsTheLogLevelAndRefusesAnotherFormat(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "  a: {url: \"http://127.0.0.1:1/\"}\n")
	text := readFile(t, r.Config)
	r.Write("relay.yaml", []byte(strings.Replace(text, "level: debug", "level: info, format: json", 1)))
	r.eventually(func() bool { return strings.Contains(r.Log(), "log.format cannot change while relay runs") }, "the format is refused")
	r.Write("relay.yaml", []byte(strings.Replace(text, "level: debug", "level: warn", 1)))
	r.eventually(func() bool {
		return strings.Contains(r.Log(), `msg="configuration reloaded" change="log.level DEBUG to WARN"`)
	}, "the level follows, and the last line at the old one says so")
	r.Stop()
	require.NotContains(t, r.Log(), "msg=stopped")
}
