package campaign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// soak is the duration in SOAK; without it the long tests are skipped.
func soak(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	if text == "" {
		t.Skip("long: make soak")
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

// One campaign of a minute after the other, each of the next seed.
func TestSoak_RandomCampaigns(t *testing.T) {
	end := time.Now().Add(soak(t))
	for n := seed(t); time.Now().Before(end) && !t.Failed(); n++ {
		t.Run(fmt.Sprint("RELAY_SEED=", n), func(t *testing.T) {
			runCampaign(t, n, time.Minute, 12*time.Second, 10*time.Millisecond)
		})
	}
}

func TestSoak_AMillionRowsOnceAndInOrder(t *testing.T) {
	soak(t)
	const writers, rows = 4, 1_000_000
	s := NewSystem(t, pgtest.Cluster(t, pgtemp.Options{}).URL("postgres"))
	for _, name := range []string{"one", "two"} {
		s.Subscribe(name, "", nil)
	}
	s.Setup()
	s.Start()
	began, n := time.Now(), seed(t)
	var running sync.WaitGroup
	for i := range writers {
		w := &Writer{Number: i + 1, Keys: 250, MaxRows: 2000, Rollback: 0.1, Random: rand.New(rand.NewPCG(n, uint64(i))), Once: true}
		running.Go(func() {
			if err := w.Run(t.Context(), s.URL, rows/writers); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	written := time.Since(began)
	s.Drained(10 * time.Minute)
	t.Logf("written in %s, delivered in %s, peak memory %d MiB", written.Round(time.Second), time.Since(began).Round(time.Second), s.Relay.peak())
	s.Stop()
	for name, sum := range s.Verdict() {
		require.Equal(t, rows, sum.Received, name)
		require.Zero(t, sum.Duplicates, name)
	}
}

// pace writes one event a transaction at a steady rate from several connections, until the returned function is called.
func (s *System) pace(l *latency, first, writers, rate int) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			conn, err := pgx.Connect(ctx, s.URL)
			if err != nil {
				s.t.Error(err)
				return
			}
			defer closeConn(conn)
			every := time.Second * time.Duration(writers) / time.Duration(rate)
			next := time.Now()
			for seq := 1; ctx.Err() == nil; seq++ {
				time.Sleep(time.Until(next)) // the pace
				next = next.Add(every)
				id := NewID(first+i, seq)
				l.sent(id)
				key := fmt.Sprintf("w%d-%d", first+i, seq%100)
				if _, err := conn.Exec(context.WithoutCancel(ctx), insertSQL, []string{id.String()}, []string{Types[0]}, []string{key}); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// With one endpoint hanging, one refusing and one answering 500 a healthy one is served as if it were alone.
func TestSoak_BadEndpointsCostAGoodOneNothing(t *testing.T) {
	length := soak(t)
	const rate, writers = 2000, 4
	alone := max(20*time.Second, length/5)
	s := NewSystem(t, pgtest.Cluster(t, pgtemp.Options{}).URL("postgres"))
	s.Hold = "5s"
	s.Retry = "  timeout: 15s\n  retry: {delays: [500ms, 1s, 5s" + strings.Repeat(", 10s", 600) + "]}\n  breaker: {max_open: 30s}\n"
	good := s.Subscribe("good", "", nil)
	events := int((2*alone+length).Seconds()*rate/writers) * 2
	good.latency = newLatency(3*writers, events)
	s.Setup()
	s.Start()

	phase := func(name string, first int, d time.Duration, l *lag) (float64, time.Duration) {
		before, began, parts := good.Good(), time.Now(), time.Duration(0)
		stop := s.pace(good.latency, first, writers, rate)
		for end := began.Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // a rhythm of looks
			l.look(t)
			if part := time.Since(began).Truncate(d / 6); part > parts {
				parts = part
				t.Logf("  %s: p99 of the last part %s", part.Round(time.Second), good.latency.split())
			}
		}
		stop()
		speed := float64(good.Good()-before) / time.Since(began).Seconds()
		p50, p99, n := good.latency.take()
		t.Logf("%s: %.0f events/s at the good endpoint, commit to receipt p50 %s p99 %s of %d, slot at most %s and %d KiB behind",
			name, speed, p50, p99, n, l.worst.Round(time.Millisecond), l.bytes>>10)
		return speed, p99
	}
	look := func() *lag { return &lag{conn: s.Connect(), slot: s.Slot} }
	phase("warming up", 1, 10*time.Second, look())
	speedAlone, p99Alone := phase("alone", 1+writers, alone, look())

	later := func(r Row) bool { return r.ID.Writer() > 2*writers }
	var bad []*Subscription
	for i, name := range []string{"hanging", "refusing", "failing"} {
		e := s.Subscribe(name, "", later)
		require.NoError(t, e.Set([]Mood{Hanging, Refusing, Failing}[i]))
		bad = append(bad, e)
	}
	s.Write()
	s.Await(20*time.Second, "reloaded", func() bool { return s.knows("failing") })
	l := look()
	speed, p99 := phase("beside three bad ones", 1+2*writers, length, l)
	t.Logf("throughput %.1f %% and p99 %.0f %% of alone; peak memory %d MiB", 100*speed/speedAlone, 100*float64(p99)/float64(p99Alone), s.Relay.peak())
	require.Less(t, l.worst, 10*time.Second, "the slot is held no longer than source.hold, 5s, and what it takes to park")

	for _, e := range bad {
		require.NoError(t, e.Set(Healthy))
	}
	began := time.Now()
	s.Drained(length + 10*time.Minute)
	took := time.Since(began)
	total := bad[0].Good() + bad[1].Good() + bad[2].Good()
	t.Logf("drained %d deliveries in %s, %.0f/s", total, took.Round(100*time.Millisecond), float64(total)/took.Seconds())
	s.Stop()
	for name, sum := range s.Verdict() {
		require.Zero(t, sum.Duplicates, name)
		require.Zero(t, sum.Dead, name)
	}
}
