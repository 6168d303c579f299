package mapping

// Body is a rendered request. What it holds may be shared between endpoints and must not be changed.
type Body struct {
	Bytes       []byte
	ContentType string
	Headers     [][2]string // ce-* headers of the binary format, percent-encoded
}

type sharedRender struct{}

// Render returns the request for one event. An error means that it can never be rendered as configured. It is safe for
// concurrent use.
func (e *Endpoint) Render(ev *Event) (Body, error) { return Body{}, nil }

// RenderBatch returns the request for several events in a cloudevents-batch, and its webhook-id.
func (e *Endpoint) RenderBatch(evs []*Event) (Body, string, error) { return Body{}, "", nil }

// Traceparent returns the event's W3C trace context, empty where its headers have none.
func (ev *Event) Traceparent() (parent, state string) { return "", "" }
