package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestSetupCheckSendAndTeardownGoTogether(t *testing.T) {
	t.Parallel()
	path, url := databaseConfig(t, "")
	require.Equal(t, exitFailed, relayOut(t, "check", "-c", path).status, "nothing is there yet")

	got := relayOut(t, "setup", "-c", path, "--json")
	require.Zero(t, got.status, got.err)
	var report struct{ Done []string }
	require.NoError(t, json.Unmarshal([]byte(got.out), &report))
	require.NotEmpty(t, report.Done)
	again := relayOut(t, "setup", "-c", path)
	require.Zero(t, again.status, again.err)

	sent := relayOut(t, "send", "-c", path, "--type", "order.created", "--key", "42", "--data", `{"total": 99.90}`, "--json")
	require.Zero(t, sent.status, sent.err)
	var ev testEvent
	require.NoError(t, json.Unmarshal([]byte(sent.out), &ev))
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // a test's connection
	var typ, key, payload string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT type, key, payload::text FROM outbox WHERE id = $1`, ev.ID).Scan(&typ, &key, &payload))
	require.Equal(t, []string{"order.created", "42", `{"total": 99.90}`}, []string{typ, key, payload})

	refused := relayOut(t, "teardown", "-c", path)
	require.Equal(t, exitUsage, refused.status)
	require.Contains(t, refused.err, "--yes")
	down := relayOut(t, "teardown", "-c", path, "--yes")
	require.Zero(t, down.status, down.err)
	var slots int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_replication_slots WHERE database = current_database()`).Scan(&slots))
	require.Zero(t, slots)
}

func TestSetupPrintsSQLThatADBACanRun(t *testing.T) {
	t.Parallel()
	path, url := databaseConfig(t, "")
	got := relayOut(t, "setup", "--print", "-c", path)
	require.Zero(t, got.status, got.err)
	for _, statement := range []string{"CREATE TABLE", "CREATE PUBLICATION", "pg_create_logical_replication_slot", "GRANT"} {
		require.Contains(t, got.out, statement)
	}
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("no psql to run it with")
	}
	for range 2 { // again is no harm
		cmd := exec.CommandContext(t.Context(), psql, "--no-psqlrc", "--set=ON_ERROR_STOP=1", url)
		cmd.Stdin = strings.NewReader(got.out)
		text, err := cmd.CombinedOutput()
		require.NoError(t, err, string(text))
	}
	done := relayOut(t, "setup", "-c", path)
	require.Zero(t, done.status, done.err)
	require.Equal(t, "nothing to do\n", done.out)
}

func TestSendUsesTheColumnsOfTheFile(t *testing.T) {
	t.Parallel()
	path, url := databaseConfig(t, "  tables: [{name: public.events, columns: {id: event_id, type: name, key: aggregateid, payload: body}}]\n")
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // a test's connection
	_, err = conn.Exec(t.Context(), `CREATE TABLE events (event_id uuid PRIMARY KEY, name text NOT NULL, aggregateid bigint, body bytea NOT NULL, created_at timestamptz NOT NULL)`)
	require.NoError(t, err)
	got := relayOut(t, "send", "-c", path, "--type", "ping", "--key", "7", "--data", "not JSON")
	require.Zero(t, got.status, got.err)
	var body []byte
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT body FROM events WHERE name = 'ping' AND aggregateid = 7 AND created_at <= now()`).Scan(&body))
	require.Equal(t, "not JSON", string(body))
}

// What is cast to character without a length has one.
func TestSendCutsNothing(t *testing.T) {
	t.Parallel()
	path, url := databaseConfig(t, "")
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // a test's connection
	_, err = conn.Exec(t.Context(), `CREATE TABLE outbox (id char(36) PRIMARY KEY, type char(40) NOT NULL, key varchar(8), payload jsonb NOT NULL, headers jsonb, created_at timestamptz(3))`)
	require.NoError(t, err)
	got := relayOut(t, "send", "-c", path, "--type", "order.created", "--key", "customer", "--json")
	require.Zero(t, got.status, got.err)
	var ev testEvent
	require.NoError(t, json.Unmarshal([]byte(got.out), &ev))
	require.Len(t, ev.ID, 36)
	var id, typ, key string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT id::text, type::text, key FROM outbox`).Scan(&id, &typ, &key))
	require.Equal(t, []string{ev.ID, "order.created", "customer"}, []string{id, typ, key})

	long := relayOut(t, "send", "-c", path, "--type", "order.created", "--key", "customer 1")
	require.Equal(t, exitFailed, long.status)
	require.Contains(t, long.err, "too long")
}

// One URL is for all commands: parameters that only libpq knows are no settings of the server.
func TestEveryCommandTakesWhatOnlyLibpqKnows(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  billing: {url: \"http://127.0.0.1:1/\"}\n")
	u, err := url.Parse(r.URL)
	require.NoError(t, err)
	query := u.Query()
	for name, value := range map[string]string{"keepalives": "1", "gssencmode": "disable", "load_balance_hosts": "disable"} {
		query.Set(name, value)
	}
	u.RawQuery = query.Encode()
	r.amend(fmt.Sprintf("url: %q", r.URL), fmt.Sprintf("url: %q", u.String()))
	for _, args := range [][]string{{"setup"}, {"send", "--type", "x"}, {"parked"}, {"explain", "--last", "1"}, {"replay", "--endpoint", "billing", "--since", "1h", "--yes"}} {
		got := relayOut(t, append(args, "-c", r.Config)...)
		require.Zero(t, got.status, "%v: %s", args, got.err)
	}
	report, _ := statusOf(t, "-c", r.Config, "--address", "127.0.0.1:1")
	require.Len(t, report.Problems, 1, "only that no relay runs: %q", report.Problems)
	require.NotNil(t, report.Source.Retained)
	require.Zero(t, relayOut(t, "teardown", "--yes", "-c", r.Config).status)
}

func TestParkedCommandsWantTheTablesAndTheEndpoint(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "")
	got := relayOut(t, "parked", "-c", path)
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, got.err, "relay setup")

	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	got = relayOut(t, "parked", "-c", path, "--json")
	require.Zero(t, got.status, got.err)
	require.JSONEq(t, "[]", got.out)
	require.Equal(t, exitUsage, relayOut(t, "pause", "biling", "-c", path).status)
	require.Zero(t, relayOut(t, "pause", "billing", "-c", path).status)
	require.Zero(t, relayOut(t, "resume", "billing", "-c", path).status)
	got = relayOut(t, "discard", "--all", "-c", path)
	require.Zero(t, got.status, "nothing parked, nothing to ask: %s", got.err)
	require.Contains(t, got.out, "discarded 0 deliveries")
}
