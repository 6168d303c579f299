package mapping_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/cdc"
	"relay/mapping"
)

var commit = time.Date(2026, 5, 4, 3, 2, 1, 500_000_000, time.UTC)

func outbox() *cdc.Table {
	return &cdc.Table{Schema: "public", Name: "outbox", Columns: []cdc.Column{
		{Name: "id", Type: pgtype.UUIDOID},
		{Name: "type", Type: pgtype.TextOID},
		{Name: "key", Type: pgtype.TextOID},
		{Name: "payload", Type: pgtype.JSONBOID},
		{Name: "headers", Type: pgtype.JSONBOID},
		{Name: "created_at", Type: pgtype.TimestamptzOID},
		{Name: "region", Type: pgtype.TextOID},
	}}
}

// null stands for NULL in rows of tests.
const null = "\x00"

func row(table *cdc.Table, values ...string) *cdc.Row {
	r := &cdc.Row{Table: table, CommitTime: commit, Place: cdc.Place{Commit: 0x16B3748, Ordinal: 2}}
	for _, v := range values {
		if v == null {
			r.Values = append(r.Values, nil)
		} else {
			r.Values = append(r.Values, []byte(v))
		}
	}
	return r
}

func order(payload string) *cdc.Row {
	return row(outbox(), "e1", "order.created", "k1", payload, `{"tenant": "acme"}`, "2026-01-02 03:04:05.678+00", "eu")
}

// setup returns a router for endpoints written as the YAML below `endpoints:`.
func setup(t testing.TB, source, endpoints string) (*mapping.Router, *mapping.Config) {
	t.Helper()
	cfg, err := mapping.Parse("relay.yaml", []byte("source: {"+source+"}\nendpoints:\n"+endpoints), noEnv)
	require.NoError(t, err)
	return mapping.NewRouter(cfg), cfg
}

func event(t testing.TB, r *mapping.Router, row *cdc.Row) *mapping.Event {
	t.Helper()
	ev, err := r.Event(row)
	require.NoError(t, err)
	require.NotNil(t, ev)
	return ev
}

func names(targets []mapping.Target) string {
	var list []string
	for _, target := range targets {
		name := target.Endpoint.Name
		if target.Err != nil {
			name += "!"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

func TestRouter_MakesAnEventOfARow(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", "  a: {url: http://h}")
	ev := event(t, r, order(`{"n": 1}`))
	require.Equal(t, "e1", ev.ID)
	require.Equal(t, "order.created", ev.Type)
	require.True(t, ev.Keyed)
	require.Equal(t, "k1", ev.Key)
	require.Equal(t, `{"n": 1}`, string(ev.Payload))
	require.Equal(t, mapping.PayloadJSON, ev.Kind)
	require.Equal(t, "public.outbox", ev.Table)
	require.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), ev.Time)
	require.Empty(t, ev.Problem)
}

func TestRouter_LeavesOtherTablesAndPrefixesAlone(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "messages: [mine]", "  a: {url: http://h}")
	ev, err := r.Event(row(&cdc.Table{Schema: "public", Name: "other"}))
	require.NoError(t, err)
	require.Nil(t, ev)
	ev, err = r.Event(&cdc.Row{Prefix: "theirs", Content: []byte("x")})
	require.NoError(t, err)
	require.Nil(t, ev)
}

func TestRouter_SaysWhichColumnIsMissing(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "tables: [{name: t, columns: {payload: body, key: aggregateid}}]", "  a: {url: http://h}")
	table := &cdc.Table{Schema: "public", Name: "t", Columns: []cdc.Column{{Name: "id"}, {Name: "type"}, {Name: "body"}}}
	_, err := r.Event(row(table, "1", "t", "{}"))
	require.EqualError(t, err, `table public.t has no column "aggregateid" for the event's key, it has id, type, body; `+
		`add the column, have the publication send it, or name another: columns: {key: …} under source.tables`)
	table = &cdc.Table{Schema: "public", Name: "t", Columns: []cdc.Column{{Name: "id"}, {Name: "type"}, {Name: "aggregateid"}}}
	_, err = r.Event(row(table, "1", "t", "k"))
	require.ErrorContains(t, err, `no column "body" for the event's payload`)
}

