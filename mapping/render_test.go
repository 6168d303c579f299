package mapping_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/cdc"
	"relay/mapping"
)

func jsonValid(b []byte) bool { return json.Valid(b) }

// render returns what the endpoint `a: {url, …}` sends for the row.
func render(t *testing.T, endpoint string, rw *cdc.Row) (mapping.Body, error) {
	t.Helper()
	r, cfg := setup(t, "messages: [p]", "  a: {url: http://h, "+endpoint+"}")
	return cfg.Endpoints[0].Render(event(t, r, rw))
}

func typed(oid uint32, payload string) *cdc.Row {
	table := outbox()
	table.Columns[3].Type = oid
	return row(table, "e1", "order.created", "k1", payload, null, "2026-01-02 03:04:05.678+00", null)
}

const (
	oidText  = 25
	oidBytea = 17
)

func TestRender_Standard(t *testing.T) {
	t.Parallel()
	body, err := render(t, "format: standard", order(`{"n": 1.10, "b":[1 ]}`))
	require.NoError(t, err)
	require.Equal(t, `{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"n": 1.10, "b":[1 ]}}`, string(body.Bytes))
	require.Equal(t, "application/json", body.ContentType)
	require.Empty(t, body.Headers)
}

func TestRender_EscapesTypesWithoutHTML(t *testing.T) {
	t.Parallel()
	rw := order("1")
	rw.Values[1] = []byte("<a&b>\"\\\x01\n\u2028é\xff")
	body, err := render(t, "format: standard", rw)
	require.NoError(t, err)
	require.Contains(t, string(body.Bytes), `{"type":"<a&b>\"\\\u0001\n\u2028é\ufffd",`)
	require.True(t, jsonValid(body.Bytes))
}

func TestRender_RefusesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"standard", "cloudevents", "cloudevents-batch"} {
		_, err := render(t, "format: "+format, typed(oidText, "hello"))
		require.ErrorContains(t, err, "payload is not JSON", format)
		body, err := render(t, "format: "+format, typed(oidText, `{"a": 1}`))
		require.NoError(t, err)
		require.Contains(t, string(body.Bytes), `{"a": 1}`)
	}
	_, err := render(t, "format: standard", typed(oidBytea, `\x22ff22`))
	require.EqualError(t, err, "payload is not JSON", "not UTF-8")
}

func TestRender_RawIsThePayload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		oid                      uint32
		payload, body, mediaType string
	}{
		{3802, `{"a": 1}`, `{"a": 1}`, "application/json"},
		{oidText, "hello", "hello", "text/plain; charset=utf-8"},
		{oidBytea, `\x00ff`, "\x00\xff", "application/octet-stream"},
		{99999, `{"a": 1}`, `{"a": 1}`, "application/json"}, // a domain
		{99999, `hello`, `hello`, "text/plain; charset=utf-8"},
	} {
		body, err := render(t, "format: raw", typed(c.oid, c.payload))
		require.NoError(t, err)
		require.Equal(t, c.body, string(body.Bytes))
		require.Equal(t, c.mediaType, body.ContentType)
	}
}

// decode reads a request as another people's library does.
func decode(t *testing.T, body mapping.Body) *ce.Event {
	t.Helper()
	header := http.Header{"Content-Type": {body.ContentType}}
	for _, h := range body.Headers {
		header.Set(h[0], h[1])
	}
	message := cehttp.NewMessage(header, nopCloser{strings.NewReader(string(body.Bytes))})
	got, err := binding.ToEvent(t.Context(), message)
	require.NoError(t, err)
	require.NoError(t, got.Validate())
	return got
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }

func requireEvent(t *testing.T, got *ce.Event) {
	t.Helper()
	require.Equal(t, "1.0", got.SpecVersion())
	require.Equal(t, "e1", got.ID())
	require.Equal(t, "/relay/relay/public.outbox", got.Source())
	require.Equal(t, "order.created", got.Type())
	require.Equal(t, "k1", got.Subject())
	require.Equal(t, "2026-01-02T03:04:05.678Z", got.Time().Format(time.RFC3339Nano))
	require.Equal(t, "application/json", got.DataContentType())
	require.Equal(t, map[string]any{
		"partitionkey": "k1", "sequence": "00000000016B3748.00000002", "tenant": "acme",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b",
	}, got.Extensions())
	require.Equal(t, `{"n": 1.10}`, string(got.Data()))
}

func traced() *cdc.Row {
	rw := order(`{"n": 1.10}`)
	rw.Values[4] = []byte(`{"tenant": "acme", "X-Not": "an attribute", "id": "mine", "data": "x", "empty": "", "nested": {},
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}`)
	return rw
}

