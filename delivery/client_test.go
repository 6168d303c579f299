package delivery

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

// endpointAt returns the configuration of an endpoint with generous limits.
func endpointAt(url string) *mapping.Endpoint {
	return &mapping.Endpoint{Name: "billing", URL: url, Timeout: 10 * time.Second, Concurrency: 4}
}

func newClient(t testing.TB, ep *mapping.Endpoint) *Client {
	t.Helper()
	c, err := NewClient(ep, "1.2.3")
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func request(id string) *Request {
	return &Request{ID: id, Body: mapping.Body{Bytes: []byte(`{"test": 2432232314}`), ContentType: "application/json"}}
}

// setup returns a scripted endpoint and a client for it.
func setup(t *testing.T, script deliverytest.Script) (*Client, *deliverytest.Endpoint) {
	t.Helper()
	e := deliverytest.New(t, script)
	return newClient(t, endpointAt(e.URL+"/hooks")), e
}

func TestClient_SendsWhatTheContractSays(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, nil)
	ep := endpointAt(e.URL + "/hooks?tenant=7")
	ep.Headers = [][2]string{{"X-Team", "billing"}, {"Host", "inside.example"}}
	r := request("msg_1")
	r.Traceparent, r.Tracestate = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b"
	r.Body.Headers = [][2]string{{"ce-id", "msg_1"}, {"ce-subject", "a%20b"}}

	before := time.Now()
	o := newClient(t, ep).Send(t.Context(), r)

	require.Equal(t, Delivered, o.Verdict, o.Err)
	require.Equal(t, ReasonOK, o.Reason)
	require.Equal(t, 200, o.Status)
	require.Empty(t, o.Err)
	require.Positive(t, o.Duration)
	got := e.Receipts()[0]
	require.Equal(t, "POST", got.Method)
	require.Equal(t, "/hooks?tenant=7", got.Path)
	require.Equal(t, "inside.example", got.Host)
	require.Equal(t, r.Body.Bytes, got.Body)
	timestamp := got.Header.Get("Webhook-Timestamp")
	require.InDelta(t, before.Unix(), mustInt(t, timestamp), 2)
	require.Equal(t, http.Header{
		"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {timestamp}, "Content-Type": {"application/json"},
		"User-Agent": {"relay/1.2.3"}, "Traceparent": {r.Traceparent}, "Tracestate": {"a=b"}, "X-Team": {"billing"},
		"Ce-Id": {"msg_1"}, "Ce-Subject": {"a%20b"}, "Content-Length": {"20"},
	}, got.Header)
}

func TestClient_SendsAnEmptyBodyWithItsLength(t *testing.T) {
	t.Parallel()
	c, e := setup(t, nil)
	r := request("msg_1")
	r.Body.Bytes = nil
	require.Equal(t, Delivered, c.Send(t.Context(), r).Verdict)
	require.Equal(t, "0", e.Receipts()[0].Header.Get("Content-Length"))
}

func TestClient_SpeaksHTTP2WhereItIsOffered(t *testing.T) {
	t.Parallel()
	e := deliverytest.NewTLS(t, nil)
	ep := endpointAt(e.URL)
	ep.TLS.Roots, ep.TLS.ServerName = e.Roots(), "example.com"
	c := newClient(t, ep)
	for range 3 {
		require.Equal(t, Delivered, c.Send(t.Context(), request("msg_1")).Verdict)
	}
	require.Equal(t, "HTTP/2.0", e.Receipts()[0].Proto)
	require.Equal(t, 1, e.Connections())
}

func TestClient_ReportsTroubleOverHTTP2(t *testing.T) {
	t.Parallel()
	e := deliverytest.NewTLS(t, deliverytest.Answers(
		deliverytest.Answer{Cut: deliverytest.CutAtOnce},
		deliverytest.Answer{Cut: deliverytest.CutBody, Body: "half"},
		deliverytest.Answer{Hang: true},
		deliverytest.Answer{Body: strings.Repeat("endless ", 1<<10), Endless: true},
		deliverytest.Answer{Status: 500},
		deliverytest.Answer{},
	))
	ep := endpointAt(e.URL)
	ep.TLS.Roots, ep.Timeout = e.Roots(), time.Second
	c := newClient(t, ep)
	var got []Verdict
	for range 6 {
		got = append(got, c.Send(t.Context(), request("msg_1")).Verdict)
	}
	require.Equal(t, []Verdict{Failed, Failed, Failed, Delivered, Failed, Delivered}, got)
	require.Len(t, e.Receipts(), 6, "net/http repeats nothing by itself")
}

