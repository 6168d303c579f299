package main

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// directPoster posts over a connection of its own, which it keeps: the request is written by hand in one go, and the
// answer read with the standard library. It is the least that HTTP can cost from Go, and serves one worker.
type directPoster struct {
	url *url.URL
	tls *tls.Config

	conn net.Conn // nil: none yet
	in   *bufio.Reader
	out  []byte
}

// asked is all that http.ReadResponse wants to know of a request.
var asked = &http.Request{Method: http.MethodPost}

func (p *directPoster) post(e *post) error {
	if err := p.connect(); err != nil {
		return err
	}
	if err := p.conn.SetDeadline(time.Now().Add(pipeTimeout)); err != nil {
		return err
	}
	b := append(p.out[:0], "POST "...)
	b = append(append(b, p.url.RequestURI()...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, p.url.Host...), "\r\nUser-Agent: relay/bench\r\nContent-Type: application/json\r\nWebhook-Id: "...)
	b = append(append(b, e.id...), "\r\nWebhook-Timestamp: "...)
	b = append(strconv.AppendInt(b, time.Now().Unix(), 10), "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(e.body)), 10), "\r\n\r\n"...)
	p.out = append(b, e.body...)
	if _, err := p.conn.Write(p.out); err != nil {
		return err
	}
	resp, err := http.ReadResponse(p.in, asked)
	if err != nil {
		return err
	}
	return taken(resp)
}

func (p *directPoster) connect() error {
	if p.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", p.url.Host, pipeTimeout)
	if err != nil {
		return err
	}
	if p.url.Scheme == "https" {
		config := p.tls.Clone()
		config.ServerName = p.url.Hostname()
		conn = tls.Client(conn, config)
	}
	p.conn, p.in = conn, bufio.NewReader(conn)
	return nil
}
