package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// receiver is a minimal HTTP/1.1 server for POSTs to /0, /1 and so on, one path for each endpoint. It speaks raw TCP, so
// that receiving costs a fraction of sending, and notes when it got which event.
type receiver struct {
	delay    time.Duration
	listener net.Listener
	conns    sync.Map

	times    [][]atomic.Int64 // of each endpoint and event: when it came first, in Unix nanoseconds
	last     [][]atomic.Int64 // of each endpoint and key: the event that came last
	missing  atomic.Int64
	repeated atomic.Int64
	disorder atomic.Int64
	done     chan struct{} // closed with the last event
	failed   atomic.Pointer[error]
}

func receive(delay time.Duration, endpoints, events int) (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{delay: delay, listener: listener, done: make(chan struct{})}
	r.missing.Store(int64(endpoints * events))
	for range endpoints {
		r.times = append(r.times, make([]atomic.Int64, events))
		r.last = append(r.last, make([]atomic.Int64, keys))
	}
	go r.accept()
	return r, nil
}

func (r *receiver) url(endpoint int) string {
	return fmt.Sprintf("http://%s/%d", r.listener.Addr(), endpoint)
}

// received is how many events came so far, over all endpoints.
func (r *receiver) received() int64 {
	return int64(len(r.times)*len(r.times[0])) - r.missing.Load()
}

func (r *receiver) close() {
	_ = r.listener.Close() // nothing depends on how it ends
	r.conns.Range(func(conn, _ any) bool {
		_ = conn.(net.Conn).Close()
		return true
	})
}

func (r *receiver) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.conns.Store(conn, nil)
		go func() {
			defer r.conns.Delete(conn)
			defer conn.Close() //nolint:errcheck // the other side sees it
			// Once everything is here, a process that stops may cut its connections as it likes.
			if err := r.serve(conn); !errors.Is(err, io.EOF) && r.missing.Load() > 0 {
				r.failed.CompareAndSwap(nil, &err)
			}
		}()
	}
}

var (
	answer        = []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	contentLength = []byte("content-length:")
	webhookID     = []byte("webhook-id:")
)

// serve answers until reading or writing fails, which it reports; a connection closed between requests is io.EOF.
func (r *receiver) serve(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		endpoint, event, err := readRequest(in)
		if err != nil {
			return err
		}
		if endpoint >= len(r.times) || event >= len(r.times[0]) {
			return fmt.Errorf("got event %d at endpoint %d, want less than %d and %d", event, endpoint, len(r.times[0]), len(r.times))
		}
		r.note(endpoint, event)
		if r.delay > 0 {
			time.Sleep(r.delay) // it plays an endpoint that takes its time
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
}

// readRequest returns the endpoint's number, from the path, and the event's, from its id.
func readRequest(in *bufio.Reader) (endpoint, event int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return 0, 0, fmt.Errorf("request line %q", line)
	}
	endpoint, err = strconv.Atoi(string(bytes.TrimPrefix(fields[1], []byte("/"))))
	if err != nil {
		return 0, 0, fmt.Errorf("path %q: %w", fields[1], err)
	}
	length, event := -1, -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if value, ok := header(line, contentLength); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, 0, err
			}
		} else if value, ok := header(line, webhookID); ok {
			if event, err = eventNumber(value); err != nil {
				return 0, 0, err
			}
		}
	}
	if length < 0 || event < 0 {
		return 0, 0, errors.New("a request without content-length or webhook-id")
	}
	_, err = in.Discard(length)
	return endpoint, event, err
}

func header(line, name []byte) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}

func (r *receiver) note(endpoint, event int) {
	if !r.times[endpoint][event].CompareAndSwap(0, time.Now().UnixNano()) {
		r.repeated.Add(1)
		return
	}
	if r.last[endpoint][event%keys].Swap(int64(event)) > int64(event) {
		r.disorder.Add(1)
	}
	if r.missing.Add(-1) == 0 {
		close(r.done)
	}
}

// verdict says whether every event came once and in the order of its key.
func (r *receiver) verdict() error {
	if err := r.failed.Load(); err != nil {
		return fmt.Errorf("receiver: %w", *err)
	}
	if m, d, o := r.missing.Load(), r.repeated.Load(), r.disorder.Load(); m > 0 || d > 0 || o > 0 {
		return fmt.Errorf("%d events missing, %d repeated, %d out of order", m, d, o)
	}
	return nil
}

// span returns when the first and the last event came.
func (r *receiver) span() (first, last time.Time) {
	var lo, hi int64
	for _, times := range r.times {
		for i := range times {
			t := times[i].Load()
			if t == 0 {
				continue
			}
			if lo == 0 || t < lo {
				lo = t
			}
			hi = max(hi, t)
		}
	}
	return time.Unix(0, lo), time.Unix(0, hi)
}
