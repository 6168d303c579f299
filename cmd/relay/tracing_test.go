package main

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"relay/delivery/deliverytest"
)

func TestTracing_IsOnOnlyWhenTheEnvironmentAsksForIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env    map[string]string
		wanted bool
		err    string
	}{
		{nil, false, ""},
		{map[string]string{"OTEL_SERVICE_NAME": "shop"}, false, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, false, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "console, otlp"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, false, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, "want otlp"},
		{map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, false, ""},
	} {
		wanted, err := tracingWanted(func(name string) string { return c.env[name] })
		require.Equal(t, c.wanted, wanted, c.env)
		if c.err == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.err)
		}
	}
}

func TestTracing_SaysWhichProtocolsItHas(t *testing.T) {
	t.Parallel()
	protocol := func(name string) func(string) string {
		return func(variable string) string {
			if variable == "OTEL_EXPORTER_OTLP_PROTOCOL" {
				return name
			}
			return ""
		}
	}
	for _, name := range []string{"", "http/protobuf", "grpc"} {
		exporter, err := newExporter(t.Context(), protocol(name))
		require.NoError(t, err)
		require.NoError(t, exporter.Shutdown(t.Context()))
	}
	_, err := newExporter(t.Context(), protocol("http/json"))
	require.ErrorContains(t, err, "want http/protobuf or grpc")
	require.NotContains(t, withoutURL(&url.Error{Op: "Post", URL: "http://x/?sesame", Err: errors.New("refused")}).Error(), "sesame")
}

// otlpCollector records the spans that are exported to it.
type otlpCollector struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*collector.ExportTraceServiceRequest
}

// ServeHTTP takes spans in.
func (c *otlpCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(data, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, &request)
}

func TestRun_ExportsASpanOfEachAttemptThatContinuesTheTraceOfTheRow(t *testing.T) {
	t.Parallel()
	endpoint := deliverytest.New(t, nil)
	traces := &otlpCollector{}
	server := httptest.NewServer(traces)
	defer server.Close()
	r := startRelay(t, "  billing: {url: \""+endpoint.URL+"/T0123?token=sesame\"}\n",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test")
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	r.Insert("order.created", `1`, `{"traceparent": "00-`+id+`-00f067aa0ba902b7-01"}`)
	parent := endpoint.Wait(t, 1)[0].Header.Get("Traceparent")
	r.Stop() // exports what is left

	traces.mu.Lock()
	defer traces.mu.Unlock()
	require.Len(t, traces.spans, 1)
	resource := traces.spans[0].ResourceSpans[0]
	require.Contains(t, resource.Resource.String(), "deployment.environment.name")
	require.Contains(t, resource.Resource.String(), `"relay"`)
	span := resource.ScopeSpans[0].Spans[0]
	require.Equal(t, "POST billing", span.Name)
	require.Regexp(t, "^00-"+id+"-[0-9a-f]{16}-01$", parent)
	require.Contains(t, parent, hex.EncodeToString(span.SpanId))
	require.NotContains(t, span.String(), "sesame")
	require.NotContains(t, r.Log(), "sesame")
}

// Export takes spans in over gRPC.
func (c *otlpCollector) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, request)
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestRun_ExportsSpansOverGRPC(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	traces, server := &otlpCollector{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, traces)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })

	endpoint := deliverytest.New(t, nil)
	r := startRelay(t, "  billing: {url: \""+endpoint.URL+"\"}\n",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+listener.Addr().String())
	r.Insert("order.created", `1`, "")
	parent := endpoint.Wait(t, 1)[0].Header.Get("Traceparent")
	r.Stop() // exports what is left

	traces.mu.Lock()
	defer traces.mu.Unlock()
	require.Len(t, traces.spans, 1)
	span := traces.spans[0].ResourceSpans[0].ScopeSpans[0].Spans[0]
	require.Equal(t, "POST billing", span.Name)
	require.Contains(t, parent, hex.EncodeToString(span.SpanId))
}

func TestRun_DeliversWhenTheCollectorIsNotThere(t *testing.T) {
	t.Parallel()
	endpoint := deliverytest.New(t, nil)
	r := startRelay(t, "  billing: {url: \""+endpoint.URL+"\"}\n",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1/sesame", "OTEL_EXPORTER_OTLP_HEADERS=key=sesame%zz", "OTEL_BSP_SCHEDULE_DELAY=50")
	r.Insert("order.created", `1`, "")
	endpoint.Wait(t, 1)
	r.eventually(func() bool { return len(r.Log()) > 0 }, "a log")
	r.Stop()
	require.NotContains(t, r.Log(), "sesame")
}
