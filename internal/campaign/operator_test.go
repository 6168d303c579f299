package campaign

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

// noticed is how soon a running relay has acted on a command: a second, and what a busy machine adds.
const noticed = 3 * time.Second

func (s *System) parked(endpoint, state string) int {
	s.t.Helper()
	truth, err := ReadTruth(s.t.Context(), s.URL)
	require.NoError(s.t, err)
	n := 0
	for _, is := range truth.Parked[endpoint] {
		if is == state {
			n++
		}
	}
	return n
}

// do runs a command, which has to succeed, and returns when it ended.
func (s *System) do(args ...string) (string, time.Time) {
	s.t.Helper()
	out, code := s.Command(args...)
	require.Zero(s.t, code, out)
	return out, time.Now()
}

func TestRelay_NoticesWhatAnOperatorDoesToDeadLettersAndPauses(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	other := s.Subscribe("other", "", nil)
	e := s.Subscribe("picky", "", nil)
	e.Late = func(id ID) bool { return id.Writer() == 1 }
	s.Setup()
	s.Start()

	require.NoError(t, e.Set(Rejecting))
	s.Bulk(1, 20, 0)
	s.Await(20*time.Second, "20 dead letters", func() bool { return s.parked("picky", "dead") == 20 })
	require.EqualValues(t, 20, other.Good())
	out, _ := s.do("parked", "--dead", "--endpoint", "picky", "--json")
	require.Contains(t, out, "400")

	require.NoError(t, e.Set(Healthy))
	s.Bulk(2, 10, 0)
	s.Await(10*time.Second, "a dead letter holds nothing back", func() bool { return e.Good() == 10 })
	_, at := s.do("retry", "--dead", "--endpoint", "picky", "--yes")
	s.Await(10*time.Second, "retried", func() bool { return e.Good() == 30 })
	t.Log("retry noticed within", time.Since(at))
	require.Less(t, time.Since(at), noticed)
	s.Await(10*time.Second, "none is left", func() bool { return s.parked("picky", "dead") == 0 })

	_, at = s.do("pause", "picky")
	s.Await(10*time.Second, "paused", func() bool {
		status, err := s.Relay.Status()
		return err == nil && status.Endpoints[1].State == "paused"
	})
	t.Log("pause noticed within", time.Since(at))
	require.Less(t, time.Since(at), noticed)
	s.Bulk(3, 10, 0)
	s.Await(10*time.Second, "parked while paused", func() bool { return s.parked("picky", "waiting") == 10 })
	require.EqualValues(t, 30, e.Good())
	s.Stop() // it stays paused over a restart
	s.Start()
	s.Bulk(4, 10, 0)
	s.Await(10*time.Second, "parked after a restart", func() bool { return s.parked("picky", "waiting") == 20 })
	require.EqualValues(t, 30, e.Good())
	_, at = s.do("resume", "picky")
	s.Await(10*time.Second, "resumed", func() bool { return e.Good() == 50 })
	t.Log("resume noticed within", time.Since(at))
	require.Less(t, time.Since(at), noticed)

	require.NoError(t, e.Set(Rejecting))
	s.Bulk(1000, 5, 0)
	s.Await(20*time.Second, "5 dead letters", func() bool { return s.parked("picky", "dead") == 5 })
	s.Drained(20 * time.Second)
	for name, sum := range s.Verdict() {
		require.Zero(t, sum.Duplicates, name)
	}
	s.do("discard", "--dead", "--yes")
	require.Zero(t, s.parked("picky", "dead"))

	require.NoError(t, e.Set(Gone))
	s.Bulk(1001, 5, 0)
	s.Await(20*time.Second, "paused by 410", func() bool {
		status, err := s.Relay.Status()
		return err == nil && status.Endpoints[1].State == "gone" && s.parked("picky", "waiting") == 5
	})
	require.NoError(t, e.Set(Healthy))
	good := e.Good()
	time.Sleep(1500 * time.Millisecond) // for what must not happen
	require.Equal(t, good, e.Good(), "gone until resumed")
	s.do("resume", "picky")
	s.Await(10*time.Second, "resumed", func() bool { return e.Good() == good+5 })
	s.Stop()
}
