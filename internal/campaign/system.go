package campaign

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// System is a relay with everything around it.
type System struct {
	URL    string // of the database, for applications and the oracle
	Via    string // of the same, for the relay: perhaps through a proxy
	Slot   string
	Hold   string // source.hold
	More   string // YAML appended to source
	Retry  string // retry and breaker, in defaults
	Extra  string // YAML appended to defaults
	Relay  *Process
	relays []*Process // all there were
	Log    io.Writer  // receives the relays' logs; nil: they are kept for errors
	Limits time.Duration

	t     testing.TB
	dir   string
	admin string

	mu     sync.Mutex // of what follows
	subs   []*subscribed
	broken []Interval
}

// subscribed is a subscription with what the file says of it.
type subscribed struct {
	*Subscription
	yaml    string
	removed bool
}

var slots atomic.Int64

// NewSystem prepares a relay for a database, in which nothing is set up yet.
func NewSystem(t testing.TB, url string) *System {
	t.Helper()
	s := &System{
		URL: url, Via: url, Slot: fmt.Sprintf("campaign_%d_%d", os.Getpid(), slots.Add(1)), Hold: "1s",
		Retry: "  timeout: 3s\n  retry: {delays: [100ms, 200ms, 500ms" + strings.Repeat(", 1s", 600) + "], rejected: 2}\n" +
			"  breaker: {open: 500ms, max_open: 1s}\n",
		Limits: time.Minute, t: t, dir: t.TempDir(), admin: freeAddress(t),
	}
	t.Cleanup(func() {
		if s.Relay != nil {
			s.Relay.Kill()
		}
		for _, sub := range s.subs {
			sub.Close()
		}
	})
	return s
}

func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(5500+rand.IntN(4500)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close() // only to see that it is free
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// Subscribe adds an endpoint to the file. yaml is further keys of it.
func (s *System) Subscribe(name, yaml string, match func(Row) bool) *Subscription {
	s.t.Helper()
	e, err := NewEndpoint(name)
	if err != nil {
		s.t.Fatal(err)
	}
	sub := &Subscription{Endpoint: e, Match: match}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs = append(s.subs, &subscribed{Subscription: sub, yaml: yaml})
	return sub
}

// Remove takes an endpoint out of the file.
func (s *System) Remove(name string) { s.remove(name, true) }

// PutBack puts one in again.
func (s *System) PutBack(name string) { s.remove(name, false) }

func (s *System) remove(name string, removed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if sub.Name == name {
			sub.removed = removed
		}
	}
}

// Config is the path of relay.yaml.
func (s *System) Config() string { return filepath.Join(s.dir, "relay.yaml") }

// Admin is the address of the relay's admin HTTP.
func (s *System) Admin() string { return s.admin }

// YAML returns the file.
func (s *System) YAML() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, `source:
  url: %q
  slot: %s
  hold: %s
%sdefaults:
%s%sadmin: {listen: "%s"}
shutdown_timeout: 15s
endpoints:
`, s.Via, s.Slot, s.Hold, s.More, s.Retry, s.Extra, s.admin)
	for _, sub := range s.subs {
		if sub.removed {
			continue
		}
		fmt.Fprintf(&b, "  %s:\n    url: %s\n", sub.Name, sub.URL())
		for line := range strings.Lines(sub.yaml) {
			fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(line))
		}
	}
	return b.String()
}

// Write writes the file, as an editor does: the new one takes the old one's place.
func (s *System) Write() {
	s.t.Helper()
	s.write(s.YAML())
}

func (s *System) write(text string) {
	s.t.Helper()
	next := s.Config() + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, s.Config()); err != nil {
		s.t.Fatal(err)
	}
}

// Setup writes the file and runs relay setup.
func (s *System) Setup() {
	s.t.Helper()
	s.Write()
	if out, code := s.Command("setup"); code != 0 {
		s.t.Fatalf("relay setup: %s", out)
	}
}

