package main

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

const explainConfig = `source: {url: "postgres://127.0.0.1:1/nowhere"}
endpoints:
  billing:
    url: https://billing.example.com/hook?token=querysecret
    events: ["order.*"]
    where: payload.total > 100
    secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]
    auth: {bearer: bearersecret}
    headers: {X-Key: headersecret}
  broken: {url: "https://broken.example.com", body: 'payload.missing'}
  other: {url: "https://other.example.com", events: [invoice.paid], paused: true}
`

func TestExplain_ShowsReasonsAndTheRequestWithoutSecretsOrADatabase(t *testing.T) {
	t.Parallel()
	path := configFile(t, explainConfig)
	got := relayOut(t, "explain", "-c", path, "--event", `{"id": "e1", "type": "order.created", "key": "42", "payload": {"total": 120.50}}`)
	require.Zero(t, got.status, got.err)
	for _, want := range []string{
		"order.created  e1  key 42", `billing: sent: events "order.*" matches, where is true: payload.total > 100`, "with payload.total = 120.5",
		"POST https://billing.example.com/hook?[hidden]\n", "Authorization: Bearer [hidden]", "X-Key: [hidden]", "Webhook-Id: e1", "Webhook-Signature: v1,",
		`"data":{"total": 120.50}}`, "broken: dead letter: ", "no such key: missing", `other: not sent: no pattern of events matches: ["invoice.paid"]`,
	} {
		require.Contains(t, got.out, want)
	}
	for _, secret := range []string{"querysecret", "bearersecret", "headersecret", "MfKQ9r8G"} {
		require.NotContains(t, got.out, secret)
	}
	brief := relayOut(t, "explain", "-c", path, "--brief", "--endpoint", "other", "--event", `{"type": "invoice.paid"}`)
	require.Zero(t, brief.status, brief.err)
	require.Contains(t, brief.out, "paused in the file")
	require.NotContains(t, brief.out, "POST")
	require.NotContains(t, brief.out, "billing")
}

func TestExplain_SaysWhatIsWrongWithItsArguments(t *testing.T) {
	t.Parallel()
	path := configFile(t, explainConfig)
	for problem, args := range map[string][]string{
		"unknown key \"tpye\", did you mean type?": {"--event", `{"tpye": "x"}`},
		"did you mean billing?":                    {"--event", `{"type": "x"}`, "--endpoint", "biling"},
		"want at least 1":                          {"--last", "0"},
		"no such file":                             {"--event", `{"type": "x"}`, "--against", path + ".none"},
	} {
		got := relayOut(t, append([]string{"explain", "-c", path}, args...)...)
		require.Equal(t, exitUsage, got.status, problem)
		require.Contains(t, got.err, problem)
	}
	require.Equal(t, exitFailed, relayOut(t, "explain", "-c", path).status, "no database")
	messages := configFile(t, strings.Replace(explainConfig, `nowhere"`, `nowhere", tables: [], messages: [m]`, 1))
	require.Contains(t, relayOut(t, "explain", "-c", messages).err, "--event")
}

func TestExplain_AgainstShowsWhatAnEditWouldChange(t *testing.T) {
	t.Parallel()
	path := configFile(t, explainConfig)
	edit := func(from, to string) string { return configFile(t, strings.Replace(explainConfig, from, to, 1)) }
	against := func(other, event string) result {
		got := relayOut(t, "explain", "-c", path, "--against", other, "--event", event)
		require.Zero(t, got.status, got.err)
		return got
	}
	event := `{"id": "e1", "type": "order.created", "payload": {"total": 120}}`
	same := against(path, event)
	require.Empty(t, same.out)
	require.Contains(t, same.err, "0 of 1 event would be treated differently")
	for _, c := range []struct{ from, to, want string }{
		{"> 100", "> 200", "billing  would not be sent: events \"order.*\" matches, where is false: payload.total > 200"},
		{"where: payload.total > 100", "body: payload.gone", "billing  would be a dead letter: "},
		{"body: 'payload.missing'", "body: payload.total", "broken  would be sent: "},
		{"invoice.paid], paused: true", "'*']", "other  would be sent: "},
		{"  other:", "  another: {url: http://a}\n  other:", "another  would be sent: "},
		{"querysecret", "anothersecret", "url: https://billing.example.com/hook?[hidden] ->"},
		{"bearersecret", "anothersecret", "Authorization: another"},
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "Webhook-Signature: another"},
		{"headers: {X-Key: headersecret}", "format: cloudevents", "Content-Type: application/json -> application/cloudevents+json"},
		{"headers: {X-Key: headersecret}", "body: '1'", `body: {"type":"order.created"`},
	} {
		got := against(edit(c.from, c.to), event)
		require.Contains(t, got.out, c.want)
		require.NotContains(t, got.out, "secret")
		require.Contains(t, got.err, "1 of 1 event")
	}
}

func TestExplain_TellsOfTheLastRowsWhatRelaySends(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  billing: {url: \""+ep.URL+"/in\", headers: {X-Team: a}, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], where: payload.n > 1}\n")
	var ids []string
	for _, n := range []string{"1", "2", "3"} {
		ids = append(ids, r.Insert("order.created", `{"n": `+n+`, "x": 1.10}`, `{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`))
	}
	ep.Wait(t, 2)
	got := relayOut(t, "explain", "--last", "2", "--json", "-c", r.Config)
	require.Zero(t, got.status, got.err)
	var all []explainedEvent
	require.NoError(t, json.Unmarshal([]byte(got.out), &all))
	require.Len(t, all, 2)
	require.Equal(t, ids[1:], []string{all[0].ID, all[1].ID}, "the newest at the end")
	sent := ep.Receipts()[slices.Index(ep.IDs(), ids[2])]
	said := all[1].Endpoints[0].Request
	require.Equal(t, string(sent.Body), said.Body, "to the byte")
	for name := range sent.Header {
		require.Contains(t, said.Headers, name)
	}
	for _, name := range []string{"Webhook-Id", "Content-Type", "Traceparent", "Content-Length", "User-Agent"} {
		require.Equal(t, sent.Header.Get(name), said.Headers[http.CanonicalHeaderKey(name)], name)
	}

	_, err := r.Conn.Exec(t.Context(), `ALTER TABLE outbox DROP created_at`)
	require.NoError(t, err)
	got = relayOut(t, "explain", "--last", "1", "--brief", "-c", r.Config)
	require.Zero(t, got.status, got.err)
	require.Contains(t, got.out, ids[2], "also without a time column")
	_, err = r.Conn.Exec(t.Context(), `DELETE FROM outbox`)
	require.NoError(t, err)
	require.Contains(t, relayOut(t, "explain", "-c", r.Config).out, "the outbox is empty")

	in, err := os.Open(configFile(t, `{"type": "x", "payload": {"n": 5}}`))
	require.NoError(t, err)
	var out syncBuffer
	require.Zero(t, execute(t.Context(), newConsole(in, &out, &out), []string{"explain", "-c", r.Config, "--event", "-"}))
	require.Contains(t, out.String(), "billing: sent")
}
