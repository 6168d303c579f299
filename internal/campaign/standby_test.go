package campaign

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc/cdctest"
	"relay/internal/pgtemp/pgtest"
)

// second starts a relay beside the one that runs, with an address of its own, and returns when it stands by.
func (s *System) second(name string) *Process {
	s.t.Helper()
	p := s.beside(name)
	s.standsBy(p)
	return p
}

func (s *System) beside(name string) *Process {
	s.t.Helper()
	s.admin = freeAddress(s.t)
	s.Extra = "  headers: {X-Relay: " + name + "}\n"
	s.Write() // who runs already refuses the change of its address, and lives on
	return s.Spawn()
}

// first starts a relay and returns when it streams.
func (s *System) first(name string) *Process {
	s.t.Helper()
	s.Extra = "  headers: {X-Relay: " + name + "}\n"
	s.Write()
	s.Start()
	return s.Relay
}

func (s *System) standsBy(p *Process) {
	s.t.Helper()
	s.Await(30*time.Second, "it stands by, and says so", func() bool {
		code, text := p.Get("/readyz")
		return code == http.StatusOK && strings.Contains(text, "standing by: another relay")
	})
}

// sentBy returns when each of a relay's requests arrived.
func sentBy(t *testing.T, e *Subscription, relay string) []time.Time {
	t.Helper()
	receipts, err := e.Receipts()
	require.NoError(t, err)
	var at []time.Time
	for _, r := range receipts {
		if r.Relay == relay {
			at = append(at, r.At)
		}
	}
	return at
}

func after(times []time.Time, limit time.Time) int {
	n := 0
	for _, at := range times {
		if at.After(limit) {
			n++
		}
	}
	return n
}

func TestRelay_StandsByForAnotherAndTakesOverWhenThatIsKilled(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	e := s.Subscribe("all", "", nil)
	down := s.Subscribe("down", "", nil)
	s.Setup()
	require.NoError(t, down.Set(Failing))
	first := s.first("a")
	second := s.second("b")
	stop := s.writers(5, 2, 10*time.Millisecond)
	s.Await(20*time.Second, "the first one delivers", func() bool { return e.Good() > 200 })
	code, text := first.Get("/readyz")
	require.Equal(t, http.StatusOK, code, text)
	require.Contains(t, text, "streaming")
	_, text = second.Get("/api/v1/status")
	require.NotContains(t, text, "delivering")

	s.Kill()
	began := time.Now()
	s.Relay = second
	s.Await(20*time.Second, "the second one delivers", func() bool { return len(sentBy(t, e, "b")) > 50 })
	t.Log("took over within", time.Since(began))
	require.Less(t, time.Since(began), 10*time.Second)
	require.NoError(t, down.Set(Healthy))
	stop()
	s.Drained(time.Minute)
	s.Stop()
	s.Verdict()
}

// A relay that was stopped for longer than its lease is a zombie when it goes on: rows in memory, messages in its buffers,
// connections that look sound.
func TestRelay_DeliversNothingWhenItGoesOnAfterAnotherTookOver(t *testing.T) {
	t.Parallel()
	const concurrency = 4
	s := NewSystem(t, pgtest.Database(t))
	e := s.Subscribe("all", "concurrency: 4", nil)
	e.Delay = 2 * time.Millisecond
	down := s.Subscribe("down", "concurrency: 4", nil)
	s.Setup()
	require.NoError(t, down.Set(Failing))
	first := s.first("a")
	second := s.second("b")
	stop := s.writers(6, 2, 5*time.Millisecond)
	s.Await(20*time.Second, "the first one delivers", func() bool { return e.Good() > 500 })
	require.NoError(t, down.Set(Healthy))
	s.Await(20*time.Second, "the first one drains what is parked", func() bool { return down.Good() > 20 })

	stopped := time.Now()
	first.Signal(syscall.SIGSTOP)
	s.Broken("SIGSTOP", stopped, slackBefore, slackAfter)
	s.Relay = second
	s.Await(40*time.Second, "the second one delivers", func() bool { return len(sentBy(t, e, "b")) > 50 && len(sentBy(t, down, "b")) > 50 })
	t.Log("took over within", time.Since(stopped))
	require.Less(t, time.Since(stopped), 25*time.Second)
	s.Await(40*time.Second, "the second one streams", func() bool {
		_, text := second.Get("/readyz")
		return strings.Contains(text, "streaming")
	})
	t.Log("streamed within", time.Since(stopped))

	continued := time.Now()
	first.Signal(syscall.SIGCONT)
	s.standsBy(first)
	t.Log("stood by again within", time.Since(continued))
	time.Sleep(2 * time.Second) // in which it could do harm
	for _, end := range []*Subscription{e, down} {
		late := after(sentBy(t, end, "a"), continued)
		t.Logf("endpoint %s got %d requests that were under way", end.Name, late)
		require.LessOrEqual(t, late, concurrency, "what was begun before it was stopped cannot be called back, and no more than that")
		if late > 0 {
			s.mu.Lock()
			s.broken = append(s.broken, Interval{Start: continued, From: stopped, To: time.Now(), What: "under way when it was stopped"})
			s.mu.Unlock()
		}
	}

	s.Kill()
	s.Relay = first
	s.Await(40*time.Second, "the first one delivers again", func() bool { return after(sentBy(t, e, "a"), continued) > 50 })
	stop()
	s.Drained(time.Minute)
	s.Stop()
	s.Verdict()
}

