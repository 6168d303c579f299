package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/mapping"
)

// What is explained is what is done, for any patterns, expressions and events.
func TestExplain_AgreesWithTheRouter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		pattern := rapid.StringMatching(`[ab*](\.?[ab*]){0,2}`)
		where := rapid.SampledFrom([]string{
			"", "payload.n > 1", "payload.n == event.key", "event.headers.tenant == 'acme'", "has(payload.n)", "row.region == 'eu'",
			"payload.list.exists(i, i == payload.n)", "event.id != ''", "payload.n",
		})
		var yaml strings.Builder
		for i := range rapid.IntRange(1, 6).Draw(rt, "endpoints") {
			fmt.Fprintf(&yaml, "  e%d: {url: http://h, events: ['%s']", i, strings.Join(rapid.SliceOfN(pattern, 1, 3).Draw(rt, "patterns"), "', '"))
			if w := where.Draw(rt, "where"); w != "" {
				fmt.Fprintf(&yaml, ", where: %q", w)
			}
			yaml.WriteString("}\n")
		}
		r, cfg := setup(t, "", yaml.String())
		for range 5 {
			ev := event(t, r, row(outbox(),
				rapid.SampledFrom([]string{"1", "", "a.b", null}).Draw(rt, "id"),
				rapid.SampledFrom([]string{"a", "b", "a.b", "ab", "", null}).Draw(rt, "type"),
				rapid.SampledFrom([]string{"k", null}).Draw(rt, "key"),
				rapid.SampledFrom([]string{`{"n": 2}`, `{"n": 1, "list": [1]}`, `{}`, `{"n": true}`, `nonsense`, null}).Draw(rt, "payload"),
				rapid.SampledFrom([]string{`{"tenant": "acme"}`, `{}`, `[]`, null}).Draw(rt, "headers"),
				null, rapid.SampledFrom([]string{"eu", null}).Draw(rt, "region")))
			want := names(r.Route(ev))
			var targets []mapping.Target
			for _, x := range mapping.Explain(cfg.Endpoints, ev) {
				require.NotEmpty(rt, x.Reason())
				if x.Wanted {
					targets = append(targets, mapping.Target{Endpoint: x.Endpoint, Err: x.Err})
				}
				ok, err := x.Endpoint.Match(ev)
				if !x.Stray {
					require.Equal(rt, x.Wanted, ok || err != nil)
				}
			}
			require.Equal(rt, want, names(targets))
		}
	})
}

func TestExplain_ShowsWhatAnExpressionSaw(t *testing.T) {
	t.Parallel()
	r, cfg := setup(t, "", `  a: {url: http://h, events: [x, "order.*"], where: 'payload.order["total"] > 100 && event.key == "k1" && payload.items.exists(i, i.n > payload.min) && !has(payload.gone) && row.region != "us"'}
  b: {url: http://h, where: payload.missing > 1}
  c: {url: http://h, events: [invoice]}
`)
	got := mapping.Explain(cfg.Endpoints, event(t, r, order(`{"order": {"total": 120.50}, "items": [{"n": 3}], "min": 2}`)))
	var operands []string
	for _, o := range got[0].Operands {
		operands = append(operands, o.Text+" = "+o.Value)
	}
	require.Equal(t, []string{`payload.order["total"] = 120.5`, `event.key = "k1"`, `payload.items = [{"n":3}]`, `payload.min = 2`, `row.region = "eu"`}, operands)
	require.True(t, got[0].Wanted)
	require.Contains(t, got[0].Reason(), `events "order.*" matches, where is true: payload.order`)
	require.True(t, got[1].Wanted)
	require.ErrorContains(t, got[1].Err, "missing")
	require.Contains(t, got[1].Reason(), "where fails")
	require.False(t, got[2].Wanted)
	require.Equal(t, `no pattern of events matches: ["invoice"]`, got[2].Reason())
}

func TestParseEvent_TakesWhatAPersonWrites(t *testing.T) {
	t.Parallel()
	table := mapping.Table{Schema: "public", Name: "outbox", Columns: mapping.DefaultColumns()}
	ev, err := mapping.ParseEvent([]byte(`{"type": "t", "payload": {"n": 1.50}, "row": {"region": "eu", "gone": null}, "time": "2026-01-02T03:04:05+01:00"}`), table, commit)
	require.NoError(t, err)
	require.Empty(t, ev.Problem)
	require.Equal(t, `{"n": 1.50}`, string(ev.Payload), "byte for byte")
	require.Equal(t, "2026-01-02 02:04:05 +0000 UTC", ev.Time.String())
	_, cfg := setup(t, "", "  a: {url: http://h, where: 'row.region == \"eu\" && row.gone == null && row.type == \"t\" && row.key == null'}")
	require.True(t, mapping.Explain(cfg.Endpoints, ev)[0].Wanted)
	for text, problem := range map[string]string{
		`[]`:                                    "expected a JSON object such as",
		`{"typ": "t"}`:                          `unknown key "typ", did you mean type?`,
		`{}`:                                    "has no type",
		`{"type": "t", "time": "now"}`:          "RFC 3339 for time",
		`{"type": "t", "row": {"n": 1}}`:        "an object of strings for row",
		`{"type": "t", "key": 1, "headers": 1}`: "",
	} {
		ev, err := mapping.ParseEvent([]byte(text), table, commit)
		if problem == "" {
			require.NoError(t, err)
			require.Contains(t, ev.Problem, "the headers are not a JSON object")
			continue
		}
		require.ErrorContains(t, err, problem, text)
	}
}
