package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

func statusOf(t *testing.T, args ...string) (statusReport, result) {
	t.Helper()
	got := relayOut(t, append([]string{"status", "--json"}, args...)...)
	var report statusReport
	require.NoError(t, json.Unmarshal([]byte(got.out), &report), got.err)
	return report, got
}

func TestStatus_SaysThatAllIsWellAndWhatIsNot(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  billing: {url: \""+ep.URL+"/hook?token=verysecrettoken\"}\n"+
		"  shipping: {url: \""+ep.URL+"\", where: payload.nothing}\n  down: {url: \"http://127.0.0.1:1/\", events: [x], breaker: {failures: 1}}\n")
	address := strings.TrimPrefix(r.Admin(), "http://")
	fine := relayOut(t, "status", "-c", r.Config, "--address", address)
	require.Zero(t, fine.status, fine.err+fine.out)
	require.Contains(t, fine.out, "is fine: streaming")
	require.NotContains(t, fine.out, "verysecrettoken")

	r.Insert("order.created", `{"total": 1}`, "") // shipping's where fails on it
	r.Insert("x", `{"nothing": false}`, "")
	ep.Wait(t, 2)
	var report statusReport
	r.eventually(func() bool {
		var got result
		report, got = statusOf(t, "-c", r.Config, "--address", address)
		return got.status == exitFailed && len(report.Problems) == 2 && report.Source.Retained != nil // which the lookout sees in its own time
	}, "two things need a person")
	all := strings.Join(report.Problems, "\n")
	require.Contains(t, all, "down is down: ")
	require.Contains(t, all, "shipping has 1 dead letter: relay parked --dead --endpoint shipping")
	require.True(t, report.Running)
	require.EqualValues(t, 2, report.Endpoints[0].Delivered)
	require.False(t, report.Endpoints[2].ErrorAt.IsZero())

	people := relayOut(t, "status", "-c", r.Config, "--address", address)
	require.Equal(t, exitFailed, people.status)
	require.Contains(t, people.out, "needs you")
	require.Contains(t, people.out, "last error ")

	elsewhere, _ := statusOf(t, "-c", r.Config, "--address", "127.0.0.1:1")
	require.Equal(t, "in use", elsewhere.Source.State)
	require.Contains(t, strings.Join(elsewhere.Problems, "\n"), "a relay runs elsewhere")

	r.Stop()
	report, got := statusOf(t, "-c", r.Config, "--address", address)
	require.Equal(t, exitFailed, got.status)
	require.False(t, report.Running)
	require.Equal(t, "stopped", report.Source.State)
	require.Contains(t, report.Problems[0], "no relay runs: nothing listens at "+address)
	require.EqualValues(t, 1, report.Endpoints[1].Dead, "the database knows")
	require.EqualValues(t, 1, report.Endpoints[2].Waiting)
	require.NotNil(t, report.Source.Retained)
}

func TestStatus_SaysThatItDoesNotKnowWhatIsParkedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "  billing: {url: \"http://127.0.0.1:1\"}\n")
	conn := r.connect()
	r.exec(conn, `BEGIN`)
	r.exec(conn, `LOCK TABLE relay.delivery`)
	asked := make(chan result, 1) // 1: its only value
	address := strings.TrimPrefix(r.Admin(), "http://")
	go func() { asked <- relayOut(t, "status", "-c", r.Config, "--address", address) }()
	r.eventually(func() bool {
		return r.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	}, "it counts")
	require.Contains(t, r.get("/metrics"), "relay_replication_lag_bytes", "while that lasts")
	got := <-asked
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, strings.Join(strings.Fields(got.out), " "), "what is parked is not known: the relay's own tables did not answer within 4s", got.err)
	r.exec(conn, `ROLLBACK`)
	got = relayOut(t, "status", "-c", r.Config, "--address", address)
	require.Zero(t, got.status, got.out)
}

func TestStatus_TellsApartWhatCannotBeAsked(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil) // answers 200 to everything, and is no relay
	path := configFile(t, "source: {url: \"postgres://127.0.0.1:1/x\"}\nadmin: {listen: \""+strings.TrimPrefix(ep.URL, "http://")+
		"\"}\nendpoints: {a: {url: \"http://127.0.0.1:1\"}}\n")
	stranger := relayOut(t, "status", "-c", path)
	require.Equal(t, exitFailed, stranger.status)
	require.Contains(t, stranger.err, "is no relay")
	require.Equal(t, exitUsage, relayOut(t, "status", "-c", path, "--address", "nowhere").status)

	report, nobody := statusOf(t, "-c", path, "--address", "127.0.0.1:1")
	require.Equal(t, exitFailed, nobody.status)
	require.Len(t, report.Problems, 2, "no relay, and no database")
	require.Contains(t, report.Problems[1], "no connection to 127.0.0.1:1")
}