// Command runs a relay command to its end and returns what it said and its exit status.
func (s *System) Command(args ...string) (string, int) {
	s.t.Helper()
	return s.command(nil, args...)
}

func (s *System) command(env []string, args ...string) (string, int) {
	s.t.Helper()
	p, err := start(s.admin, nil, env, append(args, "--config", s.Config())...)
	if err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.Kill()
		s.t.Fatalf("relay %v did not end; it said:\n%s", args, p.Log())
	}
	return p.Log(), p.ExitCode()
}

// Spawn starts relay run without waiting for it; env arms a fail point.
func (s *System) Spawn(env ...string) *Process {
	s.t.Helper()
	p, err := start(s.admin, s.Log, env, "run", "--config", s.Config())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Kill)
	s.relays = append(s.relays, p)
	return p
}

// Start starts the relay and returns when it streams.
func (s *System) Start() {
	s.t.Helper()
	s.Relay = s.Spawn()
	s.Ready(s.Relay)
}

// Ready waits until a relay streams.
func (s *System) Ready(p *Process) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), s.Limits)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// Stop stops the relay softly.
func (s *System) Stop() {
	s.t.Helper()
	if err := s.Relay.Stop(30 * time.Second); err != nil {
		s.t.Fatal(err, s.Relay.Log())
	}
}

// Kill kills the relay.
func (s *System) Kill() {
	from := time.Now()
	s.Relay.Kill()
	s.Broken("kill -9", from, slackBefore, slackAfter)
}

// Broken notes that something was broken from a time until now, and how much before and after may come again for it.
func (s *System) Broken(what string, from time.Time, before, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = append(s.broken, Interval{Start: from, From: from.Add(-before), To: time.Now().Add(after), What: what})
}

// Reload asks for a reload.
func (s *System) Reload() { s.Relay.Signal(syscall.SIGHUP) }

// Connect returns a connection to the database, which is closed after the test.
func (s *System) Connect() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { closeConn(conn) })
	return conn
}

// Bulk commits one transaction of n rows, all at once, of a writer that writes nothing else. Every so many-th is of the key
// "hot", the others are spread over a hundred keys.
func (s *System) Bulk(writer, n, hot int) {
	s.t.Helper()
	conn := s.Connect()
	_, err := conn.Exec(s.t.Context(), `INSERT INTO outbox (id, type, key, payload)
SELECT (lpad(to_hex($1::int), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'order.created',
  CASE WHEN $3::int > 0 AND n % nullif($3, 0) = 0 THEN 'hot' ELSE 'w' || $1 || '-' || n % 100 END, jsonb_build_object('n', n)
FROM generate_series(1, $2::int) n`, writer, n, hot)
	if err != nil {
		s.t.Fatal(err)
	}
}

// Await waits until a condition holds.
func (s *System) Await(limit time.Duration, what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			log := ""
			if s.Relay != nil {
				log = tail(s.Relay.Log())
			}
			s.t.Fatalf("after %s still not: %s\n%s", limit, what, log)
		}
		time.Sleep(10 * time.Millisecond) // another process: there is nothing to wait on
	}
}

// Verdict judges every endpoint and fails the test if the promise was broken. It returns the summaries by endpoint.
func (s *System) Verdict() map[string]Summary {
	s.t.Helper()
	truth, err := ReadTruth(s.t.Context(), s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := map[string]Summary{}
	for _, sub := range s.subs {
		sum, err := truth.Judge(sub.Subscription, s.broken)
		s.t.Log(sum)
		if err != nil {
			s.t.Error(err)
		}
		sums[sub.Name] = sum
	}
	if s.t.Failed() {
		for _, b := range s.broken {
			s.t.Logf("broken %s to %s: %s", b.From.Format(stamp), b.To.Format(stamp), b.What)
		}
		for _, p := range s.relays {
			s.t.Logf("the end of a relay's log:\n%s", tail(p.Log()))
		}
	}
	return sums
}

// tail returns the end of a log.
func tail(log string) string {
	const most = 6000
	return log[max(0, len(log)-most):]
}
