package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

const emit = `SELECT pg_logical_emit_message(true, 'relay', $1::text)`

func message(id, payload string) string {
	return fmt.Sprintf(`{"id": %q, "type": "order.created", "key": "k", "payload": %s}`, id, payload)
}

func TestMessages_GoInCommitOrderWithTheRowsOfTheirTransaction(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareRelay(t, "  all: {url: \""+ep.URL+"\", format: raw}\n")
	r.amend("hold: 1s", "hold: 1s, messages: [relay, \"Odd 'prefix\"]")
	r.Start()
	row := func(payload string) {
		r.exec(r.Conn, `INSERT INTO outbox (type, key, payload) VALUES ('order.created', 'k', $1::text::jsonb)`, payload)
	}
	r.exec(r.Conn, `SELECT pg_logical_emit_message(false, 'relay', $1::text)`, message("not-transactional", "0"))
	r.exec(r.Conn, `SELECT pg_logical_emit_message(true, 'others', $1::text)`, message("of-others", "0"))
	other := r.connect()
	r.exec(other, `BEGIN`)
	r.exec(other, emit, message("earlier-begun", "6"))
	r.exec(r.Conn, `BEGIN`)
	row("1")
	r.exec(r.Conn, emit, message("m2", `{"n":   1.10}`))
	r.exec(r.Conn, `SAVEPOINT a`)
	r.exec(r.Conn, emit, message("rolled-back", "0"))
	r.exec(r.Conn, `ROLLBACK TO a`)
	row("3")
	r.exec(r.Conn, `SELECT pg_logical_emit_message(true, 'Odd ''prefix', $1::text)`, message("m4", "4"))
	row("5")
	r.exec(r.Conn, `COMMIT`)
	r.exec(other, `COMMIT`)
	large := `"` + strings.Repeat("0123456789", 1<<20) + `"`
	r.exec(r.Conn, emit, message("large", large))
	got := ep.Wait(t, 7)
	for i, want := range []string{"1", `{"n":   1.10}`, "3", "4", "5", "6", large} {
		require.Equal(t, want, string(got[i].Body))
	}
	require.Equal(t, "m2", got[1].ID())
	r.Stop()
	r.Start()
	r.exec(r.Conn, emit, message("last", "8"))
	ep.Wait(t, 8)
	r.Stop()
	require.Len(t, ep.IDs(), 8, "once each, and nothing else")
}

func TestMessages_MalformedOnesAreDeadLettersAndTheOthersFlow(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareRelay(t, "  all: {url: \""+ep.URL+"\"}\n")
	r.amend("hold: 1s", "hold: 1s, tables: [], messages: [relay]")
	r.Start()
	bad := map[string]string{ // and what is said of it
		`not JSON`:                               "is not a JSON object",
		`[1]`:                                    "is not a JSON object",
		``:                                       "is not a JSON object",
		`{"id": "x"}`:                            "has no type",
		`{"type": "t"}`:                          "has no id",
		message("a.b", "1"):                      "holds a dot",
		`{"id": "x", "tpye": "t", "payload": 1}`: "has an unknown key",
		`{"id": ["x"], "type": "t", "payload": 1}`:               "has no string for its id",
		`{"id": "x", "type": "t", "payload": 1, "headers": "h"}`: "the headers are not a JSON object",
	}
	for text := range bad {
		r.exec(r.Conn, emit, text)
		r.exec(r.Conn, emit, message("good", "1"))
	}
	r.exec(r.Conn, `SELECT pg_logical_emit_message(true, 'relay', '\xff00'::bytea)`) // not even text
	ep.Wait(t, len(bad))
	r.eventually(func() bool { return len(r.deadLetters()) == len(bad)+1 }, "all bad ones are dead letters")
	var listed []struct {
		LastError string `json:"last_error"`
	}
	out := relayOut(t, "parked", "--dead", "--json", "-c", r.Config)
	require.NoError(t, json.Unmarshal([]byte(out.out), &listed), out.out)
	require.Len(t, listed, len(bad)+1)
	for text, why := range bad {
		found := false
		for _, l := range listed {
			found = found || strings.Contains(l.LastError, why)
		}
		require.True(t, found, "%s: %s", text, why)
	}
	require.Contains(t, r.get("/readyz"), "ready")
	r.Stop()
}

func TestMessages_CheckSaysWhoMayEmitThemAndHowToEndIt(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  all: {url: \"http://127.0.0.1:1/\"}\n")
	r.amend("hold: 1s", "hold: 1s, messages: [relay]")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	out := relayOut(t, "check", "-c", r.Config).out
	require.Contains(t, out, "every role of this database may emit messages of any prefix, and so send events")
	revoke := regexp.MustCompile(`REVOKE EXECUTE ON FUNCTION .* FROM PUBLIC`).FindString(out)
	require.NotEmpty(t, revoke, out)
	r.exec(r.Conn, revoke)
	require.Contains(t, relayOut(t, "check", "-c", r.Config).out, "only granted roles may emit logical messages")

	role := "emitter_" + r.Conn.Config().Database
	r.exec(r.Conn, `CREATE ROLE `+role+` LOGIN`)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), r.URL)
		require.NoError(t, err)
		defer conn.Close(context.Background()) //nolint:errcheck // a test's connection
		r.exec(conn, `DROP ROLE `+role)
	})
	conn, err := pgx.ConnectConfig(t.Context(), as(t, r.URL, role))
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // a test's connection
	_, err = conn.Exec(t.Context(), emit, message("x", "1"))
	require.ErrorContains(t, err, "permission denied for function pg_logical_emit_message")
}
