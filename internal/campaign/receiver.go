package campaign

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Mood is how an endpoint treats requests.
type Mood int32

// The moods of an endpoint.
const (
	Healthy   Mood = iota // 200
	Failing               // 500
	Rejecting             // 400
	Hanging               // takes the request and says nothing
	Refusing              // does not listen
	Late                  // 200 long after the relay gave up
	Cutting               // closes the connection instead of answering
	Garbage               // answers what is not HTTP
	Endless               // 200 and a body without end
	Gone                  // 410
)

// lateBy is longer than the time a relay of a campaign gives an attempt, by more than a busy machine may be late itself.
const lateBy = 5 * time.Second

// clock numbers receipts and answers of all endpoints in the order in which they happened.
var clock atomic.Int64

// Receipt is one request.
type Receipt struct {
	ID       ID
	Arrived  int64     // by clock
	Answered int64     // by clock, just before a 2xx in good time was sent; 0: none was
	At       time.Time // of arrival
	Relay    string    // header X-Relay, by which a test tells two relays apart
	Batch    int64     // the request, if it held several events; 0: it held one
}

// Endpoint is a receiver over raw TCP, so that receiving costs a fraction of sending. It records every request.
type Endpoint struct {
	Name  string
	Delay time.Duration // of every good answer

	// Slow gives single events a delay of their own; nil: none has.
	Slow func(ID) time.Duration

	// Poison lists the events that are answered 400 whatever the mood: they become dead letters.
	Poison func(ID) bool

	address string
	latency *latency

	mu       sync.Mutex // of what follows
	listener net.Listener
	conns    map[net.Conn]struct{}
	mood     Mood
	changed  chan struct{} // closed when mood changes
	receipts []Receipt
	strange  error // a request that is none of ours

	accepted atomic.Int64 // connections
	good     atomic.Int64 // answered 2xx
	written  atomic.Int64 // bytes of endless bodies
}

// NewEndpoint starts a healthy endpoint on a port of its own, which it keeps when it refuses for a while.
func NewEndpoint(name string) (*Endpoint, error) {
	e := &Endpoint{Name: name, conns: make(map[net.Conn]struct{}), changed: make(chan struct{})}
	for range 100 {
		// Below the range from which systems take the ports of outgoing connections.
		e.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(5000)))
		if e.listen() == nil {
			return e, nil
		}
	}
	return nil, errors.New("find a free port for an endpoint")
}

// URL returns where to send to.
func (e *Endpoint) URL() string { return "http://" + e.address + "/" + e.Name }

// Set changes the mood. Requests that hang end without an answer.
func (e *Endpoint) Set(m Mood) error {
	e.mu.Lock()
	was := e.mood
	e.mood = m
	close(e.changed)
	e.changed = make(chan struct{})
	if m == Refusing {
		_ = e.listener.Close() // nobody waits for it
		for conn := range e.conns {
			_ = conn.Close()
		}
	}
	e.mu.Unlock()
	if was == Refusing && m != Refusing {
		return e.listen()
	}
	return nil
}

// Close ends the endpoint.
func (e *Endpoint) Close() { _ = e.Set(Refusing) }

// Good returns how many requests were answered 2xx.
func (e *Endpoint) Good() int64 { return e.good.Load() }

// Receipts returns a copy of what was received so far.
func (e *Endpoint) Receipts() ([]Receipt, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Receipt(nil), e.receipts...), e.strange
}

func (e *Endpoint) listen() error {
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		return fmt.Errorf("listen as endpoint %s: %w", e.Name, err)
	}
	e.mu.Lock()
	e.listener = l
	e.mu.Unlock()
	go e.accept(l)
	return nil
}

func (e *Endpoint) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		refused := e.mood == Refusing
		if !refused {
			e.conns[conn] = struct{}{}
		}
		e.mu.Unlock()
		if refused {
			_ = conn.Close()
			continue
		}
		e.accepted.Add(1)
		go e.serve(conn)
	}
}

func (e *Endpoint) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		e.mu.Lock()
		delete(e.conns, conn)
		e.mu.Unlock()
	}()
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		r, err := readRequest(in)
		if err != nil {
			if errors.Is(err, errStrange) {
				e.mu.Lock()
				e.strange = err
				e.mu.Unlock()
			}
			return
		}
		if !e.answer(conn, r) {
			return
		}
	}
}

var answers = map[int][]byte{
	200: []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	400: []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nnope"),
	410: []byte("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"),
	500: []byte("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nouch!"),
}

// answer treats a request as the mood is, and reports whether the connection goes on.
func (e *Endpoint) answer(conn net.Conn, r *request) bool {
	mood, changed, n := e.arrived(r)
	if e.Poison != nil && mood == Healthy && slices.ContainsFunc(r.ids, e.Poison) {
		mood = Rejecting
	}
	status := 0
	switch mood {
	case Healthy:
		if e.Delay > 0 {
			time.Sleep(e.Delay) // it plays an endpoint that takes its time
		}
		if e.Slow != nil {
			time.Sleep(e.Slow(r.ids[0])) // as above
		}
		if e.latency != nil {
			e.latency.note(r.ids[0])
		}
		e.taken(n, len(r.ids))
		status = 200
	case Failing:
		status = 500
	case Rejecting:
		status = 400
	case Gone:
		status = 410
	case Hanging:
		<-changed
		return false
	case Late:
		time.Sleep(lateBy) // it plays an endpoint that answers when nobody listens any more
		status = 200
	case Garbage:
		_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n\x00\x01\x02 not what you expected\r\n\r\n"))
		return false
	case Endless:
		e.taken(n, len(r.ids)) // what follows the status is of no consequence
		e.endless(conn)
		return false
	default:
		return false
	}
	_, err := conn.Write(answers[status])
	return err == nil
}

// arrived takes a request down, an entry for each event from the n-th on, and returns how it is to be treated.
func (e *Endpoint) arrived(r *request) (mood Mood, changed <-chan struct{}, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n = len(e.receipts)
	receipt := Receipt{At: time.Now(), Relay: r.relay}
	if r.batch {
		receipt.Batch = clock.Add(1)
	}
	for _, id := range r.ids {
		receipt.ID, receipt.Arrived = id, clock.Add(1)
		e.receipts = append(e.receipts, receipt)
	}
	return e.mood, e.changed, n
}

// taken notes that the events from the n-th on are answered 2xx.
func (e *Endpoint) taken(n, events int) {
	e.good.Add(int64(events))
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range events {
		e.receipts[n+i].Answered = clock.Add(1)
	}
}

// endless claims 10 GB and sends until the other side has had enough.
func (e *Endpoint) endless(conn net.Conn) {
	if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")); err != nil {
		return
	}
	chunk := make([]byte, 64<<10)
	for {
		n, err := conn.Write(chunk)
		e.written.Add(int64(n))
		if err != nil {
			return
		}
	}
}
