package campaign

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

func TestRelay_LosesNothingWhenKilledBetweenTwoSteps(t *testing.T) {
	t.Parallel()
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := NewSystem(t, pgtest.Database(t))
			s.Subscribe("good", "", nil)
			down := s.Subscribe("down", "", nil)
			s.Setup()
			require.NoError(t, down.Set(Failing))
			for i, count := range []int{1, 2, 10} {
				began := time.Now()
				s.Relay = s.Spawn(fmt.Sprintf("RELAY_FAILPOINT=%s:%d", point, count))
				if point == "drained" {
					require.NoError(t, down.Set(Healthy))
					if count > 2 {
						break // a drain of so little is not that many commits
					}
				}
				if i == 0 || point != "drained" {
					s.Bulk(i+1, 400, 0)
				}
				for n := 0; !s.Relay.Ended(); n++ {
					require.Less(t, time.Since(began), 90*time.Second, "relay comes by the point\n"+tail(s.Relay.Log()))
					if count > 1 && point == "parked" || point == "saved" || point == "drained" {
						s.Bulk(100*(i+1)+n, 5, 0) // a batch more, until there were enough
						if point == "drained" {
							require.NoError(t, down.Set([]Mood{Failing, Healthy}[n%2]))
						}
					}
					time.Sleep(200 * time.Millisecond) // another process: there is nothing to wait on
				}
				require.Equal(t, -1, s.Relay.ExitCode(), s.Relay.Log())
				s.Broken("kill at "+point, began, slackBefore, slackAfter)
				if point == "saved" {
					break // each takes a second
				}
			}
			require.NoError(t, down.Set(Healthy))
			s.Relay.Kill()
			s.Start()
			s.Drained(time.Minute)
			s.Stop()
			s.Verdict()
		})
	}
}

func TestRelay_MigratesAgainWhenKilledInAMigration(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Subscribe("all", "", nil)
	s.Write()
	_, code := s.command([]string{"RELAY_FAILPOINT=migrating"}, "setup")
	require.Equal(t, -1, code, "killed")
	p := s.Spawn("RELAY_FAILPOINT=migrating") // relay run migrates as well
	s.Await(20*time.Second, "killed", p.Ended)
	require.Equal(t, -1, p.ExitCode(), p.Log())
	s.Setup()
	s.Start()
	s.Bulk(1, 10, 0)
	s.Drained(time.Minute)
	s.Stop()
	require.Zero(t, s.Verdict()["all"].Duplicates)
}
