package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// deadLetter is what the relay's table says of a delivery that was given up.
type deadLetter struct {
	Endpoint, EventID, LastError string
}

func (r *running) deadLetters() []deadLetter {
	r.t.Helper()
	rows, err := r.Conn.Query(r.t.Context(), `SELECT endpoint, event_id, last_error FROM relay.parked WHERE state = 'dead'`)
	require.NoError(r.t, err)
	dead, err := pgx.CollectRows(rows, pgx.RowToStructByPos[deadLetter])
	require.NoError(r.t, err)
	return dead
}

// One row after another of one key, so that each bad one is in the way of the next.
func TestBadRows_AreDeadWithAReasonAndTheOthersFlow(t *testing.T) {
	t.Parallel()
	ends := map[string]*deliverytest.Endpoint{}
	var text strings.Builder
	for name, more := range map[string]string{
		"standard": "", "raw": "format: raw", "binary": "format: cloudevents-binary",
		"where": "format: raw, where: payload.total > 10", "body": "body: '{\"double\": payload.total * 2}'",
	} {
		ends[name] = deliverytest.New(t, nil)
		text.WriteString("  " + name + ": {url: \"" + ends[name].URL + "\", " + more + "}\n")
	}
	r := prepareRelay(t, text.String())
	_, err := r.Conn.Exec(t.Context(), `CREATE TABLE outbox (id text, type text, key text, payload text, headers jsonb)`)
	require.NoError(t, err)
	r.Start()

	const all = "standard raw binary where body"
	fifty := `{"total": 20, "blob": "` + strings.Repeat("0123456789", 5<<20) + `"}`
	rows := []struct {
		id, payload, headers any
		dead                 string // endpoints
		because              string // in the reason of each
	}{
		{"first", `{"total": 20}`, nil, "", ""},
		{"text", "hello", nil, "standard where body", "payload is not JSON"},
		{nil, `{"total": 20}`, nil, all, `column "id" is NULL: every event needs an id; declare the column NOT NULL`},
		{"", `{"total": 20}`, nil, all, "the id is empty"},
		{"with.dot", `{"total": 20}`, nil, all, "holds a dot, which separates the parts of a signature: use ids without one"},
		{"x\r\nX-Evil: 1", `{"total": 20}`, nil, all, "a character that a header cannot carry: use printable ASCII"},
		{strings.Repeat("x", 2000), `{"total": 20}`, nil, all, "2000 bytes long"},
		{"no_payload", nil, nil, all, `column "payload" is NULL`},
		{"list_of_headers", `{"total": 20}`, `[1]`, all, "the headers are not a JSON object"},
		{"newline_in_header", `{"total": 20}`, `{"traceparent": "00-a\r\nX-Evil: 1", "tenant": "a\r\nX-Evil: 1"}`, "", ""},
		{"not_a_number", `{"total": "many"}`, nil, "where body", "no such overload"},
		{"no_total", `{}`, nil, "where body", "no such key: total"},
		{"large", fifty, nil, "", ""},
		{"last", `{"total": 20}`, nil, "", ""},
	}
	want := 0
	arrive := map[string][]string{}
	for _, row := range rows {
		_, err := r.Conn.Exec(t.Context(), `INSERT INTO outbox VALUES ($1::text, 'order.created', 'k', $2::text, $3::text::jsonb)`,
			row.id, row.payload, row.headers)
		require.NoError(t, err)
		want += len(strings.Fields(row.dead))
		for name := range ends {
			if !strings.Contains(" "+row.dead+" ", " "+name+" ") {
				arrive[name] = append(arrive[name], row.id.(string))
			}
		}
	}
	for name, end := range ends {
		end.Wait(t, len(arrive[name]))
		require.Equal(t, arrive[name], end.IDs(), "%s: in order, and nothing else", name)
		for _, got := range end.Receipts() {
			require.Empty(t, got.Header.Get("X-Evil"))
			if got.ID() == "large" {
				require.Greater(t, len(got.Body), map[string]int{"body": 10}[name])
			}
		}
	}
	r.eventually(func() bool { return len(r.deadLetters()) == want }, "all bad ones are dead letters")
	for _, dead := range r.deadLetters() {
		found := false
		for _, row := range rows {
			found = found || strings.Contains(row.dead, dead.Endpoint) && strings.Contains(dead.LastError, row.because) && row.because != ""
		}
		require.True(t, found, "%+v", dead)
		require.NotContains(t, dead.LastError, "\n")
	}
	require.NotContains(t, r.Log(), "panic")
	r.Stop()
}