func TestRender_CloudEventsAreReadByTheSDK(t *testing.T) {
	t.Parallel()
	body, err := render(t, "format: cloudevents", traced())
	require.NoError(t, err)
	require.Equal(t, "application/cloudevents+json; charset=utf-8", body.ContentType)
	requireEvent(t, decode(t, body))
	require.Equal(t, `{"specversion":"1.0","id":"e1","source":"/relay/relay/public.outbox","type":"order.created",`+
		`"time":"2026-01-02T03:04:05.678Z","subject":"k1","partitionkey":"k1","sequence":"00000000016B3748.00000002",`+
		`"tenant":"acme","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=b",`+
		`"datacontenttype":"application/json","data":{"n": 1.10}}`, string(body.Bytes))

	body, err = render(t, "format: cloudevents-binary", traced())
	require.NoError(t, err)
	require.Equal(t, "application/json", body.ContentType)
	requireEvent(t, decode(t, body))

	body, err = render(t, "format: cloudevents-batch", traced())
	require.NoError(t, err)
	require.Equal(t, "application/cloudevents-batch+json; charset=utf-8", body.ContentType)
	var batch []ce.Event
	require.NoError(t, json.Unmarshal(body.Bytes, &batch))
	require.Len(t, batch, 1)
	requireEvent(t, &batch[0])
}

func TestRender_CloudEventsCarryBytes(t *testing.T) {
	t.Parallel()
	body, err := render(t, "format: cloudevents", typed(oidBytea, `\x00ff10`))
	require.NoError(t, err)
	got := decode(t, body)
	require.Equal(t, "application/octet-stream", got.DataContentType())
	require.Equal(t, []byte{0, 255, 16}, got.Data())
}

func TestRender_CloudEventsTakeTheEndpointsSource(t *testing.T) {
	t.Parallel()
	body, err := render(t, "format: cloudevents, source: /shop", order("1"))
	require.NoError(t, err)
	require.Equal(t, "/shop", decode(t, body).Source())
	rw := &cdc.Row{Prefix: "p", Content: []byte(`{"id":"1","type":"t","payload":1}`), CommitTime: commit}
	body, err = render(t, "format: cloudevents", rw)
	require.NoError(t, err)
	require.Equal(t, "/relay/relay", decode(t, body).Source())
}

func TestRender_PercentEncodesBinaryHeaders(t *testing.T) {
	t.Parallel()
	rw := order("1")
	rw.Values[2] = []byte("Euro € \"50%\"\n")
	body, err := render(t, "format: cloudevents-binary", rw)
	require.NoError(t, err)
	require.Contains(t, body.Headers, [2]string{"ce-subject", "Euro%20%E2%82%AC%20%2250%25%22%0A"})
}

func TestRender_BodyReplacesThePayload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, payload, want string }{
		{`{"id": event.id, "total": payload.total}`, `{"total": 150}`, `{"id":"e1","total":150}`},
		{`{"b": payload.total, "a": [event.key, row.region, null]}`, `{"total": 150.50}`, `{"a":["k1","eu",null],"b":150.5}`},
		{`payload`, `{"z": 12345678901234567890.10, "a": "<&>"}`, `{"a":"<&>","z":12345678901234567890.10}`},
		{`payload.n`, `{"n": 9223372036854775807}`, `9223372036854775807`},
		{`[payload.n / 2, payload.n + 1]`, `{"n": 9007199254740993}`, `[4503599627370496,9007199254740994]`},
		{`event.headers`, `1`, `{"tenant":"acme"}`},
		{`event.time`, `1`, `"2026-01-02T03:04:05.678Z"`},
		{`[event.type, event.table, b"hi", 1u, 1.5, true, duration("90s")]`, `1`, `["order.created","public.outbox","aGk=",1,1.5,true,"90s"]`},
		{`payload.items.map(i, i.sku) + ["x"]`, `{"items": [{"sku": "a"}, {"sku": "b"}]}`, `["a","b","x"]`},
		{`{1: "int", true: "bool"}`, `1`, `{"1":"int","true":"bool"}`},
		{`event`, `1`, `{"headers":{"tenant":"acme"},"id":"e1","key":"k1","table":"public.outbox","time":"2026-01-02T03:04:05.678Z","type":"order.created"}`},
	} {
		body, err := render(t, "format: raw, body: '"+c.body+"'", order(c.payload))
		require.NoError(t, err, c.body)
		require.Equal(t, c.want, string(body.Bytes), c.body)
		require.Equal(t, "application/json", body.ContentType)
	}
}

func TestRender_TellsWhyABodyFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, payload, want string }{
		{`payload.nope`, `{}`, "evaluate body: no such key: nope"},
		{`payload.price * 2`, `{"price": 1.5}`, "evaluate body: no such overload"},
		{`[1, type(payload)]`, `{}`, "evaluate body: gives a value of type type, which JSON cannot hold"},
		{`1.0 / double(payload.n)`, `{"n": 0}`, "evaluate body: gives a number that is not finite"},
		{`{1: "a", "1": "b"}`, `1`, `evaluate body: gives a map with two keys "1"`},
		{`payload.l.map(a, payload.l.map(b, payload.l.map(c, a + b + c)))`, `{"l": [` + strings.Repeat("1,", 199) + `1]}`, "evaluate body: too costly"},
	} {
		_, err := render(t, "body: '"+c.body+"'", order(c.payload))
		require.ErrorContains(t, err, c.want, c.body)
	}
	_, err := render(t, "body: payload.x", typed(oidText, "hello"))
	require.ErrorContains(t, err, "evaluate body: payload is not JSON")
}

