package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

func TestTransport_SendsTheSameRequest(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		ep, e := w.scripted(t, nil)
		ep.URL += "/hooks?tenant=7"
		ep.Headers = [][2]string{{"X-Team", "billing"}, {"Host", "inside.example"}}
		ep.Auth.Bearer = "open-sesame"
		ep.Secrets = []mapping.Secret{hmacSecret(t), ed25519Secret(t)}
		r := request("msg_1")
		r.Traceparent, r.Tracestate = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b"
		r.Body.Headers = [][2]string{{"ce-id", "msg_1"}, {"ce-subject", "a%20b"}}
		c := w.client(t, ep)
		require.Equal(t, Delivered, c.Send(t.Context(), r).Verdict)
		got := e.Receipts()[0]
		require.Equal(t, "POST /hooks?tenant=7 HTTP/1.1 inside.example", got.Method+" "+got.Path+" "+got.Proto+" "+got.Host)
		require.Equal(t, r.Body.Bytes, got.Body)
		timestamp := got.Header.Get("Webhook-Timestamp")
		require.Equal(t, http.Header{
			"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {timestamp}, "Content-Type": {"application/json"},
			"Webhook-Signature": {c.signer.sign("msg_1", timestamp, r.Body.Bytes)},
			"User-Agent":        {"relay/1.2.3"}, "Traceparent": {r.Traceparent}, "Tracestate": {"a=b"}, "X-Team": {"billing"},
			"Ce-Id": {"msg_1"}, "Ce-Subject": {"a%20b"}, "Content-Length": {"20"}, "Authorization": {"Bearer open-sesame"},
		}, got.Header)
	})
}

func TestTransport_SaysTheSameOfWhatKeepsItFromConnecting(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		ep, e := w.scripted(t, nil)
		scheme := strings.SplitAfter(ep.URL, "//")[0]
		mute, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // only the kernel accepts
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, mute.Close()) })
		public := mapping.Network{Public: true}
		for name, is := range map[string]struct {
			change func(*mapping.Endpoint)
			want   label
			secure bool // with TLS only
		}{
			"no such name":         {func(ep *mapping.Endpoint) { ep.URL = scheme + "relay.invalid" }, label{Failed, ReasonDNS, 0}, false},
			"denied literal":       {func(ep *mapping.Endpoint) { ep.Network = public }, label{Denied, ReasonDenied, 0}, false},
			"denied name":          {func(ep *mapping.Endpoint) { ep.Network = public; ep.URL = localhost(ep.URL) }, label{Denied, ReasonDenied, 0}, false},
			"denied IPv4 in IPv6":  {func(ep *mapping.Endpoint) { ep.Network = public; ep.URL = disguised(ep.URL) }, label{Denied, ReasonDenied, 0}, false},
			"denied by its ranges": {func(ep *mapping.Endpoint) { ep.Network.Allow = ranges("10.0.0.0/8") }, label{Denied, ReasonDenied, 0}, false},
			"allowed by a range":   {func(ep *mapping.Endpoint) { ep.Network.Allow = ranges("127.0.0.0/8") }, fine, false},
			"an unknown authority": {func(ep *mapping.Endpoint) { ep.TLS.Roots = nil }, label{Failed, ReasonTLS, 0}, true},
			"another name":         {func(ep *mapping.Endpoint) { ep.TLS.ServerName = "other.example" }, label{Failed, ReasonTLS, 0}, true},
			"the name it has":      {func(ep *mapping.Endpoint) { ep.TLS.ServerName = "example.com" }, fine, true},
			"no greeting": {func(ep *mapping.Endpoint) {
				ep.URL, ep.Timeout = scheme+mute.Addr().String(), soon
			}, timedOut, true},
		} {
			if is.secure && !w.secure {
				continue
			}
			own := *ep
			is.change(&own)
			o := w.client(t, &own).Send(t.Context(), request("msg_1"))
			require.Equal(t, is.want, labelOf(o), "%s: %s", name, o.Err)
		}
		e.Close()
		require.Equal(t, label{Failed, ReasonConnect, 0}, labelOf(w.client(t, ep).Send(t.Context(), request("msg_1"))))
	})
}

func ranges(prefix string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(prefix)} }

