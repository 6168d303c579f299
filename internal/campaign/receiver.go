package campaign

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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

// lateBy is longer than the time a relay of a campaign gives an attempt.
const lateBy = 3 * time.Second

// clock numbers receipts and answers of all endpoints in the order in which they happened.
var clock atomic.Int64

// Receipt is one request.
type Receipt struct {
	ID       ID
	Arrived  int64     // by clock
	Answered int64     // by clock, just before a 2xx in good time was sent; 0: none was
	At       time.Time // of arrival
	Relay    string    // header X-Relay, by which a test tells two relays apart
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
		id, relay, err := readRequest(in)
		if err != nil {
			if id != 0 {
				e.mu.Lock()
				e.strange = err
				e.mu.Unlock()
			}
			return
		}
		if !e.answer(conn, id, relay) {
			return
		}
	}
}

var (
	answers = map[int][]byte{
		200: []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
		400: []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nnope"),
		410: []byte("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"),
		500: []byte("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nouch!"),
	}
	contentLength = []byte("content-length:")
	webhookID     = []byte("webhook-id:")
	relayName     = []byte("x-relay:")
)

// answer treats a request as the mood is, and reports whether the connection goes on.
func (e *Endpoint) answer(conn net.Conn, id ID, relay string) bool {
	e.mu.Lock()
	mood, changed := e.mood, e.changed
	n := len(e.receipts)
	e.receipts = append(e.receipts, Receipt{ID: id, Arrived: clock.Add(1), At: time.Now(), Relay: relay})
	e.mu.Unlock()
	if e.Poison != nil && e.Poison(id) && mood == Healthy {
		mood = Rejecting
	}
	status := 0
	switch mood {
	case Healthy:
		if e.Delay > 0 {
			time.Sleep(e.Delay) // it plays an endpoint that takes its time
		}
		if e.Slow != nil {
			time.Sleep(e.Slow(id)) // as above
		}
		if e.latency != nil {
			e.latency.note(id)
		}
		e.taken(n)
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
		e.taken(n) // what follows the status is of no consequence
		e.endless(conn)
		return false
	default:
		return false
	}
	_, err := conn.Write(answers[status])
	return err == nil
}

// taken notes that the n-th request is answered 2xx.
func (e *Endpoint) taken(n int) {
	e.good.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.receipts[n].Answered = clock.Add(1)
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

// readRequest reads one request. An error with an id of other than 0 means a request that is not as it should be.
func readRequest(in *bufio.Reader) (id ID, relay string, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, "", err
	}
	if !bytes.HasPrefix(line, []byte("POST ")) {
		return ^ID(0), "", fmt.Errorf("request line %q", line)
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if value, ok := header(line, contentLength); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return ^ID(0), "", err
			}
		} else if value, ok := header(line, webhookID); ok {
			if id, err = ParseID(string(value)); err != nil {
				return ^ID(0), "", err
			}
		} else if value, ok := header(line, relayName); ok {
			relay = string(value)
		}
	}
	if length < 0 || id == 0 {
		return ^ID(0), "", errors.New("a request without content-length or webhook-id")
	}
	if _, err := in.Discard(length); err != nil {
		return 0, "", io.ErrUnexpectedEOF // cut in the middle: the sender was killed
	}
	return id, relay, nil
}

func header(line, name []byte) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}
