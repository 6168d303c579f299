package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"relay/delivery"
	"relay/mapping"
)

// flushTimeout is how long the last spans may take at stop: they are worth less than a prompt end.
const flushTimeout = 3 * time.Second

// tracing exports spans of attempts. It is nil where nobody asked for any, and then does nothing.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// newTracing returns the tracing that the standard OTEL_* variables ask for; nil is none. What is wrong with them is
// logged: deliveries do not depend on traces.
func newTracing(ctx context.Context, log *slog.Logger) *tracing {
	log = log.With("part", "tracing")
	wanted, err := tracingWanted(os.Getenv)
	if err != nil {
		log.Warn("no traces are exported", "err", err)
	}
	if !wanted || err != nil {
		return nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces lost", "err", withoutURL(err)) }))
	otel.SetLogger(logr.FromSlogHandler(messageOnly{log.Handler()}))
	exporter, err := newExporter(ctx, os.Getenv)
	if err != nil {
		log.Warn("no traces are exported", "err", withoutURL(err))
		return nil
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("relay"), semconv.ServiceVersion(buildVersion().Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv()) // last, as what is set there wins
	if err != nil {
		log.Warn("traces do not say all about their origin", "err", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res))
	return &tracing{provider: provider, tracer: provider.Tracer("relay/delivery")}
}

// tracingWanted reports whether the environment asks for traces.
func tracingWanted(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	exporters := strings.FieldsFunc(getenv("OTEL_TRACES_EXPORTER"), func(r rune) bool { return r == ',' || r == ' ' })
	switch {
	case len(exporters) == 0:
		return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "", nil
	case slices.Contains(exporters, "otlp"):
		return true, nil
	case slices.Contains(exporters, "none"):
		return false, nil
	default:
		return false, errors.New("OTEL_TRACES_EXPORTER names no exporter that relay has: want otlp, or none")
	}
}

// newExporter returns an exporter, which reads the OTEL_EXPORTER_OTLP_* variables by itself.
func newExporter(ctx context.Context, getenv func(string) string) (sdktrace.SpanExporter, error) {
	switch protocol := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), getenv("OTEL_EXPORTER_OTLP_PROTOCOL")); protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: want http/protobuf or grpc", protocol)
	}
}

// newSender returns what sends to an endpoint.
func (r *sidecar) newSender(ep *mapping.Endpoint) (delivery.Sender, error) {
	client, err := delivery.NewClient(ep, buildVersion().Version)
	if err != nil || r.tracing == nil {
		return client, err
	}
	return delivery.NewTraced(client, ep, r.tracing.tracer), nil
}

// stop exports the last spans.
func (t *tracing) stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // the error handler has said it
}

// withoutURL returns the error without the collector's URL, which may hold a token.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("export: %w", wrapped.Err)
	}
	return err
}

// messageOnly logs what OpenTelemetry has to say without its values: among them is OTEL_EXPORTER_OTLP_HEADERS.
type messageOnly struct{ slog.Handler }

// Handle logs the message and its error.
func (h messageOnly) Handle(ctx context.Context, r slog.Record) error {
	short := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			short.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, short)
}

// WithAttrs drops the values.
func (h messageOnly) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup drops the name.
func (h messageOnly) WithGroup(string) slog.Handler { return h }
