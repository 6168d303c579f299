package delivery

import (
	"strconv"
	"time"
)

// requestHead is the beginning of every request to an endpoint as it goes over the wire: the request line and the headers
// that never change.
type requestHead []byte

func newRequestHead(c *Client) requestHead {
	b := append([]byte("POST "), c.url.RequestURI()...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendHeader(b, "Host", c.host)
	for i := range c.headers {
		if name := c.headers[i].name; name != "Authorization" || c.tokens == nil {
			b = appendHeader(b, name, c.headers[i].values[0])
		}
	}
	return b
}

// append appends the head of a request made now. It writes what Client.header returns. Every value was looked at: those of
// the configuration by NewClient, those of a row by Request.problem.
func (h requestHead) append(b []byte, c *Client, r *Request, now time.Time, authorization string) []byte {
	b = append(b, h...)
	for _, p := range r.Body.Headers {
		b = appendHeader(b, p[0], p[1])
	}
	b = appendHeader(b, "Webhook-Id", r.ID)
	b = append(b, "Webhook-Timestamp: "...)
	at := len(b)
	b = strconv.AppendInt(b, now.Unix(), 10)
	timestamp := b[at:]
	if len(c.signer.keys) > 0 {
		b = append(b, "\r\nWebhook-Signature: "...)
		b = c.signer.append(b, r.ID, timestamp, r.Body.Bytes)
	}
	b = append(b, "\r\n"...)
	b = appendHeader(b, "Content-Type", r.Body.ContentType)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Body.Bytes)), 10)
	b = append(b, "\r\n"...)
	if parent, state := r.trace(); parent != "" {
		b = appendHeader(b, "Traceparent", parent)
		if state != "" {
			b = appendHeader(b, "Tracestate", state)
		}
	}
	if authorization != "" {
		b = appendHeader(b, "Authorization", authorization)
	}
	return append(b, "\r\n"...)
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}
