package wire

import (
	"net"
	"syscall"
)

// errNothing says that there was nothing to read. For TLS it is an error that passes.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// socket is a connection that can also be read without waiting: that is how a connection on which no goroutine waits is
// found to be closed.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil: there is no looking
	looking bool            // Read does not wait

	read func(fd uintptr) bool // reads once into p; made once
	p    []byte
	n    int
	err  error
}

func newSocket(bare net.Conn) *socket {
	s := &socket{Conn: bare}
	sc, ok := bare.(syscall.Conn)
	if !ok {
		return s
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return s
	}
	s.raw = raw
	s.read = func(fd uintptr) bool {
		s.n, s.err = readNow(fd, s.p)
		return true
	}
	return s
}

// Read reads, unless it is but to look.
func (s *socket) Read(p []byte) (int, error) {
	if s.looking {
		return s.look(p)
	}
	return s.Conn.Read(p)
}

// look reads what is there into p, which has room for something. It returns errNothing where Read would wait.
func (s *socket) look(p []byte) (int, error) {
	if s.raw == nil {
		return 0, errNothing
	}
	s.p = p
	err := s.raw.Read(s.read)
	s.p = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}
