package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// demoReceiver is one of the demo's endpoints, on a port of its own. It knows nothing of relay but what a receiver
// does: a URL and a secret.
type demoReceiver struct {
	name   string
	types  []string // subscribed to; none: all
	secret string
	url    string
	server *http.Server
	verify *verifier

	mu      sync.Mutex
	failing bool
	first   []string // ids in the order of their first receipt
	seen    map[string]bool
	twice   int
	refused int // answered 503
	forged  int // with a wrong signature
	late    []lateness
}

// lateness is how long after its transaction an event came.
type lateness struct {
	at, by time.Time
}

// demoSeen is a moment of a receiver.
type demoSeen struct {
	Failing                          bool
	Received, Twice, Refused, Forged int
	Delay                            time.Duration // typical one of the last second; 0: nothing came
}

func newDemoReceiver(name string, types ...string) (*demoReceiver, error) {
	key := make([]byte, 32)
	rand.Read(key) //nolint:errcheck // never fails
	r := &demoReceiver{
		name: name, types: types, seen: map[string]bool{},
		secret: "whsec_" + base64.StdEncoding.EncodeToString(key),
	}
	v, err := newVerifier(r.secret)
	if err != nil {
		return nil, err
	}
	r.verify = v
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the demo's endpoint %s: %w", name, err)
	}
	r.url = "http://" + l.Addr().String() + "/webhooks"
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := r.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // our own listener on loopback
		}
	}()
	return r, nil
}

func (r *demoReceiver) close() { _ = r.server.Close() }

// wants reports whether the receiver is subscribed to the type; written apart from relay's own matching, to check it.
func (r *demoReceiver) wants(typ string) bool {
	return len(r.types) == 0 || slices.Contains(r.types, typ)
}

func (r *demoReceiver) subscription() string {
	if len(r.types) == 0 {
		return "everything"
	}
	return strings.Join(r.types, ", ")
}

// fail makes the receiver answer 503 to everything, or no longer.
func (r *demoReceiver) fail(failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = failing
}

// ServeHTTP takes one event.
func (r *demoReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // cut off: no receipt, and no one to answer
	}
	w.WriteHeader(r.take(req.Header, body, time.Now()))
}

func (r *demoReceiver) take(h http.Header, body []byte, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing {
		r.refused++
		return http.StatusServiceUnavailable
	}
	if r.verify.Verify(h, body, now) != nil {
		r.forged++
		return http.StatusUnauthorized
	}
	id := h.Get("Webhook-Id")
	if r.seen[id] {
		r.twice++
		return http.StatusOK
	}
	r.seen[id] = true
	r.first = append(r.first, id)
	var event struct {
		Timestamp time.Time `json:"timestamp"`
	}
	if json.Unmarshal(body, &event) == nil {
		r.late = append(r.late, lateness{now, event.Timestamp})
	}
	return http.StatusOK
}

// Seen returns what arrived so far.
func (r *demoReceiver) Seen(now time.Time) demoSeen {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = slices.DeleteFunc(r.late, func(l lateness) bool { return now.Sub(l.at) > time.Second })
	s := demoSeen{
		Failing: r.failing, Received: len(r.first), Twice: r.twice, Refused: r.refused, Forged: r.forged,
	}
	if len(r.late) > 0 {
		delays := make([]time.Duration, len(r.late))
		for i, l := range r.late {
			delays[i] = l.at.Sub(l.by)
		}
		slices.Sort(delays)
		s.Delay = max(delays[len(delays)/2], time.Microsecond)
	}
	return s
}

// Receipts returns the ids in the order of their first receipt.
func (r *demoReceiver) Receipts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.first)
}
