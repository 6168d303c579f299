package delivery

import (
	"context"

	"relay/mapping"
)

// Request is what one attempt sends.
type Request struct {
	ID                      string // webhook-id
	Body                    mapping.Body
	Traceparent, Tracestate string // W3C trace context; empty: none
}

// Client makes attempts at one endpoint. It is safe for concurrent use.
type Client struct {
	ep *mapping.Endpoint
}

// NewClient returns a client for the endpoint, which introduces itself as relay/version.
func NewClient(ep *mapping.Endpoint, version string) (*Client, error) { return &Client{ep: ep}, nil }

// Send makes one attempt, within the endpoint's timeout.
func (c *Client) Send(ctx context.Context, r *Request) Outcome { return Outcome{} }

// Close closes idle connections. Attempts under way go on.
func (c *Client) Close() {}
