package delivery

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/wire"
)

// FuzzTransport_Answer has an endpoint answer anything at all, once over our own connections and once over net/http: both
// say the same of it, in time.
func FuzzTransport_Answer(f *testing.F) {
	for name, is := range conversations {
		if !is.late && is.body == 0 && name != "" {
			f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + name))
		}
	}
	for _, seed := range []string{
		okAnswer, okAnswer + okAnswer, "", "\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\nx",
		"HTTP/1.1 100 Continue\r\n\r\n" + okAnswer, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nx", "HTTP/1.1 410 Gone\r\nContent-Length: 99999999999\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
		"HTTP/1.1 099 X\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 503 Later\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		dial := func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go say(theirs, bytes)
			return ours, nil
		}
		own := newClient(t, endpointAt("http://127.0.0.1"))
		own.transport = &ownHTTP{client: own, pool: wire.NewPool(wire.Config{
			DialFunc: dial, Conns: 1, Idle: time.Minute, Header: headerLimit,
		})}
		other := newClient(t, endpointAt("http://127.0.0.1"))
		n := newNetHTTP(other, endpointAt("http://127.0.0.1"))
		n.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
		other.transport = n

		a, b := own.Send(t.Context(), request("msg_1")), other.Send(t.Context(), request("msg_1"))
		require.Equal(t, labelOf(b), labelOf(a), "net/http: %s\nour own: %s", b.Err, a.Err)
		require.Equal(t, b.RetryAfter, a.RetryAfter)
		require.NotEqual(t, ReasonTimeout, a.Reason)
	})
}

// say reads a request, answers with the bytes and closes the connection.
func say(conn net.Conn, bytes []byte) {
	defer conn.Close() //nolint:errcheck // it is the test's end
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if _, err = io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	_, _ = conn.Write(bytes)
}