func TestClient_ReportsEveryStatusByTheTable(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		verdict Verdict
		reason  Reason
		effect  Effect
	}{
		200: {Delivered, ReasonOK, EffectSuccess}, 202: {Delivered, ReasonOK, EffectSuccess},
		204: {Delivered, ReasonOK, EffectSuccess}, 299: {Delivered, ReasonOK, EffectSuccess},
		301: {Rejected, ReasonRedirect, EffectAlive}, 303: {Rejected, ReasonRedirect, EffectAlive},
		304: {Rejected, ReasonRedirect, EffectAlive}, 307: {Rejected, ReasonRedirect, EffectAlive},
		400: {Rejected, ReasonRejected, EffectAlive}, 413: {Rejected, ReasonRejected, EffectAlive},
		415: {Rejected, ReasonRejected, EffectAlive}, 422: {Rejected, ReasonRejected, EffectAlive},
		401: {Retry, ReasonClient, EffectAlive}, 403: {Retry, ReasonClient, EffectAlive},
		404: {Retry, ReasonClient, EffectAlive}, 408: {Retry, ReasonClient, EffectAlive},
		409: {Retry, ReasonClient, EffectAlive}, 418: {Retry, ReasonClient, EffectAlive},
		425: {Retry, ReasonClient, EffectAlive}, 499: {Retry, ReasonClient, EffectAlive},
		410: {Gone, ReasonGone, EffectAlive}, 429: {Throttled, ReasonThrottled, EffectAlive},
		500: {Failed, ReasonServer, EffectFailure}, 503: {Failed, ReasonServer, EffectFailure},
		599: {Failed, ReasonServer, EffectFailure}, 600: {Failed, ReasonProtocol, EffectFailure},
		999: {Failed, ReasonProtocol, EffectFailure},
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			c, e := setup(t, deliverytest.Answers(deliverytest.Answer{
				Status: status, Header: http.Header{"Location": {"/elsewhere"}, "Retry-After": {"7"}},
			}))
			o := c.Send(t.Context(), request("msg_1"))
			require.Equal(t, want.verdict, o.Verdict, "%d: %s", status, o.Err)
			require.Equal(t, want.reason, o.Reason)
			require.Equal(t, want.effect, o.Effect())
			require.Equal(t, status, o.Status)
			require.True(t, o.Attempted())
			require.Len(t, e.Receipts(), 1, "nothing is followed or repeated")
			if status == 429 || status == 503 {
				require.Equal(t, 7*time.Second, o.RetryAfter)
			} else {
				require.Zero(t, o.RetryAfter)
			}
		})
	}
}

func TestClient_KeepsOneConnectionForEachConcurrentAttempt(t *testing.T) {
	t.Parallel()
	c, e := setup(t, deliverytest.Answers(deliverytest.Answer{Status: 500, Body: strings.Repeat("x", 30<<10)}))
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 50 {
				c.Send(t.Context(), request("msg_1"))
			}
		})
	}
	workers.Wait()
	require.LessOrEqual(t, e.Connections(), 4)
	require.Len(t, e.Receipts(), 200)
}

func TestClient_TimesOutFromConnectingToTheLastByte(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]deliverytest.Answer{
		"no answer":               {Hang: true},
		"a late answer":           {Delay: time.Minute},
		"a body that never ends":  {Status: 200, Body: "x", Stall: true},
		"a 404 that never ends":   {Status: 404, Body: "x", Stall: true},
		"a 410 of a slow speaker": {Status: 410, Stall: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := deliverytest.New(t, deliverytest.Answers(answer, deliverytest.Answer{}))
			ep := endpointAt(e.URL)
			ep.Timeout, ep.Concurrency = 150*time.Millisecond, 1
			c := newClient(t, ep)
			o := c.Send(t.Context(), request("msg_1"))
			require.Equal(t, Failed, o.Verdict)
			require.Equal(t, ReasonTimeout, o.Reason)
			require.Equal(t, EffectFailure, o.Effect())
			require.Equal(t, "no complete answer within 150ms", o.Err)
			require.GreaterOrEqual(t, o.Duration, 150*time.Millisecond)
			require.Less(t, o.Duration, 5*time.Second)
			require.Equal(t, Delivered, c.Send(t.Context(), request("msg_2")).Verdict, "the only connection is free again")
		})
	}
}

func TestClient_TakesTheStatusOfAnEndlessAnswer(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]Verdict{200: Delivered, 400: Rejected, 500: Failed} {
		c, e := setup(t, deliverytest.Answers(deliverytest.Answer{
			Status: status, Body: strings.Repeat("endless ", 1<<10), Endless: true,
		}, deliverytest.Answer{}))
		o := c.Send(t.Context(), request("msg_1"))
		require.Equal(t, want, o.Verdict)
		require.Equal(t, status, o.Status)
		require.Less(t, o.Duration, 5*time.Second)
		require.LessOrEqual(t, len(o.Err), errLimit)
		require.Equal(t, Delivered, c.Send(t.Context(), request("msg_2")).Verdict)
		require.Equal(t, 2, e.Connections(), "the endless one was closed")
	}
}

