package wire

import (
	"crypto/tls"
	"errors"
	"math"
	"net"
	"time"
)

var (
	errHeader      = errors.New("the answer's header is too large")
	errUnsolicited = errors.New("the server sent something without being asked")
)

// conn is one connection. One goroutine at a time uses it; while it is idle, none does.
type conn struct {
	net.Conn // what is written to: the socket, or TLS over it
	socket   *socket
	abort    func()    // ends what is under way from another goroutine; made once, for every attempt
	reused   bool      // it has carried a request before
	since    time.Time // when it became idle
	left     int64     // how much may still be read
	one      [1]byte   // what is looked into
	exchange exchange  // under way
}

func newConn(bare net.Conn) *conn {
	c := &conn{Conn: bare, socket: newSocket(bare)}
	c.abort = func() { _ = bare.SetDeadline(time.Unix(1, 0)) }
	return c
}

// Read reads no more than the answer may have.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeader
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	return n, err
}

const unlimited = math.MaxInt64

// prepare makes an idle connection ready for an attempt. It fails if the server has closed it, or has sent what nobody
// asked for, which must not be taken for the next answer.
func (c *conn) prepare(deadline time.Time) error {
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	n, err := c.look(c.one[:])
	switch {
	case n > 0:
		return errUnsolicited
	case errors.Is(err, errNothing):
		return nil
	}
	return err
}

// look reads what is there, without waiting. With TLS it goes through it: what came may be a ticket of the session, which
// is no answer, and an answer may be waiting decrypted.
func (c *conn) look(b []byte) (int, error) {
	if _, ok := c.Conn.(*tls.Conn); !ok {
		return c.socket.look(b)
	}
	c.socket.looking = true
	defer func() { c.socket.looking = false }()
	return c.Conn.Read(b)
}

// drop closes a connection that is in an unknown state, at once: a farewell of TLS could block.
func (c *conn) drop() { _ = c.socket.Close() }

// hangUp closes an idle connection, with TLS's farewell.
func (c *conn) hangUp() { _ = c.Close() }
