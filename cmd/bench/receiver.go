package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// receiver is a minimal HTTP/1.1 server for POSTs to /0, /1 and so on, one path for each endpoint. It speaks raw TCP, or
// TLS on it, so that receiving costs a fraction of sending, and notes when it got which event.
type receiver struct {
	receiverConfig
	listener net.Listener
	conns    sync.Map
	*receipts
	failed atomic.Pointer[error]
}

// receiverConfig is what the receivers are like. Endpoints after the last are down, and answer 500.
type receiverConfig struct {
	delay                   time.Duration
	endpoints, events, keys int
	tls                     *tls.Config // nil: in clear
	disorderly              bool        // the order of a key is not asked for
}

func receive(cfg receiverConfig) (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if cfg.tls != nil {
		listener = tls.NewListener(listener, cfg.tls)
	}
	r := &receiver{receiverConfig: cfg, listener: listener, receipts: newReceipts(cfg)}
	go r.accept()
	return r, nil
}

// base is what the endpoints' URLs begin with.
func (r *receiver) base() string {
	scheme := "http"
	if r.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + r.listener.Addr().String()
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
	refusal       = []byte("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
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
		if event >= r.events {
			return fmt.Errorf("got event %d, want less than %d", event, r.events)
		}
		text := refusal
		if endpoint < r.endpoints {
			text = answer
			r.note(endpoint, event)
		}
		if r.delay > 0 {
			time.Sleep(r.delay) // it plays an endpoint that takes its time
		}
		if _, err := conn.Write(text); err != nil {
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

// verdict says whether every event came once and in the order of its key.
func (r *receiver) verdict() error {
	if err := r.failed.Load(); err != nil {
		return fmt.Errorf("receiver: %w", *err)
	}
	return r.receipts.verdict()
}
