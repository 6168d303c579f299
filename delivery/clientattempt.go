package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	answerLimit = 64 << 10 // most that is read of an answer, to be able to use its connection again
	textLimit   = 1 << 10  // most that is kept of an answer, to tell what went wrong
)

// attempt is one attempt under way.
type attempt struct {
	client *Client
	parent context.Context
	trace  httptrace.ClientTrace

	connected atomic.Bool // a connection was had
	reused    atomic.Bool // it was a kept-alive one
}

// run makes the attempt, and once more with a fresh token when the endpoint no longer takes the cached one.
func (a *attempt) run(r *Request) Outcome {
	if problem := r.problem(); problem != "" {
		return Outcome{Verdict: Invalid, Reason: ReasonInvalid, Err: problem}
	}
	ctx, cancel := context.WithTimeout(a.parent, a.client.timeout)
	defer cancel()
	a.trace.GotConn = a.gotConn
	ctx = httptrace.WithClientTrace(ctx, &a.trace)
	if a.client.tokens == nil {
		return a.post(ctx, r, nil)
	}
	return a.postWithToken(ctx, r)
}

func (a *attempt) postWithToken(ctx context.Context, r *Request) Outcome {
	for refreshed := false; ; refreshed = true {
		token, err := a.client.tokens.get(ctx)
		if err != nil {
			return a.tokenFailed(ctx, err)
		}
		o := a.post(ctx, r, token.header)
		if o.Status != http.StatusUnauthorized || refreshed {
			return o
		}
		a.client.tokens.drop(token)
	}
}

// post sends the request and reads the answer.
func (a *attempt) post(ctx context.Context, r *Request, authorization []string) Outcome {
	// The transport is used without a http.Client, which would follow redirects (a 303 becomes an empty GET whose 200
	// looks like a delivery) and print URLs in its errors.
	resp, err := a.client.transport.RoundTrip(a.request(ctx, r, authorization))
	if err != nil {
		return a.failed(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has nothing to say that reading has not
	text, err := readAnswer(resp)
	o := answered(resp.StatusCode)
	// Any status but 2xx stands when its text is cut off: nothing is lost by believing it. A 2xx cut off may have been
	// made up by something on the way whose other side died, so it is asked again. What is late is late, whatever it says.
	if err != nil && (o.Verdict == Delivered || ctx.Err() != nil) {
		late := a.failed(ctx, err)
		late.Status = resp.StatusCode
		return late
	}
	if o.Verdict == Delivered {
		return o
	}
	if o.Verdict == Throttled || o.Status == http.StatusServiceUnavailable {
		o.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	o.Err = a.client.text(statusText(resp) + a.withoutToken(withoutEcho(text, r.Body.Bytes), authorization))
	return o
}

// withoutToken hides the access token, which changes, from what the endpoint said.
func (a *attempt) withoutToken(text string, authorization []string) string {
	if authorization == nil {
		return text
	}
	_, token, _ := strings.Cut(authorization[0], " ")
	return strings.NewReplacer(pairs([]string{token})...).Replace(text)
}

func statusText(resp *http.Response) string {
	s := "answered " + strconv.Itoa(resp.StatusCode)
	if t := http.StatusText(resp.StatusCode); t != "" {
		s += " " + t
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		s += " (redirects are not followed; change the url)"
	}
	return s + ": "
}

// request builds the request. Its header map is its own: the transport may still read it when the attempt is over.
func (a *attempt) request(ctx context.Context, r *Request, authorization []string) *http.Request {
	c := a.client
	req := c.template.WithContext(ctx)
	req.Header = c.header(r, time.Now(), authorization)
	req.ContentLength = int64(len(r.Body.Bytes))
	if req.ContentLength == 0 {
		req.Body = http.NoBody
		return req
	}
	req.Body = newRequestBody(r.Body.Bytes)
	if c.replay {
		// Lets the transport take another connection when not one byte was written to a kept-alive one, or when an HTTP/2
		// server says that it has not looked at the request. Nothing else makes it repeat a POST.
		req.GetBody = func() (io.ReadCloser, error) { return newRequestBody(r.Body.Bytes), nil }
	}
	return req
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.connected.Store(true)
	a.reused.Store(info.Reused)
}

// newRequestBody returns a reader of a body that is shared with other attempts. It is of a type that net/http knows to be in
// memory: for any other it sends the headers ahead in a write of their own, a system call more for every attempt.
func newRequestBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// readAnswer reads the answer to its end, so that the connection can be used again, or to answerLimit, after which
// closing it costs less than reading on. It returns the beginning if the status is not 2xx.
func readAnswer(resp *http.Response) ([]byte, error) {
	if resp.StatusCode < 200 || resp.Body == http.NoBody {
		return nil, nil
	}
	var text []byte
	if resp.StatusCode >= 300 {
		text = make([]byte, textLimit)
		n, err := io.ReadFull(resp.Body, text)
		if text = text[:n]; err != nil {
			return text, err
		}
	}
	if resp.ContentLength > answerLimit {
		return text, nil
	}
	_, err := io.CopyN(io.Discard, resp.Body, answerLimit)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return text, err
}
