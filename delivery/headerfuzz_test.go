package delivery

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// FuzzClient_header writes requests whose parts a row has a hand in, as they go over the wire, and reads them as a server
// does: either the request is refused, or it is one request with our headers and no other, whose values are unchanged.
func FuzzClient_header(f *testing.F) {
	f.Add("msg_1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b", "ce-subject", "a%20b")
	f.Add("a\r\nX-Evil: 1", "00\r\n\r\nPOST / HTTP/1.1", "\n", "ce-x\r\nX-Evil", "a\nb")
	f.Add("a ", "\t", "\x00", "ce-a b", " a")
	f.Add("é", "\x7f", "\xff", "Content-Length", "5")
	c, err := NewClient(endpointAt("http://127.0.0.1"), "1")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, id, parent, state, name, value string) {
		r := &Request{ID: id, Traceparent: parent, Tracestate: state, Body: mapping.Body{
			Bytes: []byte("{}"), ContentType: "application/json", Headers: [][2]string{{"ce-" + name, value}},
		}}
		if r.problem() != "" {
			return
		}
		now := time.Unix(1700000000, 0)
		want := map[string]string{
			"Webhook-Id": id, "Content-Type": "application/json", "User-Agent": "relay/1", "Content-Length": "2",
			"Webhook-Timestamp": "1700000000", http.CanonicalHeaderKey("ce-" + name): value,
		}
		if validHeaderValue(parent) && parent != "" {
			want["Traceparent"] = parent
			if validHeaderValue(state) && state != "" {
				want["Tracestate"] = state
			}
		}
		head := c.head.append(nil, c, r, now, "")
		requireOneRequest(t, bytes.NewReader(append(head, "{}"...)), want)

		var wire bytes.Buffer
		require.NoError(t, newNetHTTP(c, endpointAt("http://127.0.0.1")).request(t.Context(), r, "").Write(&wire))
		delete(want, "Webhook-Timestamp") // of now
		requireOneRequest(t, &wire, want)
	})
}

// requireOneRequest reads a request as a server does, and wants nothing behind it.
func requireOneRequest(t *testing.T, wire io.Reader, want map[string]string) {
	t.Helper()
	got := bufio.NewReader(wire)
	req, err := http.ReadRequest(got)
	require.NoError(t, err)
	body, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	require.Equal(t, "{}", string(body))
	_, err = got.ReadByte()
	require.ErrorIs(t, err, io.EOF, "nothing behind the request")
	if want["Webhook-Timestamp"] == "" {
		req.Header.Del("Webhook-Timestamp")
	}
	require.Equal(t, "127.0.0.1", req.Host)
	require.Len(t, req.Header, len(want), "%v", req.Header)
	for header, value := range want {
		require.Equal(t, []string{value}, req.Header[header], header)
		require.False(t, strings.ContainsAny(value, "\r\n"))
	}
}
