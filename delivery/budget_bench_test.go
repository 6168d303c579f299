package delivery

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func BenchmarkBudget_Sign(b *testing.B) {
	id, timestamp, body := vectorID, []byte(vectorTimestamp), []byte(strings.Repeat("x", 300))
	for name, secret := range map[string]mapping.Secret{"hmac": hmacSecret(b), "ed25519": ed25519Secret(b)} {
		b.Run(name, func(b *testing.B) {
			s := newSigner([]mapping.Secret{secret})
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				out = s.append(out[:0], id, timestamp, body)
			}
		})
	}
}

// instantSender answers 200 without a network.
type instantSender struct{}

func (instantSender) Send(context.Context, *Request) Outcome { return delivered }
func (instantSender) Close()                                 {}

// semaphore is a Settler that lets so many events be under way at once, so that a run can be awaited.
type semaphore chan struct{}

func (s semaphore) Add(int) { s <- struct{}{} }
func (s semaphore) Settle() { <-s }

// schedule is a dispatcher with as many endpoints as asked for, whose attempts cost nothing.
type schedule struct {
	*Dispatcher
	targets []mapping.Target
	events  []mapping.Event // used again and again, more of them than are ever under way
	next    uint32
	tx      semaphore
}

func newSchedule(tb testing.TB, endpoints int) *schedule {
	tb.Helper()
	s := &schedule{events: make([]mapping.Event, 4096), tx: make(semaphore, 1024)}
	eps := make([]*mapping.Endpoint, endpoints)
	for i := range eps {
		eps[i] = testEndpoint()
		eps[i].Name, eps[i].Index, eps[i].Concurrency = "e"+string(rune('a'+i)), i, 16
		s.targets = append(s.targets, mapping.Target{Endpoint: eps[i]})
	}
	var err error
	s.Dispatcher, err = NewDispatcher(Config{
		Parker: &memoryParker{}, Window: mapping.Window{Events: 20_000, Bytes: 64 << 20}, Hold: time.Hour,
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
		NewSender: func(*mapping.Endpoint) (Sender, error) { return instantSender{}, nil },
	}, eps, nil)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Stop(context.Background())) })
	return s
}

// one dispatches an event, one key of a hundred. It waits while there are too many under way.
func (s *schedule) one() {
	ev := &s.events[s.next%uint32(len(s.events))]
	ev.ID, ev.Key, ev.Keyed, ev.Payload = vectorID, hundredKeys[s.next%100], true, []byte(nil)
	ev.CommitTime, ev.Place = time.Now(), mapping.Place{Commit: 1, Ordinal: s.next}
	s.next++
	s.Dispatch(ev, s.targets, 300, s.tx)
}

// await returns when everything dispatched is settled.
func (s *schedule) await() {
	for range cap(s.tx) {
		s.tx <- struct{}{}
	}
	for range cap(s.tx) {
		<-s.tx
	}
}

var hundredKeys = func() (keys [100]string) {
	for i := range keys {
		keys[i] = "customer-" + string(rune('0'+i/10)) + string(rune('0'+i%10))
	}
	return keys
}()

// BenchmarkBudget_Schedule is everything a lane does for an event that is delivered at once: taken on, given to a worker,
// landed, settled, counted.
func BenchmarkBudget_Schedule(b *testing.B) {
	for name, endpoints := range map[string]int{"1 endpoint": 1, "10 endpoints": 10} {
		b.Run(name, func(b *testing.B) {
			s := newSchedule(b, endpoints)
			b.ReportAllocs()
			for b.Loop() {
				s.one()
			}
			s.await()
		})
	}
}

func TestSchedule_AllocatesLittle(t *testing.T) { //nolint:paralleltest // counts allocations
	s := newSchedule(t, 1)
	const events = 1000
	run := func() {
		for range events {
			s.one()
		}
		s.await()
	}
	n := testing.AllocsPerRun(10, run) / events
	t.Logf("%.2f allocations an event", n)
	require.Less(t, n, 10.0)
}
