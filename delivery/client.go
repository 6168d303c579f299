package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"relay/mapping"
)

// Request is what one attempt sends.
type Request struct {
	ID                      string // webhook-id
	Body                    mapping.Body
	Traceparent, Tracestate string // W3C trace context; empty: none
}

// Client makes attempts at one endpoint, over a transport of its own: nothing another endpoint does can use up its
// connections. It is safe for concurrent use.
type Client struct {
	timeout   time.Duration
	url       *url.URL // without user
	host      string   // as in the Host header
	headers   []header // what all attempts have in common, ready to be put into a map
	head      requestHead
	signer    *signer
	tokens    *tokens // of OAuth2; nil: none
	secrets   *strings.Replacer
	transport transport
}

// header is a header with its value in the form a http.Header holds it, shared by all attempts.
type header struct {
	name   string
	values []string
}

// NewClient returns a client for the endpoint, which introduces itself as relay/version.
func NewClient(ep *mapping.Endpoint, version string) (*Client, error) {
	u, err := parseURL(ep.URL)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", ep.Name, err)
	}
	c := &Client{
		timeout: ep.Timeout,
		url:     u,
		host:    u.Host,
		headers: []header{{"User-Agent", []string{"relay/" + version}}},
		signer:  newSigner(ep.Secrets),
		secrets: secretsOf(ep, u),
	}
	if ep.Auth.OAuth2 != nil {
		c.tokens = newTokens(ep)
	}
	if auth := authorization(ep.Auth, u.User); auth != "" {
		c.setHeader("Authorization", auth)
	}
	u.User = nil
	for _, h := range ep.Headers {
		if err := c.customHeader(h[0], h[1]); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", ep.Name, err)
		}
	}
	c.head = newRequestHead(c)
	c.transport = c.newTransport(ep)
	return c, nil
}

// parseURL returns the endpoint's URL. Its errors do not quote it: it may hold a password or a token.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("parse url: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("url: want http:// or https:// and a host")
	}
	return u, nil
}

// customHeader adds a header of the configuration.
func (c *Client) customHeader(name, value string) error {
	if !validHeaderName(name) || !validHeaderValue(value) {
		return fmt.Errorf("header %q: not a valid name and value", name)
	}
	if name = http.CanonicalHeaderKey(name); name == "Host" {
		c.host = value
		return nil
	}
	c.setHeader(name, value)
	return nil
}

// setHeader replaces a header by name, as long as the client is being built.
func (c *Client) setHeader(name, value string) {
	for i := range c.headers {
		if c.headers[i].name == name {
			c.headers[i].values = []string{value}
			return
		}
	}
	c.headers = append(c.headers, header{name, []string{value}})
}

// Send makes one attempt, within the endpoint's timeout: from connecting to the last byte of the answer. When ctx ends
// first the attempt is aborted.
func (c *Client) Send(ctx context.Context, r *Request) Outcome {
	start := time.Now()
	a := &attempt{client: c, parent: ctx, request: r, deadline: start.Add(c.timeout)}
	o := a.run()
	o.Duration = time.Since(start)
	return o
}

// Close closes idle connections. Attempts under way go on, and the client remains usable.
func (c *Client) Close() {
	c.transport.close()
	if c.tokens != nil {
		c.tokens.close()
	}
}
