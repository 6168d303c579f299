package delivery

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

// receiver answers every request on every connection with 200, as cheaply as can be: what is measured is the client. With
// a configuration of TLS it speaks that.
func receiver(b *testing.B, config *tls.Config) string {
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	url := "http://" + l.Addr().String()
	if config != nil {
		l = tls.NewListener(l, config)
		url = "https://" + l.Addr().String()
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(conn)
		}
	}()
	return url
}

// answerAll expects requests whose body is 300 times x, which headers do not have in a row.
func answerAll(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	for {
		for { // headers
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := r.Discard(300); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

// reportCPU reports what an attempt costs of the processors, the receiver's part included: on a machine that does other
// things too, that says more than the time it took.
func reportCPU(b *testing.B) (end func()) {
	spent := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := spent()
	return func() { b.ReportMetric(float64(spent()-before)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkClient_Send is one attempt with one HMAC secret, 16 at once on average, by each transport.
func BenchmarkClient_Send(b *testing.B) {
	lender := deliverytest.NewTLSHTTP1(b, nil)
	config := &tls.Config{Certificates: []tls.Certificate{lender.Certificate()}}
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			ep := &mapping.Endpoint{
				Name: "billing", Timeout: 15 * time.Second, Concurrency: 32, Secrets: []mapping.Secret{hmacSecret(b)},
			}
			if ep.URL = receiver(b, nil); w.secure {
				ep.URL, ep.TLS.Roots = receiver(b, config), lender.Roots()
			}
			c := w.client(b, ep)
			body := mapping.Body{Bytes: []byte(strings.Repeat("x", 300)), ContentType: "application/json"}
			b.SetParallelism(8)
			b.ReportAllocs()
			defer reportCPU(b)()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if o := c.Send(b.Context(), &Request{ID: vectorID, Body: body}); o.Verdict != Delivered {
						b.Error(o.Reason, o.Err)
					}
				}
			})
		})
	}
}

// BenchmarkDirect is the least that an attempt can cost: prepared bytes written to connections that nobody manages, the
// answer read by http.ReadResponse.
func BenchmarkDirect(b *testing.B) {
	address := strings.TrimPrefix(receiver(b, nil), "http://")
	request := []byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + strings.Repeat("x", 300))
	b.SetParallelism(8)
	b.ReportAllocs()
	defer reportCPU(b)()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close() //nolint:errcheck // the benchmark is over
		r := bufio.NewReader(conn)
		for pb.Next() {
			if _, err = conn.Write(request); err == nil {
				_, err = http.ReadResponse(r, nil)
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkPlainHTTP is the same with a tuned http.Client and nothing of ours, for comparison.
func BenchmarkPlainHTTP(b *testing.B) {
	url := receiver(b, nil)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}}
	body := strings.Repeat("x", 300)
	b.SetParallelism(8)
	b.ReportAllocs()
	defer reportCPU(b)()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Webhook-Id", vectorID)
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}

// BenchmarkClient_head is what an attempt costs before it is written.
func BenchmarkClient_head(b *testing.B) {
	ep := endpointAt("http://127.0.0.1")
	ep.Secrets = []mapping.Secret{hmacSecret(b)}
	c := newClient(b, ep)
	r := &Request{ID: vectorID, Body: mapping.Body{Bytes: []byte(strings.Repeat("x", 300)), ContentType: "application/json"}}
	buf := make([]byte, 0, keptRequest)
	b.ReportAllocs()
	for b.Loop() {
		c.head.append(buf, c, r, time.Now(), "")
	}
}