func TestRender_IsSharedBetweenEndpoints(t *testing.T) {
	t.Parallel()
	r, cfg := setup(t, "", "  a: {url: http://h}\n  b: {url: http://i}")
	ev := event(t, r, order("1"))
	bodies := make([]mapping.Body, 20)
	var wg sync.WaitGroup
	for i := range bodies {
		wg.Go(func() { bodies[i], _ = cfg.Endpoints[i%2].Render(ev) })
	}
	wg.Wait()
	for _, body := range bodies {
		require.Same(t, &bodies[0].Bytes[0], &body.Bytes[0])
	}
}

func TestRenderBatch_HasOneIDForTheSameEvents(t *testing.T) {
	t.Parallel()
	r, cfg := setup(t, "", "  a: {url: http://h, format: cloudevents-batch, batch: {events: 10}}")
	ep := cfg.Endpoints[0]
	one, two := event(t, r, order("1")), event(t, r, order("2"))
	two.ID = "e2"
	body, id, err := ep.RenderBatch([]*mapping.Event{one, two})
	require.NoError(t, err)
	var batch []ce.Event
	require.NoError(t, json.Unmarshal(body.Bytes, &batch))
	require.Len(t, batch, 2)
	require.Equal(t, "e2", batch[1].ID())
	require.Regexp(t, `^batch_[0-9a-f]{32}$`, id)
	_, again, err := ep.RenderBatch([]*mapping.Event{one, two})
	require.NoError(t, err)
	require.Equal(t, id, again)
	_, other, err := ep.RenderBatch([]*mapping.Event{two, one})
	require.NoError(t, err)
	require.NotEqual(t, id, other)
	size, err := ep.Size(one)
	require.NoError(t, err)
	require.Less(t, size, len(body.Bytes))

	bad := event(t, r, typed(oidText, "hello"))
	_, _, err = ep.RenderBatch([]*mapping.Event{one, bad})
	var batchErr *mapping.BatchError
	require.ErrorAs(t, err, &batchErr)
	require.Equal(t, 1, batchErr.Index)
}

func TestTraceparent_ComesFromTheHeaders(t *testing.T) {
	t.Parallel()
	for headers, want := range map[string][2]string{
		`{"traceparent": "00-a-b-01", "tracestate": "x=y"}`: {"00-a-b-01", "x=y"},
		`{"traceparent": "00-a-b-01"}`:                      {"00-a-b-01", ""},
		`{"tracestate": "x=y"}`:                             {},
		`{"traceparent": "a\nb"}`:                           {},
		`{"traceparent": "00", "tracestate": "a\nb"}`:       {"00", ""},
		`{"traceparent`:                                     {},
		``:                                                  {},
	} {
		parent, state := (&mapping.Event{Headers: []byte(headers)}).Traceparent()
		require.Equal(t, want, [2]string{parent, state}, headers)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte(`{"traceparent": "00-a-b-01", "tracestate": "x=y", "a": 1, "b": null}`))
	f.Add([]byte(`{"a": "\ud800"}`))
	_, cfg := setup(f, "", "  a: {url: http://h, format: cloudevents}\n  b: {url: http://h, format: cloudevents-binary}")
	f.Fuzz(func(t *testing.T, headers []byte) {
		ev := &mapping.Event{ID: "1", Type: "t", Payload: []byte("1"), Headers: headers, Time: commit}
		ev.Traceparent()
		body, err := cfg.Endpoints[0].Render(ev)
		require.NoError(t, err)
		require.True(t, jsonValid(body.Bytes), string(body.Bytes))
		body, err = cfg.Endpoints[1].Render(ev)
		require.NoError(t, err)
		for _, h := range body.Headers {
			for _, c := range []byte(h[1]) {
				require.True(t, c > ' ' && c <= '~' && c != '"', h[1])
			}
		}
	})
}

func TestRender_IsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	r, cfg := setup(t, "", "  a: {url: http://h, where: payload.n > 0, body: '[payload.n, row.region, event.headers.tenant]'}")
	ev := event(t, r, order(`{"n": 1}`))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				body, err := cfg.Endpoints[0].Render(ev)
				if err != nil || string(body.Bytes) != `{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":[1,"eu","acme"]}` {
					t.Errorf("got %s, %v", body.Bytes, err)
				}
			}
		})
	}
	r.Route(ev)
	wg.Wait()
}

// Any type is escaped so that a JSON reader gets it back.
func TestRender_EscapesLikeJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		rw := order("1")
		typ := rapid.String().Filter(func(s string) bool { return s != "" }).Draw(rt, "type")
		rw.Values[1] = []byte(typ)
		body, err := render(t, "format: standard", rw)
		require.NoError(rt, err)
		var got struct{ Type string }
		require.NoError(rt, json.Unmarshal(body.Bytes, &got))
		require.Equal(rt, typ, got.Type)
	})
}
