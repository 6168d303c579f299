package delivery

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

// way is a transport, and what it goes over. Whatever is said of attempts holds for all of them.
type way struct {
	name   string
	net    bool // net/http, which is usual for HTTP/2 only
	secure bool // TLS, without HTTP/2
}

var ways = []way{
	{"own connections over http", false, false},
	{"own connections over https", false, true},
	{"net/http over http", true, false},
	{"net/http over https", true, true},
}

func everyWay(t *testing.T, test func(*testing.T, way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// client returns a client that goes this way.
func (w way) client(t testing.TB, ep *mapping.Endpoint) *Client {
	t.Helper()
	c := newClient(t, ep)
	if w.net {
		c.transport.close()
		n := newNetHTTP(c, ep)
		n.transport.ForceAttemptHTTP2 = false
		c.transport = n
	}
	return c
}

// raw returns an endpoint that speaks bytes, and its configuration.
func (w way) raw(t testing.TB, serve func(*deliverytest.Caller)) (*mapping.Endpoint, *deliverytest.Raw) {
	t.Helper()
	if !w.secure {
		r := deliverytest.NewRaw(t, serve)
		return endpointAt(r.URL), r
	}
	r := deliverytest.NewRawTLS(t, serve)
	ep := endpointAt(r.URL)
	ep.TLS.Roots = r.Roots()
	return ep, r
}

// scripted returns a scripted endpoint, and its configuration.
func (w way) scripted(t testing.TB, script deliverytest.Script) (*mapping.Endpoint, *deliverytest.Endpoint) {
	t.Helper()
	if !w.secure {
		e := deliverytest.New(t, script)
		return endpointAt(e.URL), e
	}
	e := deliverytest.NewTLSHTTP1(t, script)
	ep := endpointAt(e.URL)
	ep.TLS.Roots = e.Roots()
	return ep, e
}

const (
	okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	soon     = 300 * time.Millisecond // a timeout that is waited for
)

// label is what is compared of an outcome: what decides, and what is counted.
type label struct {
	verdict Verdict
	reason  Reason
	status  int
}

func labelOf(o Outcome) label { return label{o.Verdict, o.Reason, o.Status} }

var (
	fine     = label{Delivered, ReasonOK, 200}
	broken   = label{Failed, ReasonProtocol, 0}
	reset    = label{Failed, ReasonReset, 0}
	stale    = label{Failed, ReasonStale, 0}
	timedOut = label{Failed, ReasonTimeout, 0}
)

// conversation is what a server does on each of its connections, and what comes of the attempts.
type conversation struct {
	serve func(*deliverytest.Caller)
	want  []label // of as many attempts, one after the other
	conns int     // connections they take; 0: it does not matter
	body  int     // bytes of it; 0: a few
	racy  bool    // net/http may hand the connection on before it sees what is wrong with it: its first attempt counts
	late  bool    // an attempt lasts until it is too late
}

// conversations are the answers of servers as they should be, as they are, and as those would have them who mean harm.
var conversations = map[string]conversation{
	"an answer is kept alive": {
		serve: func(c *deliverytest.Caller) { c.Answer(okAnswer) },
		want:  []label{fine, fine, fine}, conns: 1,
	},
	"connection: close": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		},
		want: []label{fine, fine}, conns: 2,
	},
	"HTTP/1.0": {
		serve: func(c *deliverytest.Caller) { c.Answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok") },
		want:  []label{fine, fine}, conns: 2,
	},
	"HTTP/1.0 without an end but the connection's": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.0 200 OK\r\n\r\nok")
		},
		want: []label{fine, fine}, conns: 2,
	},
	"HTTP/1.0 that keeps alive": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
		},
		want: []label{fine, fine}, conns: 1,
	},
	"chunked": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
		},
		want: []label{fine, fine}, conns: 1,
	},
	"chunked with a trailer": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
		},
		want: []label{fine, fine}, conns: 1,
	},
	"chunked error with text": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")
		},
		want: []label{{Failed, ReasonServer, 500}, {Failed, ReasonServer, 500}}, conns: 1,
	},
	"chunked without a last chunk": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
		},
		want: []label{{Failed, ReasonReset, 200}}, conns: 1,
	},
	"chunks of no size": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n")
		},
		want: []label{{Failed, ReasonProtocol, 200}},
	},
	"a body that ends with the connection": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\n\r\nall is well")
		},
		want: []label{fine, fine}, conns: 2,
	},
	"a body shorter than it says": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
		},
		want: []label{{Failed, ReasonReset, 200}}, conns: 1,
	},
	"an error's body shorter than it says": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 410 Gone\r\nContent-Length: 10\r\n\r\nshort")
		},
		want: []label{{Gone, ReasonGone, 410}}, conns: 1,
	},
	"a body longer than it says is never the next answer": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
			c.Hang()
		},
		want: []label{fine, fine, fine}, conns: 3, racy: true,
	},
	"two answers for one request": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say(okAnswer + "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
			c.Hang()
		},
		want: []label{fine, fine, fine}, conns: 3, racy: true,
	},
	"two answers where the second begins behind a full buffer": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			head := "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nX: "
			head += strings.Repeat("x", 4096-4000-len(head)-4) + "\r\n\r\n"
			c.Say(head + strings.Repeat("y", 4000) + "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
			c.Hang()
		},
		want: []label{fine, fine, fine}, conns: 3, racy: true,
	},
	"a 204 with a body": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\nHTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
			c.Hang()
		},
		want: []label{{Delivered, ReasonOK, 204}, {Delivered, ReasonOK, 204}}, conns: 2, racy: true,
	},
	"a 304 with a body": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
			c.Hang()
		},
		want: []label{{Rejected, ReasonRedirect, 304}, {Rejected, ReasonRedirect, 304}}, conns: 2, racy: true,
	},
	"100, 102 and 103 go before": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" +
				"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + okAnswer)
		},
		want: []label{fine, fine}, conns: 1,
	},
	"1xx without end": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			for c.Say(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 100)) {
				continue
			}
		},
		want: []label{broken},
	},
	"101": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
		},
		want: []label{{Failed, ReasonProtocol, 101}, {Failed, ReasonProtocol, 101}}, conns: 2,
	},
	"a header without end": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nX: ")
			for c.Say(strings.Repeat("x", 4<<10)) {
				continue
			}
		},
		want: []label{broken},
	},
	"headers without end": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\n")
			for c.Say(strings.Repeat("X: x\r\n", 1<<10)) {
				continue
			}
		},
		want: []label{broken},
	},
	"a header of 60 KB": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 60<<10) + "\r\nContent-Length: 0\r\n\r\n")
		},
		want: []label{fine, fine}, conns: 1,
	},
	"a body of 60 KB is read to its end": {
		serve: func(c *deliverytest.Caller) {
			c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 61440\r\n\r\n" + strings.Repeat("x", 61440))
		},
		want: []label{fine, fine}, conns: 1,
	},
	"a body of ten gigabytes is not": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 500 No\r\nContent-Length: 10737418240\r\n\r\n" + strings.Repeat("x", textLimit)) // what is read of it
			c.Answer(okAnswer)                                                                               // to a request that would come in the middle of it
		},
		want: []label{{Failed, ReasonServer, 500}, {Failed, ReasonServer, 500}}, conns: 2,
	},
	"a body without end is not": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\n\r\n")
			for c.Say(strings.Repeat("x", 4<<10)) {
				continue
			}
		},
		want: []label{fine, fine}, conns: 2,
	},
	"another protocol": {
		serve: func(c *deliverytest.Caller) {
			c.Say("SSH-2.0-OpenSSH_9.6\r\n")
			c.Request()
		},
		want: []label{broken},
	},
	"noise": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say(strings.Repeat("\xff\x00\r\n", 1<<10))
		},
		want: []label{broken},
	},
	"a status of letters": {serve: saying("HTTP/1.1 abc OK\r\n\r\n"), want: []label{broken}},
	"a version of letters": {
		serve: saying("HTTP/x.y 200 OK\r\n\r\n"), want: []label{broken},
	},
	"no reason phrase": {serve: saying("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), want: []label{fine, fine}, conns: 1},
	"lines without carriage returns": {
		serve: saying("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), want: []label{fine, fine}, conns: 1,
	},
	"two different lengths": {
		serve: saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk"), want: []label{broken},
	},
	"a negative length":     {serve: saying("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n"), want: []label{broken}},
	"an unknown encoding":   {serve: saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: zip\r\n\r\nok"), want: []label{broken}},
	"a header without name": {serve: saying("HTTP/1.1 200 OK\r\n: :\x00\r\n\r\n"), want: []label{broken}},
	"a status that is none": {
		serve: saying("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"), want: []label{{Failed, ReasonProtocol, 99}},
	},
	"a status of zeros": {
		serve: saying("HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"), want: []label{{Failed, ReasonProtocol, 0}},
	},
	"a status above all": {
		serve: saying("HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n"), want: []label{{Failed, ReasonProtocol, 999}},
	},
	"closed before a byte":  {serve: func(c *deliverytest.Caller) { c.Request() }, want: []label{reset, reset}, conns: 2},
	"reset before a byte":   {serve: func(c *deliverytest.Caller) { c.Request(); c.Reset() }, want: []label{reset, reset}, conns: 2},
	"closed between lines":  {serve: cutting("HTTP/1.1 200 OK\r\nX: y\r\n"), want: []label{reset}},
	"closed in a line":      {serve: cutting("HTTP/1.1 200 OK\r\nX"), want: []label{broken}}, // looks malformed
	"closed in the first":   {serve: cutting("HTTP/1.1 20"), want: []label{broken}},
	"closed at once":        {serve: func(*deliverytest.Caller) {}, want: []label{reset}, conns: 1},
	"a 2xx cut before text": {serve: cutting("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), want: []label{{Failed, ReasonReset, 200}}},
	"a kept connection is closed without an answer": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say(okAnswer)
			c.Request()
		},
		want: []label{fine, stale, fine, stale}, conns: 2,
	},
	"a kept connection is reset without an answer": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say(okAnswer)
			c.Request()
			c.Reset()
		},
		want: []label{fine, stale, fine, stale}, conns: 2,
	},
	"a kept connection is closed in the next answer": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say(okAnswer)
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\n")
		},
		want: []label{fine, reset, fine, reset}, conns: 2,
	},
	"a kept connection is closed in the next answer's body": {
		serve: func(c *deliverytest.Caller) {
			c.Request()
			c.Say(okAnswer)
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok")
		},
		want: []label{fine, {Failed, ReasonReset, 200}, fine}, conns: 2,
	},
	"nothing is ever said": {
		serve: func(c *deliverytest.Caller) { c.Hang() }, want: []label{timedOut}, late: true,
	},
	"a head of a byte now and then": {
		serve: trickling("HTTP/1.1 200 OK\r\nX: "), want: []label{timedOut}, late: true,
	},
	"a body of a byte now and then": {
		serve: trickling("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
		want:  []label{{Failed, ReasonTimeout, 200}}, late: true,
	},
	"an error's body of a byte now and then": {
		serve: trickling("HTTP/1.1 410 Gone\r\nContent-Length: 5000\r\n\r\n"),
		want:  []label{{Failed, ReasonTimeout, 410}}, late: true,
	},
	"a body that stops":   {serve: hanging("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"), want: []label{{Failed, ReasonTimeout, 200}}, late: true},
	"a head that stops":   {serve: hanging("HTTP/1.1 200 OK\r\nX: y\r\n"), want: []label{timedOut}, late: true},
	"chunks that stop":    {serve: hanging("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), want: []label{{Failed, ReasonTimeout, 200}}, late: true},
	"1xx and then no end": {serve: hanging("HTTP/1.1 103 Early Hints\r\n\r\n"), want: []label{timedOut}, late: true},
	"a request that is not read": {
		serve: func(c *deliverytest.Caller) { c.Hang() }, body: 16 << 20, want: []label{timedOut}, late: true,
	},
	"a request that is read slowly": {
		serve: func(c *deliverytest.Caller) {
			c.Slow(time.Millisecond)
			c.Answer(okAnswer)
		},
		body: 1 << 20, want: []label{fine, fine}, conns: 1,
	},
	"an answer before the request was read": {
		serve: func(c *deliverytest.Caller) {
			c.Head()
			c.Say("HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
			c.Hang()
		},
		body: 16 << 20, want: []label{{Rejected, ReasonRejected, 413}, {Rejected, ReasonRejected, 413}}, conns: 2,
	},
	"a long request": {
		serve: func(c *deliverytest.Caller) { c.Answer(okAnswer) }, body: 1 << 20, want: []label{fine, fine}, conns: 1,
	},
	"a request that just fits into one write": {
		serve: func(c *deliverytest.Caller) { c.Answer(okAnswer) }, body: 16<<10 - 200, want: []label{fine, fine}, conns: 1,
	},
}

// saying answers each request with the text.
func saying(text string) func(*deliverytest.Caller) {
	return func(c *deliverytest.Caller) { c.Answer(text) }
}

// cutting says the text and closes the connection.
func cutting(text string) func(*deliverytest.Caller) {
	return func(c *deliverytest.Caller) {
		c.Request()
		c.Say(text)
	}
}

// hanging says the text and nothing more.
func hanging(text string) func(*deliverytest.Caller) {
	return func(c *deliverytest.Caller) {
		c.Request()
		c.Say(text)
		c.Hang()
	}
}

// trickling says the text, and then a byte now and then.
func trickling(text string) func(*deliverytest.Caller) {
	return func(c *deliverytest.Caller) {
		c.Request()
		c.Say(text)
		for c.Say("x") {
			time.Sleep(5 * time.Millisecond) // slowly
		}
	}
}

func TestTransport_SaysTheSameOfEveryConversation(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		for name, is := range conversations {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				is.hold(t, w)
			})
		}
	})
}

func (is conversation) hold(t *testing.T, w way) {
	ep, server := w.raw(t, is.serve)
	if is.late {
		ep.Timeout = soon
	}
	c := w.client(t, ep)
	r := request("msg_1")
	if is.body > 0 {
		r.Body.Bytes = bytes.Repeat([]byte("x"), is.body)
	}
	for i, want := range is.want {
		o := c.Send(t.Context(), r)
		if w.net && is.racy && i > 0 {
			return
		}
		require.Equal(t, want, labelOf(o), "attempt %d: %s", i, o.Err)
		require.LessOrEqual(t, len(o.Err), errLimit)
		if is.late {
			require.GreaterOrEqual(t, o.Duration, soon)
		}
		require.Less(t, o.Duration, 5*time.Second)
	}
	if is.conns > 0 {
		require.Equal(t, is.conns, server.Connections())
	}
}
