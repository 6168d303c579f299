package delivery

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	answerLimit = 64 << 10 // most that is read of an answer, to be able to use its connection again
	textLimit   = 1 << 10  // most that is kept of an answer, to tell what went wrong
)

// attempt is one attempt under way.
type attempt struct {
	client        *Client
	parent        context.Context
	request       *Request
	authorization string // with the OAuth2 token; empty: none
	deadline      time.Time

	// What the transport says of it. It is in full when roundTrip returns.
	taken      bool // an answer came, up to its body
	status     int  // which may be anything of three digits
	retryAfter string
	text       []byte // the beginning of the answer's body, unless it is of no interest
	connected  bool   // a connection was had
	reused     bool   // it was a kept-alive one
	answering  bool   // the first byte of an answer came
}

// run makes the attempt, and once more with a fresh token when the endpoint no longer takes the cached one.
func (a *attempt) run() Outcome {
	if problem := a.request.problem(); problem != "" {
		return Outcome{Verdict: Invalid, Reason: ReasonInvalid, Err: problem}
	}
	if a.client.tokens == nil {
		return a.post()
	}
	return a.postWithToken()
}

func (a *attempt) postWithToken() Outcome {
	ctx, cancel := context.WithDeadline(a.parent, a.deadline)
	defer cancel()
	for refreshed := false; ; refreshed = true {
		token, err := a.client.tokens.get(ctx)
		if err != nil {
			return a.tokenFailed(err)
		}
		a.authorization = token.header
		o := a.post()
		if o.Status != http.StatusUnauthorized || refreshed {
			return o
		}
		a.client.tokens.drop(token)
	}
}

// post sends the request and reads the answer.
func (a *attempt) post() Outcome {
	a.taken, a.status, a.retryAfter, a.text = false, 0, "", nil
	err := a.client.transport.roundTrip(a.parent, a)
	if !a.taken {
		return a.failed(err)
	}
	o := answered(a.status)
	// Any status but 2xx stands when its text is cut off: nothing is lost by believing it. A 2xx cut off may have been
	// made up by something on the way whose other side died, so it is asked again. What is late is late, whatever it says.
	if err != nil && (o.Verdict == Delivered || a.over()) {
		late := a.failed(err)
		late.Status = a.status
		return late
	}
	if o.Verdict == Delivered {
		return o
	}
	o.RetryAfter = parseRetryAfter(a.retryAfter, time.Now())
	o.Err = a.client.text(statusText(a.status) + a.withoutToken(withoutEcho(a.text, a.request.Body.Bytes)))
	return o
}

// over reports whether the attempt's time is over, or the relay has ended it.
func (a *attempt) over() bool { return a.parent.Err() != nil || a.late() }

func (a *attempt) late() bool { return !time.Now().Before(a.deadline) }

// withoutToken hides the access token, which changes, from what the endpoint said.
func (a *attempt) withoutToken(text string) string {
	if a.authorization == "" {
		return text
	}
	_, token, _ := strings.Cut(a.authorization, " ")
	return strings.NewReplacer(pairs([]string{token})...).Replace(text)
}

func statusText(status int) string {
	s := "answered " + strconv.Itoa(status)
	if t := http.StatusText(status); t != "" {
		s += " " + t
	}
	if status >= 300 && status < 400 {
		s += " (redirects are not followed; change the url)"
	}
	return s + ": "
}

// readAnswer reads the answer to its end, so that the connection can be used again, or to answerLimit, after which
// closing it costs less than reading on. It returns the beginning if the status is not 2xx, and whether it came to the end.
func readAnswer(resp *http.Response) (text []byte, ended bool, err error) {
	if resp.StatusCode < 200 || resp.Body == http.NoBody {
		return nil, resp.StatusCode >= 200, nil
	}
	if resp.StatusCode >= 300 {
		if text, err = readText(resp.Body); err != nil {
			if errors.Is(err, io.EOF) {
				return text, true, nil
			}
			return text, false, err
		}
	}
	if resp.ContentLength > answerLimit {
		return text, false, nil
	}
	_, err = io.CopyN(io.Discard, resp.Body, answerLimit)
	if errors.Is(err, io.EOF) {
		return text, true, nil
	}
	return text, false, err
}

// readText reads up to textLimit. It returns io.EOF if that was all.
func readText(r io.Reader) (text []byte, err error) {
	text = make([]byte, textLimit)
	n := 0
	for n < len(text) && err == nil {
		var m int
		m, err = r.Read(text[n:])
		n += m
	}
	return text[:n], err
}
