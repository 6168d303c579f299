package campaign

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

// write runs writers until the returned function is called, which waits for them.
func (s *System) writers(seed uint64, n int, pause time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	for i := range n {
		w := &Writer{
			Number: i + 1, Keys: 20, MaxRows: 100, Rollback: 0.15, Pause: pause,
			Random: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		running.Go(func() { _ = w.Run(ctx, s.URL, 0) }) // it ends with ctx, without an error
	}
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	s.t.Cleanup(stop)
	return stop
}

func TestRelay_MakesNoDuplicatesWhenStoppedAndStartedUnderLoad(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Retry = strings.Replace(s.Retry, "timeout: 3s", "timeout: 10s", 1) // a busy machine may answer later, which would be too late
	s.Subscribe("fast", "", nil)
	slow := s.Subscribe("slow", "concurrency: 4", nil)
	slow.Delay = 5 * time.Millisecond
	orders := s.Subscribe("orders", `events: ["order.*"]`, func(r Row) bool { return r.Type != "user.created" })
	flaky := s.Subscribe("flaky", "", nil)
	s.Setup()
	stop := s.writers(1, 3, 15*time.Millisecond)
	for i := range 5 {
		s.Start()
		require.NoError(t, flaky.Set([]Mood{Healthy, Failing, Healthy, Refusing, Healthy}[i]))
		time.Sleep(700 * time.Millisecond) // under load
		s.Stop()
		require.Zero(t, s.Relay.ExitCode(), s.Relay.Log())
	}
	require.NotZero(t, orders.Good())
	s.Start()
	stop()
	s.Drained(time.Minute)
	s.Stop()
	for name, sum := range s.Verdict() {
		require.Zero(t, sum.Duplicates, name)
	}
}
