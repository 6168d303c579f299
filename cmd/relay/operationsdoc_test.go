package main

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

const operationsDoc = "docs/operations.md"

var operationsBlock = regexp.MustCompile("(?s)```(sql|sh)\n(.*?)```")

// Everything on the page is run, in its order, as its reader would: the SQL by a superuser, the commands with a relay.yaml
// whose names are the defaults.
func TestTheOperationsDocRuns(t *testing.T) {
	t.Parallel()
	c := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"min_wal_size": "32MB", "max_wal_size": "64MB"}})
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	r := &running{t: t, URL: strings.Replace(c.URL("postgres"), "postgres@", "relay@", 1), Conn: conn}
	r.Config = configFile(t, "source: {url: \""+r.URL+"\"}\nadmin: {listen: \"127.0.0.1:0\"}\nendpoints: {billing: {url: \"http://127.0.0.1:1/\"}}\n")
	r.runPrinted()
	r.exec(conn, `INSERT INTO outbox (type, payload) VALUES ('t', '1')`)

	blocks := operationsBlock.FindAllStringSubmatch(readDoc(t, operationsDoc), -1)
	require.GreaterOrEqual(t, len(blocks), 20)
	for _, block := range blocks {
		if block[1] == "sh" {
			for line := range strings.Lines(block[2]) {
				r.documented(strings.Fields(line))
			}
			continue
		}
		for _, sql := range pgtest.Statements(block[2]) {
			if strings.TrimSpace(sql) == "" {
				continue
			}
			_, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err, sql)
		}
	}
	require.Zero(t, r.number(`SELECT count(*) FROM pg_replication_slots`))
	require.Zero(t, r.number(`SELECT count(*) FROM pg_roles WHERE rolname = 'relay'`), "the last block took it away")
}

// documented runs a command as the page has it.
func (r *running) documented(words []string) {
	r.t.Helper()
	require.Equal(r.t, "relay", words[0])
	args := words[1:]
	if args[0] != "secret" {
		args = append(args, "-c", r.Config)
	}
	got := relayOut(r.t, args...)
	if words[1] == "status" || words[1] == "check" { // no relay runs here, and nobody listens at the endpoint
		require.LessOrEqual(r.t, got.status, exitFailed, got.err)
		require.NotEmpty(r.t, got.out)
		return
	}
	require.Zero(r.t, got.status, "%v: %s", words, got.err)
}

func TestTheOperationsDocQuotesWhatRelaySays(t *testing.T) {
	t.Parallel()
	text := readDoc(t, operationsDoc)
	for _, file := range []string{"cmd/relay/recreate.go", "cmd/relay/lookout.go"} {
		code := readDoc(t, file)
		found := false
		for _, said := range []string{"slot was made anew; some of these may have been delivered before, and ", "rows come through the publication again; those committed in between were not sent"} {
			found = found || strings.Contains(code, said) && strings.Contains(text, said)
		}
		require.True(t, found, file)
	}
	for _, name := range testName.FindAllStringSubmatch(text, -1) {
		require.Contains(t, readDoc(t, "cdc/quiet_test.go"), "func "+name[1]+"(")
	}
	metrics := regexp.MustCompile(`relay_[a-z_]+`)
	known := readDoc(t, "cmd/relay/metrics.go") + readDoc(t, "delivery/metrics.go")
	for _, name := range metrics.FindAllString(text, -1) {
		require.Contains(t, known, `"`+name+`"`)
	}
}
