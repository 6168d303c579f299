package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// pipeTimeout is relay's default for one attempt.
const pipeTimeout = 15 * time.Second

// pipeLane posts to one endpoint: a queue for each key, from which any free worker takes the next ready one.
type pipeLane struct {
	pipe      *pipe
	url       *url.URL
	transport *http.Transport

	mu    sync.Mutex
	wake  *sync.Cond
	keys  map[string]*keyPosts
	ready []*keyPosts
	first int // of ready
}

// keyPosts is what waits for one key. It is in ready, or a worker has it, and not both.
type keyPosts struct {
	key   string
	posts []*post
}

func newPipeLane(p *pipe, endpoint string, concurrency int, fail context.CancelCauseFunc) *pipeLane {
	u, err := url.Parse(endpoint)
	if err != nil {
		fail(err)
	}
	l := &pipeLane{pipe: p, url: u, transport: pipeTransport(concurrency), keys: make(map[string]*keyPosts)}
	l.wake = sync.NewCond(&l.mu)
	for range concurrency {
		go func() { fail(l.work()) }()
	}
	return l
}

// pipeTransport has the settings of delivery's transport.
func pipeTransport(conns int) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: pipeTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		MaxIdleConns:        conns,
		MaxIdleConnsPerHost: conns,
		MaxConnsPerHost:     conns,
		IdleConnTimeout:     90 * time.Second,
		ReadBufferSize:      4 << 10,
		WriteBufferSize:     4 << 10,
	}
}

func (l *pipeLane) push(e *post) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.keys[e.key]
	if q != nil {
		q.posts = append(q.posts, e)
		return
	}
	q = &keyPosts{key: e.key, posts: []*post{e}}
	l.keys[e.key] = q
	l.ready = append(l.ready, q)
	l.wake.Signal()
}

// take returns the next ready key with its oldest post.
func (l *pipeLane) take() (*keyPosts, *post) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.first == len(l.ready) {
		l.ready, l.first = l.ready[:0], 0
		l.wake.Wait()
	}
	q := l.ready[l.first]
	l.ready[l.first] = nil
	l.first++
	return q, q.posts[0]
}

// release makes the key ready again, or forgets it when nothing more waits.
func (l *pipeLane) release(q *keyPosts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q.posts[0] = nil
	q.posts = q.posts[1:]
	if len(q.posts) == 0 {
		delete(l.keys, q.key)
		return
	}
	// A slice whose front is taken would grow for ever where there is always something ready.
	if l.first > 1024 && l.first > len(l.ready)/2 {
		l.ready = append(l.ready[:0], l.ready[l.first:]...)
		l.first = 0
	}
	l.ready = append(l.ready, q)
	l.wake.Signal()
}

// work posts until a POST fails.
func (l *pipeLane) work() error {
	for {
		q, e := l.take()
		if err := l.post(e); err != nil {
			return err
		}
		l.release(q)
		l.pipe.sent(e)
	}
}

func (l *pipeLane) post(e *post) error {
	ctx, cancel := context.WithTimeout(context.Background(), pipeTimeout)
	defer cancel()
	req := (&http.Request{
		Method: http.MethodPost, URL: l.url, Host: l.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"relay/bench"}, "Webhook-Id": {e.id},
			"Webhook-Timestamp": {fmt.Sprint(time.Now().Unix())},
		},
		Body: io.NopCloser(bytes.NewReader(e.body)), ContentLength: int64(len(e.body)),
	}).WithContext(ctx)
	resp, err := l.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	if err := drainBody(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return nil
}
