package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// pipeTimeout is relay's default for one attempt.
const pipeTimeout = 15 * time.Second

// poster makes one POST at a time. Any answer but 200 is an error.
type poster interface {
	post(e *post) error
}

// newPosters returns one for each request that may be under way at the endpoint.
func newPosters(cfg *pipeConfig, endpoint string) ([]poster, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	config, err := trusting(cfg.CA)
	if err != nil {
		return nil, err
	}
	posters := make([]poster, cfg.Concurrency)
	shared := &httpPoster{url: u, transport: &http.Transport{ // the settings of delivery's transport
		DialContext:         (&net.Dialer{Timeout: pipeTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     config,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		MaxIdleConns:        cfg.Concurrency,
		MaxIdleConnsPerHost: cfg.Concurrency,
		MaxConnsPerHost:     cfg.Concurrency,
		IdleConnTimeout:     90 * time.Second,
		ReadBufferSize:      4 << 10,
		WriteBufferSize:     4 << 10,
	}}
	for i := range posters {
		if cfg.Direct {
			posters[i] = &directPoster{url: u, tls: config}
		} else {
			posters[i] = shared
		}
	}
	return posters, nil
}

// httpPoster posts over net/http. It serves any number of workers.
type httpPoster struct {
	url       *url.URL
	transport *http.Transport
}

func (p *httpPoster) post(e *post) error {
	ctx, cancel := context.WithTimeout(context.Background(), pipeTimeout)
	defer cancel()
	req := (&http.Request{
		Method: http.MethodPost, URL: p.url, Host: p.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"relay/bench"}, "Webhook-Id": {e.id},
			"Webhook-Timestamp": {fmt.Sprint(time.Now().Unix())},
		},
		Body: io.NopCloser(bytes.NewReader(e.body)), ContentLength: int64(len(e.body)),
	}).WithContext(ctx)
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	return taken(resp)
}

// taken reads the answer to its end and says whether it is the right one.
func taken(resp *http.Response) error {
	_, err := io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return nil
}