func localhost(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

func disguised(url string) string { return strings.Replace(url, "127.0.0.1", "[::ffff:127.0.0.1]", 1) }

func TestTransport_ReportsAPlainServerWhereTLSIsWanted(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, nil)
	for _, w := range ways {
		if w.secure {
			ep := endpointAt(strings.Replace(e.URL, "http:", "https:", 1))
			require.Equal(t, label{Failed, ReasonTLS, 0}, labelOf(w.client(t, ep).Send(t.Context(), request("msg_1"))))
		}
	}
}

func TestTransport_ShowsItsCertificateToTheEndpointAlone(t *testing.T) {
	t.Parallel()
	lender := deliverytest.NewTLSHTTP1(t, nil)
	certificate, roots := lender.Certificate(), lender.Roots()
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12,
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200 + len(r.TLS.PeerCertificates))
	}), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	for _, w := range ways {
		if !w.secure {
			continue
		}
		ep := endpointAt("https://" + l.Addr().String())
		ep.TLS.Roots, ep.TLS.Certificate = roots, &certificate
		require.Equal(t, 201, w.client(t, ep).Send(t.Context(), request("msg_1")).Status, w.name)
		ep.TLS.Certificate = nil
		require.Equal(t, ReasonTLS, w.client(t, ep).Send(t.Context(), request("msg_1")).Reason, w.name)
		ep.TLS.Certificate = &certificate
		require.Empty(t, plainTransport(ep).TLSClientConfig.Certificates, "a token endpoint is not shown it")
	}
}

func TestTransport_KeepsAConnectionForEachConcurrentAttemptAndNoMore(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		ep, e := w.scripted(t, deliverytest.Answers(deliverytest.Answer{Body: strings.Repeat("x", 30<<10)}))
		c := w.client(t, ep)
		var workers sync.WaitGroup
		for range 16 { // four times what there may be
			workers.Go(func() {
				for range 20 {
					if o := c.Send(t.Context(), request("msg_1")); o.Verdict != Delivered {
						t.Error(o.Reason, o.Err)
					}
				}
			})
		}
		workers.Wait()
		require.LessOrEqual(t, e.Connections(), ep.Concurrency)
		require.LessOrEqual(t, e.Most(), ep.Concurrency)
		require.Len(t, e.Receipts(), 320)
	})
}

func TestTransport_WaitsForAConnectionNoLongerThanTheTimeout(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		ep, _ := w.scripted(t, deliverytest.Answers(deliverytest.Answer{Hang: true}))
		ep.Concurrency, ep.Timeout = 1, soon
		c := w.client(t, ep)
		var workers sync.WaitGroup
		for range 3 {
			workers.Go(func() {
				o := c.Send(t.Context(), request("msg_1"))
				if o.Reason != ReasonTimeout || o.Duration > 5*time.Second {
					t.Errorf("got %s after %s, want timeout after %s", o.Reason, o.Duration, soon)
				}
			})
		}
		workers.Wait()
	})
}

// ofTransports returns the stacks of goroutines that are at work for a transport.
func ofTransports() []string {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, of := range []string{"relay/delivery/wire.", "net/http.(*persistConn)", "net/http.(*Transport)"} {
			if strings.Contains(stack, of) {
				found = append(found, stack)
				break
			}
		}
	}
	return found
}