func TestClient_TakesTheStatusOfAnAnswerThatClaimsTenGigabytes(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, deliverytest.Answers(deliverytest.Answer{
		Raw: "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\nhello",
	}))
	require.Equal(t, Delivered, c.Send(t.Context(), request("msg_1")).Verdict)
}

func TestClient_ReportsAnswersThatAreCutOrGarbage(t *testing.T) {
	t.Parallel()
	for name, is := range map[string]struct {
		answer deliverytest.Answer
		reason Reason
		status int
	}{
		"cut before a byte":     {deliverytest.Answer{Cut: deliverytest.CutAtOnce}, ReasonReset, 0},
		"cut in a header line":  {deliverytest.Answer{Cut: deliverytest.CutHeader}, ReasonProtocol, 0}, // looks malformed
		"cut between lines":     {deliverytest.Answer{Raw: "HTTP/1.1 200 OK\r\nX: y\r\n"}, ReasonReset, 0},
		"cut in a 200's body":   {deliverytest.Answer{Cut: deliverytest.CutBody, Body: "half"}, ReasonReset, 200},
		"cut in a 500's body":   {deliverytest.Answer{Cut: deliverytest.CutBody, Body: "half", Status: 500}, ReasonServer, 500},
		"another protocol":      {deliverytest.Answer{Raw: "SSH-2.0-OpenSSH_9.6\r\n"}, ReasonProtocol, 0},
		"a status of letters":   {deliverytest.Answer{Raw: "HTTP/1.1 abc OK\r\n\r\n"}, ReasonProtocol, 0},
		"a status out of range": {deliverytest.Answer{Raw: "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"}, ReasonProtocol, 99},
		"a broken header":       {deliverytest.Answer{Raw: "HTTP/1.1 200 OK\r\n: :\x00\r\n\r\n"}, ReasonProtocol, 0},
		"an endless header": {deliverytest.Answer{
			Raw: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		}, ReasonProtocol, 0},
		"another protocol from now on": {deliverytest.Answer{
			Raw: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		}, ReasonProtocol, 101},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, e := setup(t, deliverytest.Answers(is.answer))
			o := c.Send(t.Context(), request("msg_1"))
			require.Equal(t, Failed, o.Verdict, o.Err)
			require.Equal(t, is.reason, o.Reason, o.Err)
			require.Equal(t, is.status, o.Status)
			require.Equal(t, EffectFailure, o.Effect())
			require.NotEmpty(t, o.Err)
			require.LessOrEqual(t, len(o.Err), errLimit)
			require.Len(t, e.Receipts(), 1, "net/http repeats nothing by itself")
		})
	}
}

func TestClient_RepeatsNothingThatMayHaveBeenProcessed(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"X-Team", "Idempotency-Key", "X-Idempotency-Key"} {
		e := deliverytest.New(t, deliverytest.Answers(deliverytest.Answer{}, deliverytest.Answer{Cut: deliverytest.CutAtOnce}))
		ep := endpointAt(e.URL)
		ep.Headers = [][2]string{{header, "value"}}
		c := newClient(t, ep)
		require.Equal(t, Delivered, c.Send(t.Context(), request("msg_1")).Verdict)
		o := c.Send(t.Context(), request("msg_2"))
		require.Equal(t, Failed, o.Verdict)
		require.Equal(t, ReasonStale, o.Reason, o.Err)
		require.Equal(t, EffectNone, o.Effect(), "a kept-alive connection that was closed tells nothing")
		require.True(t, o.Attempted())
		require.Equal(t, []string{"msg_1", "msg_2"}, e.IDs())
	}
}

func TestClient_SurvivesIdleConnectionsBeingClosed(t *testing.T) {
	t.Parallel()
	c, e := setup(t, nil)
	for range 20 {
		o := c.Send(t.Context(), request("msg_1"))
		require.Contains(t, []Reason{ReasonOK, ReasonStale}, o.Reason, o.Err)
		e.WaitIdle(t)
		e.DropConnections()
	}
}

