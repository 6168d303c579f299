package deliverytest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Raw is an endpoint that speaks bytes: for each connection the test says what is read and what is written, be it HTTP or
// not. It is safe for concurrent use.
type Raw struct {
	URL string

	listener net.Listener
	roots    *x509.CertPool
	gone     chan struct{}
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// Caller is one connection to a Raw. It is closed when the function that serves it returns.
type Caller struct {
	net.Conn
	N    int             // of the connection, from 0
	Gone <-chan struct{} // closed when the endpoint ends

	reader *bufio.Reader
	pause  time.Duration
}

// NewRaw starts an endpoint on the loopback interface that has serve serve each connection, on a goroutine of its own. It
// ends with the test.
func NewRaw(t testing.TB, serve func(*Caller)) *Raw { return newRaw(t, nil, serve) }

// NewRawTLS is NewRaw with TLS, and without HTTP/2. Clients trust it with Roots.
func NewRawTLS(t testing.TB, serve func(*Caller)) *Raw {
	t.Helper()
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	defer lender.Close()
	r := newRaw(t, &tls.Config{
		Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12,
		DynamicRecordSizingDisabled: true, // what is said at once comes in one record
	}, serve)
	r.roots = x509.NewCertPool()
	r.roots.AddCert(lender.Certificate())
	return r
}

func newRaw(t testing.TB, config *tls.Config, serve func(*Caller)) *Raw {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Raw{URL: "http://" + l.Addr().String(), listener: l, gone: make(chan struct{})}
	if config != nil {
		r.URL = "https://" + l.Addr().String()
		r.listener = tls.NewListener(l, config)
	}
	r.serving.Go(func() { r.accept(serve) })
	t.Cleanup(r.close)
	return r
}

func (r *Raw) accept(serve func(*Caller)) {
	for n := 0; ; n++ {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns = append(r.conns, conn)
		r.mu.Unlock()
		r.serving.Go(func() {
			defer closeConn(conn)
			c := &Caller{Conn: conn, N: n, Gone: r.gone}
			c.reader = bufio.NewReader(c)
			serve(c)
		})
	}
}

func (r *Raw) close() {
	close(r.gone)
	_ = r.listener.Close()
	r.mu.Lock()
	for _, conn := range r.conns {
		closeConn(conn)
	}
	r.mu.Unlock()
	r.serving.Wait()
}

// Roots returns the certificates to trust, for an endpoint with TLS. Its certificate is for example.com and loopback.
func (r *Raw) Roots() *x509.CertPool { return r.roots }

// Connections returns how many connections were accepted so far.
func (r *Raw) Connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// Slow has it read a little at a time from now on, with a pause before each.
func (c *Caller) Slow(pause time.Duration) { c.pause = pause }

// Read reads from the connection.
func (c *Caller) Read(p []byte) (int, error) {
	const little = 32 << 10
	if c.pause > 0 {
		time.Sleep(c.pause) // as asked
		p = p[:min(len(p), little)]
	}
	return c.Conn.Read(p)
}

// Request reads a request with its body, and returns it and whether one came.
func (c *Caller) Request() (*http.Request, bool) {
	req, err := http.ReadRequest(c.reader)
	if err != nil {
		return nil, false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return req, err == nil
}

// Head reads a request without its body, and reports whether one came.
func (c *Caller) Head() bool {
	_, err := http.ReadRequest(c.reader)
	return err == nil
}

// Say writes the text, and reports whether it could.
func (c *Caller) Say(text string) bool {
	_, err := io.WriteString(c.Conn, text)
	return err == nil
}

// Answer answers each request with the same text, until there are no more.
func (c *Caller) Answer(text string) {
	for {
		if _, ok := c.Request(); !ok || !c.Say(text) {
			return
		}
	}
}

// Hang waits until the endpoint ends.
func (c *Caller) Hang() { <-c.Gone }

// Reset closes the connection in a way that the other end finds no end but an error.
func (c *Caller) Reset() {
	conn := c.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