func TestRouter_DoesWithoutOptionalColumns(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", "  a: {url: http://h}")
	table := &cdc.Table{Schema: "public", Name: "outbox", Columns: []cdc.Column{
		{Name: "payload", Type: pgtype.ByteaOID}, {Name: "type"}, {Name: "id"}, {Name: "headers", Type: pgtype.TextOID},
	}}
	ev := event(t, r, row(table, `\x00ff`, "t", "7", "not ours"))
	require.Equal(t, []byte{0, 255}, ev.Payload)
	require.Equal(t, `\x00ff`, string(ev.Values[0]))
	require.Equal(t, mapping.PayloadBytes, ev.Kind)
	require.False(t, ev.Keyed)
	require.Equal(t, commit, ev.Time)
	require.Nil(t, ev.Headers)
	require.Empty(t, ev.Problem)
}

func TestRouter_ReadsEventTimes(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", "  a: {url: http://h}")
	for text, want := range map[string]string{
		"2026-01-02 03:04:05+00":        "2026-01-02T03:04:05Z",
		"2026-01-02 03:04:05.123456+02": "2026-01-02T01:04:05.123456Z",
		"2026-01-02 03:04:05.1":         "2026-01-02T03:04:05.1Z",
		"2026-01-02":                    "2026-01-02T00:00:00Z",
		"2026-01-02T03:04:05Z":          "2026-01-02T03:04:05Z",
		"infinity":                      "2026-05-04T03:02:01.5Z",
		"0044-03-15 00:00:00+00 BC":     "2026-05-04T03:02:01.5Z",
		"10000-01-01 00:00:00+00":       "2026-05-04T03:02:01.5Z",
		"1700000000":                    "2026-05-04T03:02:01.5Z",
		null:                            "2026-05-04T03:02:01.5Z",
	} {
		ev := event(t, r, row(outbox(), "1", "t", null, "{}", null, text, null))
		require.Equal(t, want, ev.Time.Format(time.RFC3339Nano), text)
	}
}

func TestRouter_NamesTheProblemOfARow(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", "  a: {url: http://h, events: [t], where: payload.x > 1}\n  b: {url: http://h, events: [u]}")
	for _, c := range []struct{ id, typ, payload, headers, id2, problem string }{
		{null, "t", "{}", null, "00000000016B3748.00000002", `column "id" is NULL: every event needs an id; declare the column NOT NULL`},
		{"", "t", "{}", null, "", "the id is empty: every event needs one"},
		{"a.b", "t", "{}", null, "a.b", `the id "a.b" holds a dot, which separates the parts of a signature: use ids without one`},
		{"a\nb", "t", "{}", null, "a\nb", `the id "a\nb" holds a character that a header cannot carry: use printable ASCII`},
		{"é", "t", "{}", null, "é", `the id "\u00e9" holds a character that a header cannot carry: use printable ASCII`},
		{strings.Repeat("x", 1025), "t", "{}", null, strings.Repeat("x", 1025), "the id is 1025 bytes long, which is more than the 1024 a header may take"},
		{"1", null, "{}", null, "1", `column "type" is NULL: every event needs a type; declare the column NOT NULL`},
		{"1", "", "{}", null, "1", "the type is empty: every event needs one"},
		{"1", "t", null, null, "1", `column "payload" is NULL: every event needs a payload; declare the column NOT NULL, and write 'null' or '{}' for an empty one`},
		{"1", "t", "{}", "[1]", "1", "the headers are not a JSON object: write one of strings, or NULL"},
	} {
		ev := event(t, r, row(outbox(), c.id, c.typ, null, c.payload, c.headers, null, null))
		require.Equal(t, c.problem, ev.Problem)
		require.Equal(t, c.id2, ev.ID)
		require.NotEmpty(t, ev.Check(), "found again from what is kept")
		require.Equal(t, "a", names(r.Route(ev)), "a dead letter where it was meant for, or with the first endpoint")
	}
}

func TestRouter_TakesLogicalMessages(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "messages: [relay]", "  a: {url: http://h}")
	message := func(text string) *mapping.Event {
		return event(t, r, &cdc.Row{Prefix: "relay", Content: []byte(text), CommitTime: commit, Place: cdc.Place{Commit: 16, Ordinal: 1}})
	}
	ev := message(`{"id": "m1", "type": "t", "key": "k", "payload": {"b": 1.10,  "a": 2}, "headers": {"x": "y"}}`)
	require.Empty(t, ev.Problem)
	require.Equal(t, `{"b": 1.10,  "a": 2}`, string(ev.Payload), "byte for byte")
	require.Equal(t, "m1 t k true {\"x\": \"y\"}", fmt.Sprint(ev.ID, " ", ev.Type, " ", ev.Key, " ", ev.Keyed, " ", string(ev.Headers)))
	require.Equal(t, commit, ev.Time)

	ev = message(`{"id": 7, "type": "t", "key": null, "payload": null}`)
	require.Empty(t, ev.Problem)
	require.Equal(t, "7", ev.ID)
	require.False(t, ev.Keyed)
	require.Equal(t, "null", string(ev.Payload))

	ev = message(`{"id": "m2", "type": "t", "key": "a\u0000b", "payload": 1}`)
	require.Equal(t, `the key "a\x00b" holds a NUL, which text in Postgres cannot: use keys without one`, ev.Problem)
	require.Equal(t, "m2", ev.ID)
	require.Equal(t, ev.Problem, ev.Check(), "found again from what is kept")

	for text, problem := range map[string]string{
		``:                                 "is not a JSON object",
		`null`:                             "is not a JSON object",
		`[]`:                               "is not a JSON object",
		"{\"id\":\"\xff\"}":                "is not a JSON object",
		`{"type":"t","payload":1}`:         "has no id",
		`{"id":"1","payload":1}`:           "has no type",
		`{"id":"1","type":"t"}`:            "has no payload",
		`{"ID":"1"}`:                       `has an unknown key "ID"`,
		`{"id":{},"type":"t","payload":1}`: "has no string for its id",
		`{"id":"1","type":"t","payload":1,"key":[]}`:     "has no string for its key",
		`{"id":"1","type":"t","payload":1,"kye":"typo"}`: `has an unknown key "kye"`,
	} {
		ev := message(text)
		require.Equal(t, `the logical message with the prefix "relay" `+problem+
			`, expected {"id": "…", "type": "…", "key": "…", "payload": …, "headers": {…}}`, ev.Problem)
		require.Equal(t, "0000000000000010.00000001", ev.ID)
		require.Equal(t, text, string(ev.Payload))
		require.NotNil(t, ev.Payload)
		require.NotEmpty(t, ev.Check())
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"id": "m1", "type": "t", "key": "k", "payload": {"b": 1.10,  "a": 2}, "headers": {"x": "y"}}`))
	f.Add([]byte(`{"id":`))
	r, cfg := setup(f, "messages: [p]", "  a: {url: http://h, events: ['*'], where: event.id != payload.x, format: cloudevents}")
	f.Fuzz(func(t *testing.T, content []byte) {
		ev := event(t, r, &cdc.Row{Prefix: "p", Content: content, CommitTime: commit})
		require.Len(t, r.Route(ev), min(1, len(r.Route(ev))))
		if ev.Problem == "" {
			body, err := cfg.Endpoints[0].Render(ev)
			require.NoError(t, err)
			require.True(t, jsonValid(body.Bytes), string(body.Bytes))
		}
	})
}

// Index and naive routing agree for any patterns and types, whatever was asked before.
func TestRouter_RoutesAsTheNaiveMatcherDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.StringMatching(`[ab*](\.?[ab*]){0,3}`)
		var yaml strings.Builder
		var patterns [][]string
		for i := range rapid.IntRange(1, 12).Draw(rt, "endpoints") {
			ps := rapid.SliceOfN(word, 1, 4).Draw(rt, "patterns")
			patterns = append(patterns, ps)
			fmt.Fprintf(&yaml, "  e%d: {url: http://h, events: ['%s']}\n", i, strings.Join(ps, "', '"))
		}
		r, _ := setup(t, "", yaml.String())
		for _, typ := range rapid.SliceOfN(rapid.StringMatching(`[ab](\.?[ab]){0,3}`), 1, 10).Draw(rt, "types") {
			var want []string
			for i, ps := range patterns {
				for _, p := range ps {
					if naive(p, typ) {
						want = append(want, fmt.Sprintf("e%d", i))
						break
					}
				}
			}
			require.Equal(rt, strings.Join(want, " "), names(r.Route(&mapping.Event{ID: "1", Type: typ})))
		}
	})
}

func TestRouter_ForgetsTypesBeyondItsBound(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", "  a: {url: http://h, events: ['t*7']}")
	for i := range 25_000 {
		ev := &mapping.Event{ID: "1", Type: fmt.Sprint("t", i)}
		require.Len(t, r.Route(ev), map[bool]int{true: 1}[i%10 == 7])
	}
}

func BenchmarkRoute(b *testing.B) {
	var yaml strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&yaml, "  e%d: {url: http://h, events: [order.%d, 'invoice.%d.*', '*.%d.paid']}\n", i, i, i, i)
	}
	r, _ := setup(b, "", yaml.String())
	table := outbox()
	rows := make([]*cdc.Row, 100)
	for i := range rows {
		rows[i] = row(table, "e1", fmt.Sprintf("order.%d", i), "k", `{"a": 1}`, null, "2026-01-02 03:04:05.678+00", "eu")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ev, err := r.Event(rows[i%100])
		if err != nil || len(r.Route(ev)) != 1 {
			b.Fatal(err)
		}
	}
}

func BenchmarkRouteWhere(b *testing.B) {
	r, _ := setup(b, "", "  a: {url: http://h, where: 'payload.total > 100 && event.type == \"order.created\"'}")
	table := outbox()
	rw := row(table, "e1", "order.created", "k", `{"total": 150.5, "items": [{"sku": "a", "n": 1}]}`, null, null, "eu")
	b.ReportAllocs()
	for b.Loop() {
		ev, err := r.Event(rw)
		if err != nil || len(r.Route(ev)) != 1 {
			b.Fatal(err)
		}
	}
}