func TestStatus_ShowsItsTokenAndSaysWhenItIsAnother(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(adminHandler(t, func(cfg *adminConfig) { cfg.Token = "open sesame" }))
	t.Cleanup(server.Close)
	status := func(token string) result {
		return relayOut(t, "status", "--address", strings.TrimPrefix(server.URL, "http://"),
			"-c", configFile(t, "admin: {token: \""+token+"\"}\nendpoints: {billing: {url: \"http://127.0.0.1:1\"}}\n"))
	}
	right := status("open sesame")
	require.Zero(t, right.status, right.err)
	require.Contains(t, right.out, "billing")
	wrong := status("another")
	require.Equal(t, exitFailed, wrong.status)
	require.Contains(t, wrong.err, "wants another token")
}

func TestStatus_FitsANarrowTerminal(t *testing.T) {
	t.Parallel()
	now := time.Now()
	safe, retained := int64(1<<20), int64(1<<30)
	r := statusReport{Running: true, relayStatus: relayStatus{
		Version: "1.2.3", Reason: "the server closed the connection and does not answer any more since a while",
		Source: sourceStatus{Slot: "relay", State: "connecting", Since: now.Add(-time.Hour), LagBytes: 123456, Retained: &retained, Safe: &safe, AtRisk: true, LastError: "refused"},
		Endpoints: []endpointStatus{
			{Name: "fine", State: "live", Delivered: 12},
			{Name: "an-endpoint-with-a-long-name", State: "down", OpenUntil: now.Add(90 * time.Second), Waiting: 1234567, Dead: 3, Oldest: now.Add(-50 * time.Hour), LastError: strings.Repeat("é", 300), ErrorAt: now},
			{Name: "quiet", State: "paused", Paused: "paused by an operator"},
		},
	}}
	r.judge()
	require.Len(t, r.Problems, 5)
	for _, width := range []int{30, 40, 80, 200} {
		lines := r.screen(width, now)
		var text strings.Builder
		for _, line := range lines {
			require.LessOrEqual(t, utf8.RuneCountInString(line.text), width, line.text)
			text.WriteString(line.text + "\n")
		}
		require.Less(t, strings.Index(text.String(), "1234567 parked"), strings.Index(text.String(), "fine"), "trouble first")
	}
	require.Contains(t, r.line(now), "NEEDS YOU")
	require.NotContains(t, r.line(now), "\n")
}

func TestStatus_WatchWritesALineASecondIntoAPipe(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  billing: {url: \"http://127.0.0.1:1/\"}\n")
	cmd := relayCommand(t, "status", "--watch", "-c", r.Config, "--address", "127.0.0.1:1")
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r.eventually(func() bool { return strings.Count(out.String(), "\n") >= 2 }, "two lines")
	require.Contains(t, out.String(), "NEEDS YOU")

	piped := relayCommand(t, "status", "--watch", "-c", r.Config, "--address", "127.0.0.1:1")
	pipe, err := piped.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, piped.Start())
	require.NoError(t, pipe.Close())
	done := make(chan struct{})
	go func() { _ = piped.Wait(); close(done) }()
	select {
	case <-done: // by itself, as its reader has gone
	case <-time.After(20 * time.Second):
		_ = piped.Process.Kill()
		require.Fail(t, "status --watch outlives its reader")
	}
}

func TestStatus_IsOneScreenHoweverManyEndpointsThereAre(t *testing.T) {
	t.Parallel()
	r := statusReport{Running: true}
	for i := range 100 {
		r.Endpoints = append(r.Endpoints, endpointStatus{Name: fmt.Sprintf("e%d", i), State: "live"})
	}
	r.Endpoints[77].State = "down"
	r.judge()
	all := r.screen(80, time.Now())
	screen := fitHeight(all, 24)
	require.Len(t, screen, 23, "and a line for the prompt")
	require.Contains(t, screen[0].text, "needs you")
	require.Contains(t, fmt.Sprint(screen), "e77")
	require.Equal(t, fmt.Sprintf("(%d lines more: relay status | less)", len(all)-22), screen[22].text)
	require.Len(t, fitHeight(all, 0), len(all), "into a pipe goes everything")
}