// TestTransport_LeavesNothingBehindWhenTheRelayStops ends attempts in each of their phases. It does not run beside other
// tests, whose goroutines it would see.
func TestTransport_LeavesNothingBehindWhenTheRelayStops(t *testing.T) {
	everyWayInTurn(t, func(t *testing.T, w way) {
		for name, is := range map[string]struct {
			say  string
			body int
		}{
			"waiting for an answer": {}, "in an answer's head": {say: "HTTP/1.1 200 OK\r\n"},
			"in an answer's body": {say: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"}, "writing": {body: 16 << 20},
		} {
			t.Run(name, func(t *testing.T) {
				begun := make(chan struct{}, 1)
				ep, _ := w.raw(t, func(c *deliverytest.Caller) {
					c.Head()
					c.Say(is.say)
					begun <- struct{}{}
					c.Hang()
				})
				c := w.client(t, ep)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := request("msg_1")
				r.Body.Bytes = append(r.Body.Bytes, make([]byte, is.body)...)
				result := make(chan Outcome, 1)
				go func() { result <- c.Send(ctx, r) }()
				<-begun
				cancel()
				o := <-result
				require.Equal(t, Aborted, o.Verdict, o.Err)
				require.Equal(t, ReasonAborted, o.Reason)
				require.Less(t, o.Duration, 5*time.Second)
				require.Eventually(t, func() bool { return len(ofTransports()) == 0 }, 5*time.Second, time.Millisecond)
			})
		}
	})
}

// everyWayInTurn is everyWay for tests that count goroutines.
func everyWayInTurn(t *testing.T, test func(*testing.T, way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

func TestTransport_EndsTheDialWhenTheRelayStops(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	for _, w := range ways {
		if !w.secure {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan Outcome, 1)
		go func() { result <- w.client(t, endpointAt("https://"+l.Addr().String())).Send(ctx, request("msg_1")) }()
		conn, err := l.Accept() // the dial is done, and the handshake not
		require.NoError(t, err)
		cancel()
		require.Equal(t, Aborted, (<-result).Verdict)
		require.NoError(t, conn.Close())
	}
}

func TestTransport_SendsFiftyMegabytesToASlowReader(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		var got atomic.Int64
		ep, _ := w.raw(t, func(c *deliverytest.Caller) {
			req, ok := c.Request()
			if ok {
				got.Store(req.ContentLength)
				c.Say(okAnswer)
			}
		})
		ep.Timeout = time.Minute
		r := request("msg_1")
		r.Body.Bytes = bytes.Repeat([]byte("0123456789"), 5<<20)
		require.Equal(t, fine, labelOf(w.client(t, ep).Send(t.Context(), r)))
		require.EqualValues(t, 50<<20, got.Load())
	})
}

func TestTransport_TakesNoConnectionThatWasClosedWhileIdle(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		ep, e := w.scripted(t, nil)
		c := w.client(t, ep)
		for range 20 {
			o := c.Send(t.Context(), request("msg_1"))
			if !w.net { // which notices on a goroutine of its own, in time or not
				require.Equal(t, fine, labelOf(o), o.Err)
			}
			require.Contains(t, []Reason{ReasonOK, ReasonStale}, o.Reason, o.Err)
			e.WaitIdle(t)
			e.DropConnections()
		}
		if !w.net {
			require.Equal(t, 20, e.Connections())
		}
	})
}

func TestTransport_KeepsNoConnectionOnceTheClientIsClosed(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		ended := make(chan int, 8)
		ep, server := w.raw(t, func(c *deliverytest.Caller) {
			c.Answer(okAnswer)
			ended <- c.N
		})
		c := w.client(t, ep)
		require.Equal(t, fine, labelOf(c.Send(t.Context(), request("msg_1"))))
		c.Close()
		require.Zero(t, <-ended, "the idle connection is closed")
		require.Equal(t, fine, labelOf(c.Send(t.Context(), request("msg_2"))), "and the client remains usable")
		require.Equal(t, 2, server.Connections())
	})
}

func TestTransport_FinishesAnAttemptAfterTheClientIsClosed(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		begun, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		ep, _ := w.raw(t, func(c *deliverytest.Caller) {
			c.Request()
			close(begun)
			<-goOn
			c.Say(okAnswer)
			c.Request()
			close(ended)
		})
		c := w.client(t, ep)
		result := make(chan Outcome, 1)
		go func() { result <- c.Send(t.Context(), request("msg_1")) }()
		<-begun
		c.Close()
		close(goOn)
		require.Equal(t, fine, labelOf(<-result))
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			require.Fail(t, "the connection is kept, and nobody will ever close it")
		}
	})
}

func TestTransport_RenewsARefusedToken(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		tokens := tokenEndpoint(t, time.Hour)
		ep, e := w.scripted(t, deliverytest.Statuses(200, 401, 200))
		c := w.client(t, withOAuth2(ep, tokens))
		// The token endpoint of the test speaks plain HTTP.
		for range 2 {
			require.Equal(t, fine, labelOf(c.Send(t.Context(), request("msg_1"))))
		}
		require.Equal(t, "Bearer the-token-0", e.Receipts()[1].Header.Get("Authorization"))
		require.Equal(t, "Bearer the-token-1", e.Receipts()[2].Header.Get("Authorization"))
	})
}

func TestTransport_CarriesTheSpanOfTheAttempt(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		ep, e := w.scripted(t, nil)
		provider := sdktrace.NewTracerProvider()
		s := NewTraced(w.client(t, ep), ep, provider.Tracer("test"))
		r := request("msg_1")
		r.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		require.Equal(t, fine, labelOf(s.Send(t.Context(), r)))
		require.Regexp(t, "^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$", e.Receipts()[0].Header.Get("Traceparent"))
	})
}

