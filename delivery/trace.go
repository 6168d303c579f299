package delivery

import (
	"context"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"relay/mapping"
)

// Attributes of a span that HTTP's conventions have no name for.
const (
	attrEndpoint = attribute.Key("relay.endpoint")
	attrID       = attribute.Key("relay.webhook_id")
	attrReason   = attribute.Key("relay.reason")
	attrVerdict  = attribute.Key("relay.verdict")
)

// Traced is a Sender whose attempts are spans: each continues the trace of the event's row and is itself what the
// endpoint sees as its parent. Where nobody collects traces there is no Traced, so that they cost nothing.
type Traced struct {
	next       Sender
	tracer     trace.Tracer
	name       string
	attributes []attribute.KeyValue
}

var _ Sender = (*Traced)(nil)

// NewTraced returns a Sender that sends by next. Its spans name the endpoint and its host; of the URL they have nothing
// else, since path and query are where webhook URLs hold their secrets.
func NewTraced(next Sender, ep *mapping.Endpoint, tracer trace.Tracer) *Traced {
	t := &Traced{
		next: next, tracer: tracer, name: "POST " + ep.Name,
		attributes: []attribute.KeyValue{semconv.HTTPRequestMethodPost, attrEndpoint.String(ep.Name)},
	}
	u, err := url.Parse(ep.URL)
	if err != nil {
		return t
	}
	t.attributes = append(t.attributes, semconv.URLScheme(u.Scheme), semconv.ServerAddress(u.Hostname()))
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.Atoi(port); err == nil {
		t.attributes = append(t.attributes, semconv.ServerPort(n))
	}
	return t
}

// Send makes the attempt within a span.
func (t *Traced) Send(ctx context.Context, r *Request) Outcome {
	own := *r
	ctx, span := t.tracer.Start(traceContext.Extract(ctx, carrier{&own}), t.name,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(t.attributes...), trace.WithAttributes(attrID.String(r.ID)))
	defer span.End()
	own.Traceparent, own.Tracestate = "", ""
	traceContext.Inject(ctx, carrier{&own})
	o := t.next.Send(ctx, &own)
	if span.IsRecording() {
		describe(span, o)
	}
	return o
}

// describe puts an outcome on its span. Its text holds no secrets.
func describe(span trace.Span, o Outcome) {
	span.SetAttributes(attrVerdict.String(o.Verdict.String()), attrReason.String(string(o.Reason)))
	if o.Status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(o.Status))
	}
	if o.Verdict == Delivered || o.Verdict == Aborted {
		return
	}
	kind := string(o.Reason)
	if o.Status != 0 {
		kind = strconv.Itoa(o.Status) // as the conventions want it
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.SetStatus(codes.Error, o.Err)
}

// Close closes the Sender that sends.
func (t *Traced) Close() { t.next.Close() }

// traceContext reads and writes W3C trace context. What is not valid it ignores: the span then begins a trace.
var traceContext propagation.TraceContext

// carrier is a request's trace context as a map of two headers.
type carrier struct{ r *Request }

// Get returns a header.
func (c carrier) Get(name string) string {
	switch name {
	case "traceparent":
		return c.r.Traceparent
	case "tracestate":
		return c.r.Tracestate
	}
	return ""
}

// Set sets a header.
func (c carrier) Set(name, value string) {
	switch name {
	case "traceparent":
		c.r.Traceparent = value
	case "tracestate":
		c.r.Tracestate = value
	}
}

// Keys returns the headers' names.
func (carrier) Keys() []string { return []string{"traceparent", "tracestate"} }
