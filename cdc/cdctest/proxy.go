// Package cdctest disturbs the connection between a stream and its server, in the manner of net/http/httptest.
package cdctest

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy is a wire between clients and a Postgres server that a test can cut and stall. It forwards bytes and knows
// nothing of the protocol.
type Proxy struct {
	URL string // of the database, through the proxy

	network, target string
	listener        net.Listener

	mu      sync.Mutex
	changed *sync.Cond // of stalled and down
	stalled bool
	down    bool
	drip    int           // not 0: so many bytes at a time
	pause   time.Duration // after each of them
	conns   map[net.Conn]struct{}
	total   int
}

// NewProxy starts a proxy to the server of a postgres:// URL, and closes it after the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, conns: make(map[net.Conn]struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.network, p.target = address(u)
	u.Host = listener.Addr().String()
	query := u.Query()
	query.Del("host")
	query.Del("port")
	u.RawQuery = query.Encode()
	p.URL = u.String()
	go p.accept()
	t.Cleanup(p.Close)
	return p
}

// address returns where the server of a URL listens: a TCP address, or a socket named by ?host=/directory.
func address(u *url.URL) (network, addr string) {
	host, port := u.Hostname(), u.Port()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if p := u.Query().Get("port"); p != "" {
		port = p
	}
	if port == "" {
		port = "5432"
	}
	if strings.HasPrefix(host, "/") {
		return "unix", host + "/.s.PGSQL." + port
	}
	return "tcp", net.JoinHostPort(host, port)
}

// Cut ends every connection at once, without a goodbye. New ones may follow.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as from a router that forgot us
		}
		_ = conn.Close()
	}
}

// Stall holds every byte back, in both directions, until Resume.
func (p *Proxy) Stall() { p.set(func() { p.stalled = true }) }

// Resume lets bytes pass again.
func (p *Proxy) Resume() { p.set(func() { p.stalled = false }) }

// Drip slows the wire down to n bytes each pause, in both directions.
func (p *Proxy) Drip(n int, pause time.Duration) { p.set(func() { p.drip, p.pause = n, pause }) }

// Connections returns how many connections clients have opened so far.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.set(func() { p.down = true })
	_ = p.listener.Close()
	p.Cut()
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	server, err := (&net.Dialer{}).DialContext(context.Background(), p.network, p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.total++
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pipe(client, server) })
	both.Go(func() { p.pipe(server, client) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

// pipe copies until either end closes, and closes both then.
func (p *Proxy) pipe(from, to net.Conn) {
	defer from.Close() //nolint:errcheck // both are done with
	defer to.Close()   //nolint:errcheck // both are done with
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		p.pass() // nor does an end get through a stalled wire
		for sent := 0; sent < n; {
			most, pause := p.pass()
			part := buf[sent:n]
			if most > 0 && len(part) > most {
				part = part[:most]
			}
			if _, err := to.Write(part); err != nil {
				return
			}
			sent += len(part)
			time.Sleep(pause) // 0 on a wire that is not slow
		}
		if err != nil {
			return // io.EOF among others
		}
	}
}

// pass blocks while the wire is stalled, and returns how many bytes may go on at a time, 0 for all, with what pause after them.
func (p *Proxy) pass() (int, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.down {
		p.changed.Wait()
	}
	return p.drip, p.pause
}