// Its endpoints are still there, and so is what it has in memory: a relay whose database connections alone are cut.
func TestRelay_StopsDeliveringBeforeAnotherBeginsWhenItIsCutOff(t *testing.T) {
	t.Parallel()
	const rows = 6000
	s := NewSystem(t, pgtest.Database(t))
	proxy := cdctest.NewProxy(t, s.URL)
	s.Hold = "60s"                                 // what is in memory stays there
	e := s.Subscribe("all", "concurrency: 8", nil) // 400 a second: it has work for the whole time
	e.Delay = 20 * time.Millisecond
	s.Setup()
	s.Via = proxy.URL
	first := s.first("a")
	s.Via = s.URL
	second := s.second("b")
	s.Bulk(1, rows, 0)
	s.Await(20*time.Second, "the first one delivers", func() bool { return e.Good() > 400 })

	cut := time.Now()
	proxy.Stall()
	s.Relay = second
	s.Await(40*time.Second, "the second one delivers", func() bool { return len(sentBy(t, e, "b")) > 100 })
	s.Broken("cut off", cut, slackBefore, 0)
	a, b := sentBy(t, e, "a"), sentBy(t, e, "b")
	t.Logf("the first one sent its last %s after the cut, the second one its first %s after it", a[len(a)-1].Sub(cut), b[0].Sub(cut))
	require.True(t, a[len(a)-1].Before(b[0]), "never two at once")
	require.Less(t, a[len(a)-1].Sub(cut), 4*time.Second)
	require.Less(t, b[0].Sub(cut), 25*time.Second)

	proxy.Resume()
	s.standsBy(first)
	s.Drained(time.Minute)
	require.Equal(t, len(a), len(sentBy(t, e, "a")), "it sends no more when it is back")
	s.Stop()
	s.Verdict()
}

func TestRelay_IsDeployedInEitherOrderWithoutADuplicate(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Retry = strings.Replace(s.Retry, "timeout: 3s", "timeout: 10s", 1) // a busy machine may answer later, which would be too late
	e := s.Subscribe("all", "", nil)
	down := s.Subscribe("down", "", nil)
	s.Setup()
	s.first("r0")
	stop := s.writers(8, 2, 10*time.Millisecond)
	for i, name := range []string{"r1", "r2", "r3", "r4"} {
		require.NoError(t, down.Set([]Mood{Failing, Healthy}[i%2]))
		time.Sleep(500 * time.Millisecond) // under load
		old := s.Relay
		var next *Process
		if i%2 == 0 { // the new one first
			next = s.second(name)
		}
		require.NoError(t, old.Stop(30*time.Second))
		began := time.Now()
		if next == nil { // the old one first
			next = s.beside(name)
		}
		s.Relay = next
		s.Await(20*time.Second, "the new one delivers", func() bool { return len(sentBy(t, e, name)) > 20 })
		t.Log(name, "took over within", time.Since(began))
		require.Less(t, time.Since(began), 10*time.Second)
	}
	require.NoError(t, down.Set(Healthy))
	stop()
	s.Drained(time.Minute)
	s.Stop()
	for name, sum := range s.Verdict() {
		require.Zero(t, sum.Duplicates, name)
	}
}
