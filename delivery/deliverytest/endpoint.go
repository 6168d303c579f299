package deliverytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// waitLimit is how long Wait waits before it fails the test.
const waitLimit = time.Minute

// Receipt is one request as the endpoint got it.
type Receipt struct {
	N      int // from 0, in the order in which they were read
	Time   time.Time
	Method string
	Path   string // with the query
	Host   string
	Proto  string
	Remote string // address of the other end: tells connections apart
	Header http.Header
	Body   []byte
}

// ID returns the webhook-id.
func (r Receipt) ID() string { return r.Header.Get("Webhook-Id") }

// Endpoint is a scripted HTTP server. It is safe for concurrent use.
type Endpoint struct {
	URL string

	server *httptest.Server
	gone   chan struct{} // closed by Close: those who hang go home
	close  func()

	mu       sync.Mutex
	arrived  *sync.Cond // of mu: receipts or under changed
	script   Script
	receipts []Receipt
	conns    int
	under    int // requests under way
	most     int // of them at once
}

// New starts an endpoint on the loopback interface; nil answers everything with 200. It ends with the test.
func New(t testing.TB, script Script) *Endpoint {
	t.Helper()
	e := prepare(script)
	e.server.Start()
	return e.started(t)
}

// NewTLS is New with TLS and HTTP/2. Clients trust it with Roots.
func NewTLS(t testing.TB, script Script) *Endpoint {
	t.Helper()
	e := prepare(script)
	e.server.EnableHTTP2 = true
	e.server.StartTLS()
	return e.started(t)
}

// NewTLSHTTP1 is NewTLS without HTTP/2.
func NewTLSHTTP1(t testing.TB, script Script) *Endpoint {
	t.Helper()
	e := prepare(script)
	e.server.StartTLS()
	return e.started(t)
}

func prepare(script Script) *Endpoint {
	if script == nil {
		script = Always(http.StatusOK)
	}
	e := &Endpoint{script: script, gone: make(chan struct{})}
	e.arrived = sync.NewCond(&e.mu)
	e.server = httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	e.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	e.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			e.mu.Lock()
			e.conns++
			e.mu.Unlock()
		}
	}
	return e
}

func (e *Endpoint) started(t testing.TB) *Endpoint {
	e.URL = e.server.URL
	e.close = sync.OnceFunc(func() {
		close(e.gone)
		e.server.CloseClientConnections()
		e.server.Close()
	})
	t.Cleanup(e.close)
	return e
}

// Close stops the endpoint: from then on connections to it are refused. It may be called more than once.
func (e *Endpoint) Close() { e.close() }

// DropConnections closes every connection, those in use included.
func (e *Endpoint) DropConnections() { e.server.CloseClientConnections() }

// Certificate returns what an endpoint with TLS shows, and its key.
func (e *Endpoint) Certificate() tls.Certificate { return e.server.TLS.Certificates[0] }

// Roots returns the certificates to trust, for an endpoint with TLS. Its certificate is for example.com and loopback.
func (e *Endpoint) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(e.server.Certificate())
	return pool
}

// Answer changes the script, from the next request on.
func (e *Endpoint) Answer(script Script) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.script = script
}

// Receipts returns the requests so far.
func (e *Endpoint) Receipts() []Receipt {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.receipts)
}

// IDs returns the webhook-id of each request so far.
func (e *Endpoint) IDs() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make([]string, len(e.receipts))
	for i, r := range e.receipts {
		ids[i] = r.ID()
	}
	return ids
}

// Connections returns how many connections were accepted so far.
func (e *Endpoint) Connections() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conns
}

// Most returns how many requests were under way at once, at most.
func (e *Endpoint) Most() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}

// Wait returns the requests so far when there are at least n, and fails the test if they do not come.
func (e *Endpoint) Wait(t testing.TB, n int) []Receipt {
	t.Helper()
	e.until(t, func() bool { return len(e.receipts) >= n })
	receipts := e.Receipts()
	if len(receipts) < n {
		t.Fatalf("endpoint got %d requests in %s, want %d", len(receipts), waitLimit, n)
	}
	return receipts
}

// WaitIdle returns when no request is under way, and fails the test if one never ends.
func (e *Endpoint) WaitIdle(t testing.TB) {
	t.Helper()
	if !e.until(t, func() bool { return e.under == 0 }) {
		t.Fatalf("a request is still under way after %s", waitLimit)
	}
}

// until waits for cond, which is called with mu held, and returns whether it came true in time.
func (e *Endpoint) until(t testing.TB, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.arrived.Broadcast()
	})
	defer stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for !cond() {
		if ctx.Err() != nil {
			return false
		}
		e.arrived.Wait()
	}
	return true
}

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	receipt, script := e.record(r, body)
	defer e.leave()
	script(receipt).write(w, r, e.gone)
}

func (e *Endpoint) record(r *http.Request, body []byte) (Receipt, Script) {
	e.mu.Lock()
	defer e.mu.Unlock()
	receipt := Receipt{
		N: len(e.receipts), Time: time.Now(), Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Proto: r.Proto,
		Remote: r.RemoteAddr, Header: r.Header.Clone(), Body: body,
	}
	e.receipts = append(e.receipts, receipt)
	e.under++
	e.most = max(e.most, e.under)
	e.arrived.Broadcast()
	return receipt, e.script
}

func (e *Endpoint) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.under--
	e.arrived.Broadcast()
}
