package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

const receivers = repository + "/examples/receivers"

func TestTheGoReceiverCountsEachEventOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "receiver")
	text, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "relay/examples/receivers/go").CombinedOutput()
	require.NoError(t, err, string(text))
	requireIdempotent(t, exec.CommandContext(t.Context(), path), "DATABASE_URL="+pgtest.Database(t))
}

func TestTheNodeReceiverCountsEachEventOnce(t *testing.T) {
	t.Parallel()
	node := needNode(t, filepath.Join(receivers, "node"))
	requireIdempotent(t, exec.CommandContext(t.Context(), node, receivers+"/node/receiver.mjs"), "DATABASE_URL="+pgtest.Database(t))
}

func TestThePythonReceiverCountsEachEventOnce(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("skipped: python3 is not on this machine")
	}
	requireIdempotent(t, exec.CommandContext(t.Context(), python, receivers+"/python/receiver.py"),
		"DATABASE="+filepath.Join(t.TempDir(), "received.db"))
}

// requireIdempotent runs a receiver behind a network that loses the first answer to each event, so that relay sends every
// one twice, and forges what relay did not send.
func requireIdempotent(t *testing.T, receiver *exec.Cmd, env string) {
	t.Helper()
	s, err := newSecrets()
	require.NoError(t, err)
	old, err := newSecrets()
	require.NoError(t, err)
	url := startReceiver(t, receiver, env, "RELAY_SECRET="+s.HMAC)
	network := &lossyNetwork{to: url, seen: map[string]int{}}
	proxy := httptest.NewServer(network)
	t.Cleanup(proxy.Close)
	r := startRelay(t, "  shop: {url: \""+proxy.URL+"/webhooks\", secrets: ["+old.HMAC+", "+s.HMAC+"], retry: {delays: [100ms, 100ms, 1s]}, breaker: {open: 200ms}}\n")

	const orders = 5
	for range orders {
		r.Insert("order.created", `{"total": 20.10}`, "")
	}
	r.Insert("user.created", `{"name": "alice"}`, "") // not this receiver's business
	r.eventually(func() bool { return network.twice() == orders+1 }, "every event twice")
	requireRevenue(t, url, orders)

	for name, change := range map[string]func(h http.Header, body []byte) []byte{
		"another body": func(_ http.Header, body []byte) []byte {
			return bytes.Replace(body, []byte("20.10"), []byte("99999"), 1)
		},
		"another id":    func(h http.Header, body []byte) []byte { h.Set("webhook-id", "msg_forged"); return body },
		"no signature":  func(h http.Header, body []byte) []byte { h.Del("webhook-signature"); return body },
		"old timestamp": func(h http.Header, body []byte) []byte { h.Set("webhook-timestamp", "1614265330"); return body },
		"odd timestamp": func(h http.Header, body []byte) []byte { h.Set("webhook-timestamp", "soon"); return body },
		"odd signature": func(h http.Header, body []byte) []byte { h.Set("webhook-signature", "v1 v1, v1,? ,"); return body },
	} {
		header, body := network.recorded()
		require.Equal(t, http.StatusUnauthorized, post(t, url+"/webhooks", header, change(header, body)).StatusCode, name)
	}
	header, body := network.recorded()
	require.Equal(t, http.StatusNoContent, post(t, url+"/webhooks", header, body).StatusCode, "a third time is fine too")
	requireRevenue(t, url, orders)
}

func startReceiver(t *testing.T, cmd *exec.Cmd, env ...string) string {
	t.Helper()
	cmd.Env = append(append(os.Environ(), "PORT=0"), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening at ")
	require.True(t, ok, line)
	return url
}

func requireRevenue(t *testing.T, url string, orders int) {
	t.Helper()
	resp, err := http.Get(url + "/revenue")
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // a test's answer
	var revenue struct {
		Orders int
		Total  json.Number
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&revenue))
	require.Equal(t, orders, revenue.Orders)
	total, err := revenue.Total.Float64()
	require.NoError(t, err)
	require.InDelta(t, 20.10*float64(orders), total, 0.001)
}

func post(t *testing.T, url string, header http.Header, body []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

// lossyNetwork passes requests on, and loses the first answer to each event.
type lossyNetwork struct {
	to string

	mu     sync.Mutex
	seen   map[string]int
	header http.Header // of an order
	body   []byte
}

// ServeHTTP passes one request on.
func (n *lossyNetwork) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, n.to+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = resp.Body.Close() // it is empty
	if n.first(r.Header, body) {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(resp.StatusCode)
}

func (n *lossyNetwork) first(header http.Header, body []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if bytes.Contains(body, []byte("order.created")) {
		n.header, n.body = header.Clone(), body
	}
	n.seen[header.Get("Webhook-Id")]++
	return n.seen[header.Get("Webhook-Id")] == 1
}

// twice is how many events came twice.
func (n *lossyNetwork) twice() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	events := 0
	for _, times := range n.seen {
		if times >= 2 {
			events++
		}
	}
	return events
}

// recorded is a request that relay sent.
func (n *lossyNetwork) recorded() (http.Header, []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.header.Clone(), bytes.Clone(n.body)
}
