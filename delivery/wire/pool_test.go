package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// hello is the request of the tests.
var hello = Request{Head: []byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")}

// readAll reads an answer's body.
func readAll(resp *http.Response) (bool, error) {
	_, err := io.Copy(io.Discard, resp.Body)
	return err == nil, err
}

func send(t testing.TB, p *Pool) (Trail, error) {
	t.Helper()
	return p.Send(t.Context(), time.Now().Add(10*time.Second), hello, readAll)
}

// server is the other end of the connections of a pool. Each connection is served by serve.
type server struct {
	dialled atomic.Int32

	mu    sync.Mutex
	conns []net.Conn // its ends
}

// piped returns a pool whose connections have no network under them.
func piped(t testing.TB, serve func(net.Conn)) (*Pool, *server) {
	t.Helper()
	s := &server{}
	p := NewPool(Config{Conns: 4, Idle: time.Minute, Header: 64 << 10, DialFunc: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		s.add(theirs)
		go func() {
			defer theirs.Close() //nolint:errcheck // it is the test's end
			serve(theirs)
		}()
		return ours, nil
	}})
	t.Cleanup(p.Close)
	return p, s
}

// dialled returns a pool with a server on the loopback interface, with TLS if there is a configuration.
func dialled(t testing.TB, config *tls.Config, serve func(net.Conn)) (*Pool, *server) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{}
	cfg := Config{Conns: 4, Idle: time.Minute, Header: 64 << 10, DialFunc: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}}
	if config != nil {
		l = tls.NewListener(l, config)
		cfg.TLS = &tls.Config{ServerName: "example.com", InsecureSkipVerify: true}
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.add(conn)
			serving.Go(func() { serve(conn) })
		}
	})
	p := NewPool(cfg)
	t.Cleanup(func() {
		p.Close()
		_ = l.Close()
		s.closeAll()
		serving.Wait()
	})
	return p, s
}

func (s *server) add(conn net.Conn) {
	s.dialled.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
}

func (s *server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}

// answering answers each request with the text.
func answering(text string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err = io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err = io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

func certificate(t testing.TB) *tls.Config {
	t.Helper()
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	defer lender.Close()
	return &tls.Config{Certificates: lender.TLS.Certificates}
}

func idle(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

func TestPool_ClosesConnectionsThatAreIdleForTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, s := piped(t, func(conn net.Conn) {
			time.Sleep(time.Second) // so that all four are under way
			answering(answer)(conn)
		})
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() { _, _ = send(t, p) })
		}
		senders.Wait()
		require.Equal(t, 4, idle(p))
		for range 4 { // one of them stays in use: the one used last is taken first
			time.Sleep(25 * time.Second)
			_, err := send(t, p)
			require.NoError(t, err)
		}
		require.Equal(t, 1, idle(p))
		require.EqualValues(t, 4, s.dialled.Load())
		time.Sleep(time.Minute + time.Minute/sweeps)
		require.Zero(t, idle(p))
		p.mu.Lock()
		armed := p.armed
		p.mu.Unlock()
		require.False(t, armed, "nothing is looked for where nothing is idle")

		_, err := send(t, p)
		require.NoError(t, err, "and then all begins anew")
		require.Equal(t, 1, idle(p))
		time.Sleep(2 * time.Minute)
		require.Zero(t, idle(p))
	})
}

func TestPool_FindsConnectionsThatTheServerHasClosed(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": certificate(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s := dialled(t, config, answering(answer))
			_, err := send(t, p)
			require.NoError(t, err)
			p.sweep()
			require.Equal(t, 1, idle(p), "it is well")
			s.closeAll()
			require.Eventually(t, func() bool { p.sweep(); return idle(p) == 0 }, 5*time.Second, time.Millisecond)
			trail, err := send(t, p)
			require.NoError(t, err)
			require.False(t, trail.Reused)
		})
	}
}

func TestPool_NeverTakesWhatNobodyAskedForAsAnAnswer(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": certificate(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s := dialled(t, config, answering(answer))
			for n := range 5 {
				_, err := send(t, p)
				require.NoError(t, err)
				s.mu.Lock()
				_, err = io.WriteString(s.conns[n], "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
				s.mu.Unlock()
				require.NoError(t, err)
				require.Eventually(t, func() bool { p.sweep(); return idle(p) == 0 }, 5*time.Second, time.Millisecond)
			}
			require.EqualValues(t, 5, s.dialled.Load())
		})
	}
}

// TestPool_TakesATicketOfTLSForNoAnswer looks at a connection on which nothing came but what TLS 1.3 sends after its
// handshake.
func TestPool_TakesATicketOfTLSForNoAnswer(t *testing.T) {
	t.Parallel()
	p, _ := dialled(t, certificate(t), answering(answer))
	c, err := p.connect(t.Context(), time.Now().Add(10*time.Second))
	require.NoError(t, err)
	require.Equal(t, uint16(tls.VersionTLS13), c.Conn.(*tls.Conn).ConnectionState().Version)
	_, err = c.Write(hello.Head)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // ticket and answer have come
		return errors.Is(c.prepare(time.Now().Add(10*time.Second)), errUnsolicited)
	}, 5*time.Second, time.Millisecond)
	c.drop()

	c, err = p.connect(t.Context(), time.Now().Add(10*time.Second))
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, c.prepare(time.Now().Add(10*time.Second)))
		time.Sleep(time.Millisecond) // for the ticket to come
	}
	p.put(c)
	_, err = send(t, p)
	require.NoError(t, err, "it is as good as before")
}