func TestClient_ReportsWhatKeepsItFromConnecting(t *testing.T) {
	t.Parallel()
	plain, secure := deliverytest.New(t, nil), deliverytest.NewTLS(t, nil)
	closed := deliverytest.New(t, nil)
	closed.Close()
	for name, is := range map[string]struct {
		url    string
		reason Reason
	}{
		"refused":               {closed.URL, ReasonConnect},
		"no such name":          {"http://relay.invalid", ReasonDNS},
		"an unknown authority":  {secure.URL, ReasonTLS},
		"TLS to a plain server": {strings.Replace(plain.URL, "http:", "https:", 1), ReasonTLS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newClient(t, endpointAt(is.url+"/?token=sesame-open")).Send(t.Context(), request("msg_1"))
			require.Equal(t, Failed, o.Verdict)
			require.Equal(t, is.reason, o.Reason, o.Err)
			require.Equal(t, EffectFailure, o.Effect())
			require.NotContains(t, o.Err, "sesame")
		})
	}
}

func TestClient_AbortsWhenTheRelayStops(t *testing.T) {
	t.Parallel()
	c, e := setup(t, deliverytest.Answers(deliverytest.Answer{Hang: true}))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan Outcome, 1)
	go func() { result <- c.Send(ctx, request("msg_1")) }()
	e.Wait(t, 1)
	cancel()
	o := <-result
	require.Equal(t, Aborted, o.Verdict)
	require.Equal(t, ReasonAborted, o.Reason)
	require.Equal(t, EffectNone, o.Effect())
	require.False(t, o.Attempted())
}

func TestClient_RefusesWhatCannotBeAHeader(t *testing.T) {
	t.Parallel()
	c, e := setup(t, nil)
	for _, id := range []string{"", "a\r\nX-Evil: 1", "a\nb", "a\x00", " a", "a ", "\x7f"} {
		o := c.Send(t.Context(), request(id))
		require.Equal(t, Invalid, o.Verdict, "id %q", id)
		require.Equal(t, ReasonInvalid, o.Reason)
		require.NotContains(t, o.Err, "\n")
	}
	r := request("msg_1")
	r.Body.Headers = [][2]string{{"ce-subject", "a\r\nX-Evil: 1"}}
	require.Equal(t, Invalid, c.Send(t.Context(), r).Verdict)
	r.Body.Headers = [][2]string{{"Content-Length", "5"}}
	require.Equal(t, Invalid, c.Send(t.Context(), r).Verdict, "a row has attributes, and no other headers")
	require.Empty(t, e.Receipts())

	r = request("msg_1")
	r.Traceparent = "00-x\r\nX-Evil: 1"
	require.Equal(t, Delivered, c.Send(t.Context(), r).Verdict, "a trace is worth no delivery")
	require.Empty(t, e.Receipts()[0].Header.Get("Traceparent"))
}

func TestNewClient_RefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "ftp://x", "http://", "http://user:sesame\x7f@x", "://sesame", "http://x:sesame"} {
		_, err := NewClient(endpointAt(url), "1")
		require.Error(t, err, url)
		require.ErrorContains(t, err, "billing")
	}
	ep := endpointAt("http://x")
	ep.Headers = [][2]string{{"X", "sesame\r\nY: 1"}}
	_, err := NewClient(ep, "1")
	require.ErrorContains(t, err, `header "X"`)
	require.NotContains(t, err.Error(), "sesame")
}

func TestClient_SendsFiftyMegabytes(t *testing.T) {
	t.Parallel()
	c, e := setup(t, nil)
	r := request("msg_1")
	r.Body.Bytes = bytes.Repeat([]byte("0123456789"), 5<<20)
	require.Equal(t, Delivered, c.Send(t.Context(), r).Verdict)
	require.Equal(t, r.Body.Bytes, e.Receipts()[0].Body)
}

func TestClient_IsNotHeldUpByConnectionsThatNeverCome(t *testing.T) {
	t.Parallel()
	// A listener that accepts nothing: the kernel does, and no TLS greeting comes back.
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	ep := endpointAt("https://" + l.Addr().String())
	ep.Timeout, ep.Concurrency = 100*time.Millisecond, 2
	c := newClient(t, ep)
	for range 5 {
		o := c.Send(t.Context(), request("msg_1"))
		require.Equal(t, ReasonTimeout, o.Reason, o.Err)
		require.Equal(t, "no connection within 100ms", o.Err)
		require.Less(t, o.Duration, 3*time.Second)
	}
}

func TestReasonOf_HasAPlaceForEveryError(t *testing.T) {
	t.Parallel()
	require.Equal(t, ReasonProtocol, reasonOf(errors.New("malformed HTTP response")))
	require.Equal(t, ReasonReset, reasonOf(errors.New("http2: server sent GOAWAY and closed the connection")))
	require.Equal(t, ReasonTimeout, reasonOf(&net.OpError{Op: "read", Err: context.DeadlineExceeded}))
	for _, r := range AllReasons() {
		require.NotEmpty(t, string(r))
	}
}