func TestTransport_SpeaksHTTP2FromTheFirstAttempts(t *testing.T) {
	t.Parallel()
	e := deliverytest.NewTLS(t, nil)
	ep := endpointAt(e.URL)
	ep.TLS.Roots, ep.Concurrency = e.Roots(), 16
	c := newClient(t, ep)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for range 5 {
				if o := c.Send(t.Context(), request("msg_1")); o.Verdict != Delivered {
					t.Error(o.Reason, o.Err)
				}
			}
		})
	}
	workers.Wait()
	for _, r := range e.Receipts() {
		require.Equal(t, "HTTP/2.0", r.Proto)
	}
	require.LessOrEqual(t, e.Connections(), 16)
}

// TestTransport_FollowsWhatTheLastHandshakeSays has an endpoint learn HTTP/2, and forget it.
func TestTransport_FollowsWhatTheLastHandshakeSays(t *testing.T) {
	t.Parallel()
	old, modern := deliverytest.NewTLSHTTP1(t, nil), deliverytest.NewTLS(t, nil)
	var to atomic.Pointer[deliverytest.Endpoint]
	front := deliverytest.NewRaw(t, func(c *deliverytest.Caller) { forward(c, to.Load()) })
	ep := endpointAt(strings.Replace(front.URL, "http:", "https:", 1))
	ep.TLS.Roots = old.Roots()
	c := newClient(t, ep)
	for i, is := range []struct {
		e     *deliverytest.Endpoint
		proto string
	}{{old, "HTTP/1.1"}, {modern, "HTTP/2.0"}, {old, "HTTP/1.1"}, {modern, "HTTP/2.0"}} {
		to.Store(is.e)
		for range 3 {
			var o Outcome
			require.Eventually(t, func() bool { // net/http may find out only with an attempt that its connection is gone
				o = c.Send(t.Context(), request(fmt.Sprintf("msg_%d", i)))
				return o.Verdict == Delivered
			}, 10*time.Second, time.Millisecond, "%s", o.Err)
		}
		got := is.e.Receipts()
		require.Equal(t, is.proto, got[len(got)-1].Proto)
		require.Equal(t, fmt.Sprintf("msg_%d", i), got[len(got)-1].ID())
		require.Equal(t, is.proto == "HTTP/2.0", c.transport.(*negotiated).http2.Load(), "HTTP/1.1 is for our own connections")
		is.e.WaitIdle(t)
		is.e.DropConnections()
	}
}

// forward carries bytes between the caller and the endpoint until one of them ends.
func forward(c *deliverytest.Caller, e *deliverytest.Endpoint) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "https://"))
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(conn, c.Conn)
		_ = conn.Close()
	}()
	_, _ = io.Copy(c.Conn, conn)
}

func TestNewTransport_LeavesToNetHTTPWhatIsUnusual(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://x.example/a?b=c": "*delivery.ownHTTP", "http://127.0.0.1:8080": "*delivery.ownHTTP", "http://[::1]:80/": "*delivery.ownHTTP",
		"https://x.example": "*delivery.negotiated", "http://bücher.example": "*delivery.netHTTP", "https://bücher.example": "*delivery.netHTTP",
		"http://[fe80::1%25eth0]/": "*delivery.netHTTP", "http://x.example/?a b": "*delivery.netHTTP", "http://x.example/?ä": "*delivery.netHTTP",
	} {
		require.Equal(t, want, fmt.Sprintf("%T", newClient(t, endpointAt(url)).transport), url)
	}
	for _, h := range [][2]string{
		{"Expect", "100-continue"},
		{"Connection", "close"},
		{"Transfer-Encoding", "chunked"},
		{"Content-Length", "5"},
		{"idempotency-key", "x"},
		{"webhook-id", "x"},
		{"ce-id", "x"},
		{"Traceparent", "x"},
		{"proxy-authorization", "x"},
		{"Host", "bücher.example"},
		{"Upgrade", "x"},
		{"Trailer", "x"},
	} {
		ep := endpointAt("http://x.example")
		ep.Headers = [][2]string{h}
		require.IsType(t, &netHTTP{}, newClient(t, ep).transport, h[0])
	}
	ep := endpointAt("http://x.example")
	ep.Headers = [][2]string{{"X-Team", "billing"}, {"Authorization", "Key x"}, {"Accept", "*/*"}, {"Host", "y.example"}}
	require.IsType(t, &ownHTTP{}, newClient(t, ep).transport)
}