func TestPool_SendsAgainOnlyWhatNeverLeft(t *testing.T) {
	t.Parallel()
	first := true
	p := NewPool(Config{Conns: 1, Idle: time.Minute, Header: 64 << 10, DialFunc: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answering(answer)(theirs)
		if first { // its second write fails
			first = false
			return &failing{Conn: ours, writes: 1}, nil
		}
		return ours, nil
	}})
	trail, err := send(t, p)
	require.NoError(t, err)
	require.False(t, trail.Reused)
	trail, err = send(t, p)
	require.NoError(t, err, "not a byte of it had left")
	require.False(t, trail.Reused)

	part := NewPool(Config{Conns: 1, Idle: time.Minute, Header: 64 << 10, DialFunc: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answering(answer)(theirs)
		return &failing{Conn: ours, writes: 1, part: 7}, nil
	}})
	_, err = send(t, part)
	require.NoError(t, err)
	trail, err = send(t, part)
	require.ErrorIs(t, err, io.ErrClosedPipe, "some of it had")
	require.True(t, trail.Reused)
}

// failing fails after some writes, of which the last is done in part.
type failing struct {
	net.Conn
	writes, part int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.writes == 0 {
		_ = f.Close()
		return f.part, io.ErrClosedPipe
	}
	f.writes--
	return f.Conn.Write(p)
}

func TestPool_TakesTheAnswerOfAServerThatReadsNoFurther(t *testing.T) {
	t.Parallel()
	p, _ := dialled(t, nil, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 10))
		_, _ = io.WriteString(conn, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
		<-t.Context().Done()
	})
	long := Request{Head: []byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 33554432\r\n\r\n"), Body: make([]byte, 32<<20)}
	status := 0
	start := time.Now()
	_, err := p.Send(t.Context(), start.Add(10*time.Second), long, func(resp *http.Response) (bool, error) {
		status = resp.StatusCode
		return true, nil
	})
	require.NoError(t, err)
	require.Equal(t, 413, status)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Zero(t, idle(p), "the rest of the request is still owed")
}

func TestPool_TellsWhoDialsThatTheServerSpeaksAnotherProtocol(t *testing.T) {
	t.Parallel()
	config := certificate(t)
	config.NextProtos = []string{"h2"}
	p, _ := dialled(t, config, answering(answer))
	p.cfg.TLS.NextProtos = []string{"h2", http1}
	_, err := send(t, p)
	other, ok := errors.AsType[*OtherProtocol](err)
	require.True(t, ok, err)
	require.Equal(t, "h2", other.Name)
	require.ErrorContains(t, err, "h2")
	_, err = io.WriteString(other.Conn, "it is open")
	require.NoError(t, err)
	require.NoError(t, other.Conn.Close())
}

func TestPool_EndsWhenItsContextDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := piped(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := p.Send(ctx, time.Now().Add(time.Hour), hello, readAll)
			ended <- err
		}()
		synctest.Wait()
		cancel()
		require.Error(t, <-ended)
		synctest.Wait()
		require.Zero(t, idle(p))

		_, err := p.Send(t.Context(), time.Now().Add(time.Second), hello, readAll)
		timeout, ok := errors.AsType[net.Error](err)
		require.True(t, ok && timeout.Timeout(), err)
	})
}

func TestPool_HasOneConnectionForEachSenderAndNoMore(t *testing.T) {
	t.Parallel()
	p, s := piped(t, answering(answer))
	var senders sync.WaitGroup
	for range 32 {
		senders.Go(func() {
			for range 20 {
				if _, err := send(t, p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	require.LessOrEqual(t, s.dialled.Load(), int32(4))
	require.LessOrEqual(t, idle(p), 4)
}

// FuzzPool_Send has a server answer anything at all: the attempt ends in time, memory stays bounded, and a connection is
// used again only if not a byte is left of the answer.
func FuzzPool_Send(f *testing.F) {
	for _, seed := range []string{
		answer, answer + answer, "", "\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\nx", "HTTP/1.1 100 \r\n\r\n" + answer,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		"HTTP/1.1 101 X\r\n\r\n", strings.Repeat("HTTP/1.1 103 E\r\n\r\n", 100), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, bytes []byte, piece uint8) {
		p, s := piped(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReaderSize(conn, 16)); err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for rest := bytes; len(rest) > 0; {
				n := min(len(rest), int(piece)+1)
				if _, err := conn.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		})
		read, answered := int64(0), false
		trail, err := p.Send(t.Context(), time.Now().Add(10*time.Second), hello, func(resp *http.Response) (bool, error) {
			answered = true
			n, err := io.CopyN(io.Discard, resp.Body, 1<<20)
			read = n
			return errors.Is(err, io.EOF), nil
		})
		require.True(t, trail.Connected)
		require.LessOrEqual(t, read, int64(len(bytes)))
		if timeout, ok := errors.AsType[net.Error](err); ok {
			require.False(t, timeout.Timeout(), "it hangs: %v", err)
		}
		if err == nil {
			require.True(t, answered)
			require.True(t, trail.Answering)
		}
		require.EqualValues(t, 1, s.dialled.Load(), "sent once")
	})
}
