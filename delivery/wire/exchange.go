package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	readBuffer = 4 << 10               // an answer's usual size, and more
	lastWrite  = 50 * time.Millisecond // how long a request may still be under way when its answer is there
)

// Request is one request, ready to be written.
type Request struct {
	Head []byte // the request line, the headers and the empty line; of a short request the body too
	Body []byte // what follows; written while the answer is awaited
}

// Trail is how far a request got.
type Trail struct {
	Connected bool // it had a connection
	Reused    bool // which had carried requests before
	Answering bool // the first byte of an answer came
}

// ReadFunc reads an answer's body, and reports whether it did to its end: if not, the connection is not used again.
type ReadFunc func(*http.Response) (ended bool, err error)

// Send sends the request and has read read the answer, by the deadline. It ends early when ctx does. It returns when
// nothing of it goes on: the request's bytes are the caller's again. The request is never sent a second time once a byte
// of it was written. An answer that was begun and not ended was seen by read, and is an error too.
func (p *Pool) Send(ctx context.Context, deadline time.Time, r Request, read ReadFunc) (Trail, error) {
	if err := p.enter(ctx, deadline); err != nil {
		return Trail{}, err
	}
	defer p.leave()
	for {
		c, err := p.take(ctx, deadline)
		if err != nil {
			return Trail{}, err
		}
		x := &c.exchange
		*x = exchange{conn: c, trail: Trail{Connected: true, Reused: c.reused}, limit: p.cfg.Header}
		if err = x.run(ctx, r, read); x.fit {
			trail := x.trail
			p.put(c) // somebody else's now
			return trail, nil
		}
		c.drop()
		x.join()
		if !x.untouched(ctx, err) {
			return x.trail, err
		}
	}
}

// exchange is one request and its answer on a connection. It is part of the connection so as to cost no allocation.
type exchange struct {
	conn  *conn
	trail Trail
	limit int64
	n     int        // bytes written
	wrote chan error // of a request that is written aside; nil: none is
	fit   bool       // the connection may be used again
}

// untouched reports whether the request may be sent again because not a byte of it left: the server had closed the
// connection before.
func (x *exchange) untouched(ctx context.Context, err error) bool {
	if err == nil || !x.trail.Reused || x.trail.Answering || x.n > 0 || ctx.Err() != nil {
		return false
	}
	timeout, ok := errors.AsType[net.Error](err)
	return !ok || !timeout.Timeout()
}

func (x *exchange) run(ctx context.Context, r Request, read ReadFunc) error {
	stop := context.AfterFunc(ctx, x.conn.abort)
	br := readers.Get().(*bufio.Reader)
	br.Reset(x.conn)
	ended, err := x.converse(r, br, read)
	x.fit = ended && err == nil && br.Buffered() == 0 && x.written()
	br.Reset(nil)
	readers.Put(br)
	if !stop() {
		x.fit = false // somebody sets its deadline, now or any moment
	}
	x.conn.reused = true
	return err
}

// readers are buffers for the connections that wait for an answer. Idle ones have none.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// converse writes the request and reads the answer. It reports whether the connection may be used again as far as the
// answer goes.
func (x *exchange) converse(r Request, br *bufio.Reader, read ReadFunc) (bool, error) {
	failed := x.write(r)
	resp, err := x.head(br)
	if err != nil {
		if failed != nil {
			err = failed
		}
		return false, err
	}
	// Also after a failed write: a server that refuses a request may say why and close before it has read it.
	x.conn.left = unlimited
	ended, err := read(resp)
	return ended && failed == nil && !resp.Close && resp.StatusCode != http.StatusSwitchingProtocols, err
}

// write writes a short request, or begins to write a long one: its server may answer before it has read it all, and read
// no further.
func (x *exchange) write(r Request) (err error) {
	if len(r.Body) == 0 {
		if x.n, err = x.conn.Write(r.Head); err != nil {
			err = fmt.Errorf("write request: %w", err)
		}
		return err
	}
	x.wrote = make(chan error, 1) // its goroutine never waits
	go func() {
		buffers := net.Buffers{r.Head, r.Body}
		n, err := buffers.WriteTo(x.conn.Conn)
		x.n = int(n)
		x.wrote <- err
	}()
	return nil
}

// written reports whether the whole request was written. It waits a moment for it.
func (x *exchange) written() bool {
	if x.wrote == nil {
		return true
	}
	timer := time.NewTimer(lastWrite)
	defer timer.Stop()
	select {
	case err := <-x.wrote:
		x.wrote = nil
		return err == nil
	case <-timer.C:
		return false
	}
}

// join waits for what is written aside. The connection was closed.
func (x *exchange) join() {
	if x.wrote != nil {
		<-x.wrote //nolint:errcheck // it says that the connection is closed
		x.wrote = nil
	}
}

// post is what answers are read for: the method says whether there is a body.
var post = &http.Request{Method: http.MethodPost}

// head reads an answer up to its body. Answers that only go before it are passed over; all of it together has the limit.
func (x *exchange) head(br *bufio.Reader) (*http.Response, error) {
	x.conn.left = x.limit
	if _, err := br.Peek(1); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	x.trail.Answering = true
	for {
		resp, err := http.ReadResponse(br, post)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if resp.StatusCode < 100 || resp.StatusCode > 199 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
}
