package delivery

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

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
		var wire bytes.Buffer
		require.NoError(t, (&attempt{client: c, parent: t.Context()}).request(t.Context(), r, nil).Write(&wire))
		got := bufio.NewReader(&wire)
		req, err := http.ReadRequest(got)
		require.NoError(t, err)
		body, err := io.ReadAll(req.Body)
		require.NoError(t, err)
		require.Equal(t, "{}", string(body))
		_, err = got.ReadByte()
		require.ErrorIs(t, err, io.EOF, "nothing behind the request")
		want := map[string]string{
			"Webhook-Id": id, "Content-Type": "application/json", "User-Agent": "relay/1", "Content-Length": "2",
			http.CanonicalHeaderKey("ce-" + name): value,
		}
		if parent != "" && req.Header.Get("Traceparent") != "" {
			want["Traceparent"] = parent
			if state != "" && req.Header.Get("Tracestate") != "" {
				want["Tracestate"] = state
			}
		}
		want["Webhook-Timestamp"] = req.Header.Get("Webhook-Timestamp")
		require.Len(t, req.Header, len(want), "%v", req.Header)
		for header, value := range want {
			require.Equal(t, []string{value}, req.Header[header], header)
			require.False(t, strings.ContainsAny(value, "\r\n"))
		}
	})
}
