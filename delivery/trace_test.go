package delivery

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

// setupTraced returns a Sender with spans and what has recorded them.
func setupTraced(t *testing.T, ep *mapping.Endpoint) (*Traced, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	return NewTraced(newClient(t, ep), ep, provider.Tracer("test")), recorder
}

func attributes(span sdktrace.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, kv := range span.Attributes() {
		all[string(kv.Key)] = kv.Value.String()
	}
	return all
}

func TestTraced_ContinuesTheTraceOfTheRowOntoTheRequest(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, nil)
	s, recorder := setupTraced(t, endpointAt(e.URL+"/T0123?token=sesame"))
	r := request("msg_1")
	r.Traceparent, r.Tracestate = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=x"

	require.Equal(t, Delivered, s.Send(t.Context(), r).Verdict)

	span := recorder.Ended()[0]
	require.Equal(t, "POST billing", span.Name())
	require.Equal(t, trace.SpanKindClient, span.SpanKind())
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", span.SpanContext().TraceID().String())
	require.Equal(t, "00f067aa0ba902b7", span.Parent().SpanID().String())
	require.Equal(t, codes.Unset, span.Status().Code)
	host, port, _ := strings.Cut(strings.TrimPrefix(e.URL, "http://"), ":")
	require.Equal(t, map[string]string{
		"http.request.method": "POST", "url.scheme": "http", "server.address": host, "server.port": port,
		"http.response.status_code": "200", "relay.endpoint": "billing", "relay.webhook_id": "msg_1",
		"relay.verdict": "delivered", "relay.reason": "ok",
	}, attributes(span), "no path and no query: they may be secrets")
	got := e.Receipts()[0].Header
	require.Equal(t, "00-4bf92f3577b34da6a3ce929d0e0e4736-"+span.SpanContext().SpanID().String()+"-01", got.Get("Traceparent"))
	require.Equal(t, "vendor=x", got.Get("Tracestate"))
	require.Equal(t, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", r.Traceparent, "the caller's request is as it was")
}

func TestTraced_RespectsThatATraceIsNotSampled(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, nil)
	s, recorder := setupTraced(t, endpointAt(e.URL))
	r := request("msg_1")
	r.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	require.Equal(t, Delivered, s.Send(t.Context(), r).Verdict)
	require.Empty(t, recorder.Ended())
	require.Regexp(t, "^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-00$", e.Receipts()[0].Header.Get("Traceparent"))
}

func TestTraced_BeginsATraceWhereTheRowHasNoneThatIsValid(t *testing.T) {
	t.Parallel()
	for _, parent := range []string{"", "00-x\r\nX-Evil: 1", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-a-b-01"} {
		e := deliverytest.New(t, nil)
		s, recorder := setupTraced(t, endpointAt(e.URL))
		r := request("msg_1")
		r.Traceparent = parent
		require.Equal(t, Delivered, s.Send(t.Context(), r).Verdict)
		span := recorder.Ended()[0]
		require.False(t, span.Parent().IsValid())
		require.Contains(t, e.Receipts()[0].Header.Get("Traceparent"), span.SpanContext().SpanID().String())
		require.Empty(t, e.Receipts()[0].Header.Get("X-Evil"))
	}
}

func TestTraced_TellsWhatWentWrongWithoutSecrets(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, func(r deliverytest.Receipt) deliverytest.Answer {
		return deliverytest.Answer{Status: 500, Body: "no " + r.Path + r.Header.Get("Authorization")}
	})
	gone := deliverytest.New(t, nil)
	gone.Close()
	for kind, url := range map[string]string{"500": e.URL, "connect": gone.URL} {
		ep := endpointAt(strings.Replace(url, "//", "//aladdin:sesame-1@", 1) + "/sesame-2-sesame?token=sesame-3")
		s, recorder := setupTraced(t, ep)
		require.Equal(t, Failed, s.Send(t.Context(), request("msg_1")).Verdict)
		span := recorder.Ended()[0]
		require.Equal(t, codes.Error, span.Status().Code)
		require.Equal(t, kind, attributes(span)["error.type"])
		text := span.Status().Description + attributeText(span.Attributes())
		require.NotContains(t, text, "sesame")
		require.NotContains(t, text, "aladdin")
	}
}

func attributeText(kvs []attribute.KeyValue) string {
	var b strings.Builder
	for _, kv := range kvs {
		b.WriteString(string(kv.Key) + "=" + kv.Value.String() + " ")
	}
	return b.String()
}

func TestClient_ForwardsTheTraceOfTheRowUnchangedWithoutSpans(t *testing.T) {
	t.Parallel()
	c, e := setup(t, nil)
	r := request("msg_1")
	r.Traceparent, r.Tracestate = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "vendor=x"
	require.Equal(t, Delivered, c.Send(t.Context(), r).Verdict)
	require.Equal(t, http.Header{"Traceparent": {r.Traceparent}, "Tracestate": {"vendor=x"}}, http.Header{
		"Traceparent": e.Receipts()[0].Header["Traceparent"], "Tracestate": e.Receipts()[0].Header["Tracestate"],
	})
}
