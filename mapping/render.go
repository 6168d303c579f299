package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"unicode/utf8"
)

// Body is a rendered request. What it holds may be shared between endpoints and must not be changed.
type Body struct {
	Bytes       []byte
	ContentType string
	Headers     [][2]string // ce-* headers of the binary format, percent-encoded
}

// The content types of requests.
const (
	typeJSON  = "application/json"
	typeText  = "text/plain; charset=utf-8"
	typeBytes = "application/octet-stream"
	typeEvent = "application/cloudevents+json; charset=utf-8"
	typeBatch = "application/cloudevents-batch+json; charset=utf-8"
)

// sharedRender keeps what several endpoints send alike. Two that come at once may both render it; one is kept.
type sharedRender struct {
	standard, event atomic.Pointer[rendered]
}

type rendered struct {
	bytes []byte
	err   error
}

// once returns what is kept, or renders and keeps it.
func once(kept *atomic.Pointer[rendered], render func() ([]byte, error)) ([]byte, error) {
	if r := kept.Load(); r != nil {
		return r.bytes, r.err
	}
	r := &rendered{}
	r.bytes, r.err = render()
	if !kept.CompareAndSwap(nil, r) {
		r = kept.Load()
	}
	return r.bytes, r.err
}

// content is what an endpoint is sent as the event's data.
type content struct {
	data []byte
	kind PayloadKind
}

// content returns the payload, or what the endpoint's body expression makes of it.
func (e *Endpoint) content(ev *Event) (content, error) {
	if e.Body == nil {
		return content{ev.Payload, ev.Kind}, nil
	}
	data, err := e.Body.render(&activation{ev: ev})
	return content{data, PayloadJSON}, err
}

func (c content) contentType() string {
	switch c.kind {
	case PayloadBytes:
		return typeBytes
	case PayloadText:
		return typeText
	default:
		return typeJSON
	}
}

// checkJSON returns an error if the content is not JSON. The database has checked json and jsonb.
func (c content) checkJSON() error {
	if c.kind != PayloadJSON && (!json.Valid(c.data) || !utf8.Valid(c.data)) {
		return errNotJSON
	}
	return nil
}

// Render returns the request for one event, for cloudevents-batch a batch of one. An error means that it can never be
// rendered as configured. It is safe for concurrent use.
func (e *Endpoint) Render(ev *Event) (Body, error) {
	switch e.Format {
	case FormatRaw, FormatCloudEventsBinary:
		c, err := e.content(ev)
		if err != nil {
			return Body{}, err
		}
		body := Body{Bytes: c.data, ContentType: c.contentType()}
		if e.Format == FormatCloudEventsBinary {
			body.Headers = e.eventHeaders(ev)
		}
		return body, nil
	case FormatCloudEvents:
		data, err := e.cloudEvent(ev)
		return Body{Bytes: data, ContentType: typeEvent}, err
	case FormatCloudEventsBatch:
		body, _, err := e.RenderBatch([]*Event{ev})
		return body, err
	default:
		data, err := e.standard(ev)
		return Body{Bytes: data, ContentType: typeJSON}, err
	}
}

// standard returns the body of Standard Webhooks.
func (e *Endpoint) standard(ev *Event) ([]byte, error) {
	render := func() ([]byte, error) {
		c, err := e.content(ev)
		if err != nil {
			return nil, err
		}
		if err := c.checkJSON(); err != nil {
			return nil, err
		}
		b := make([]byte, 0, len(c.data)+len(ev.Type)+80)
		b = appendString(append(b, `{"type":`...), ev.Type)
		b = appendTime(append(b, `,"timestamp":"`...), ev.Time)
		b = append(append(b, `","data":`...), c.data...)
		return append(b, '}'), nil
	}
	if e.Body != nil {
		return render()
	}
	return once(&ev.shared.standard, render)
}

// BatchError says which event of a batch cannot be rendered; the others can be sent without it.
type BatchError struct {
	Index int
	Err   error
}

// Error returns the event's place in the batch and what is wrong with it.
func (e *BatchError) Error() string {
	return "event " + strconv.Itoa(e.Index) + " of the batch: " + e.Err.Error()
}

// Unwrap returns what is wrong with the event.
func (e *BatchError) Unwrap() error { return e.Err }

// RenderBatch returns the request for several events in a cloudevents-batch, and its webhook-id, which is the same for the
// same events in the same order. An event that cannot be rendered is a *BatchError.
func (e *Endpoint) RenderBatch(evs []*Event) (Body, string, error) {
	size := 2
	parts := make([][]byte, len(evs))
	for i, ev := range evs {
		data, err := e.cloudEvent(ev)
		if err != nil {
			return Body{}, "", &BatchError{i, err}
		}
		parts[i] = data
		size += len(data) + 1
	}
	b := append(make([]byte, 0, size), '[')
	for i, part := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, part...)
	}
	return Body{Bytes: append(b, ']'), ContentType: typeBatch}, batchID(evs), nil
}

// batchID hashes the ids, each with its length before it: ["a,b"] and ["a","b"] are different batches.
func batchID(evs []*Event) string {
	h := sha256.New()
	for _, ev := range evs {
		h.Write(fmt.Appendf(nil, "%d:%s", len(ev.ID), ev.ID))
	}
	return "batch_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// Size returns how many bytes the event adds to a batch, commas not counted.
func (e *Endpoint) Size(ev *Event) (int, error) {
	data, err := e.cloudEvent(ev)
	return len(data), err
}
