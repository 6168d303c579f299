package delivery

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

const (
	idleConns  = 256
	idleServer = "RELAY_IDLE_SERVER" // has the test binary play the server
)

// TestIdleServer is the server of the tests of idle connections, in a process of its own so that what it needs is not
// counted. It answers when all connections have a request.
func TestIdleServer(t *testing.T) {
	t.Parallel()
	scheme := os.Getenv(idleServer)
	if scheme == "" {
		t.Skip("the tests of idle connections start it")
	}
	var n atomic.Int32
	all := make(chan struct{})
	script := func(deliverytest.Receipt) deliverytest.Answer {
		if n.Add(1) == idleConns {
			close(all)
		}
		<-all
		return deliverytest.Answer{}
	}
	e := map[string]func(testing.TB, deliverytest.Script) *deliverytest.Endpoint{
		"http": deliverytest.New, "https": deliverytest.NewTLSHTTP1,
	}[scheme](t, script)
	fmt.Println(e.URL)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other process ends
}

// idleCost returns what a connection costs while nobody uses it: bytes of heap and of stacks, and goroutines.
func idleCost(t testing.TB, w way) (heap, stack, goroutines float64) {
	t.Helper()
	url, lender := startIdleServer(t, w), deliverytest.NewTLSHTTP1(t, nil)
	ep := endpointAt(url)
	ep.TLS.Roots, ep.Concurrency, ep.Timeout = lender.Roots(), idleConns, time.Minute
	c := w.client(t, ep)
	heapBefore, stackBefore := inUse()
	before := runtime.NumGoroutine()
	var senders sync.WaitGroup
	for range idleConns {
		senders.Go(func() {
			if o := c.Send(t.Context(), request("msg_1")); o.Verdict != Delivered {
				t.Error(o.Reason, o.Err)
			}
		})
	}
	senders.Wait()
	heap, stack, goroutines = math.Inf(1), math.Inf(1), math.Inf(1)
	for range 10 { // the least: what is about to end or to be given back is not the connections'
		time.Sleep(20 * time.Millisecond) // for that
		h, s := inUse()
		heap, stack = min(heap, (h-heapBefore)/idleConns), min(stack, (s-stackBefore)/idleConns)
		goroutines = min(goroutines, float64(runtime.NumGoroutine()-before)/idleConns)
	}
	return heap, stack, goroutines
}

func startIdleServer(t testing.TB, w way) (url string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestIdleServer$", "-test.timeout", "2m")
	cmd.Env = append(os.Environ(), idleServer+"="+map[bool]string{false: "http", true: "https"}[w.secure])
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return strings.TrimSpace(line)
}

// inUse returns the bytes that heap and stacks need.
func inUse() (heap, stack float64) {
	for range 3 { // twice for what pools keep
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), float64(m.StackInuse)
}

// TestTransport_AnIdleConnectionCostsLittle does not run beside other tests, whose memory it would count.
func TestTransport_AnIdleConnectionCostsLittle(t *testing.T) {
	for _, is := range []struct {
		way  way
		most float64
	}{{ways[0], 2 << 10}, {ways[1], 16 << 10}} {
		heap, stack, goroutines := idleCost(t, is.way)
		t.Logf("%s: %.0f + %.0f bytes", is.way.name, heap, stack)
		require.Less(t, heap, is.most, is.way.name)
		require.Less(t, goroutines, 0.1, is.way.name)
	}
}

// BenchmarkClient_Idle shows what a connection costs while nobody uses it.
func BenchmarkClient_Idle(b *testing.B) {
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				heap, stack, goroutines := idleCost(b, w)
				b.ReportMetric(heap+stack, "B/conn")
				b.ReportMetric(goroutines, "goroutines/conn")
			}
		})
	}
}
