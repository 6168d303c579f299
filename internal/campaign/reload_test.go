package campaign

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

// knows reports whether the running relay has an endpoint.
func (s *System) knows(name string) bool {
	_, text := s.Relay.Get("/api/v1/status")
	return strings.Contains(text, `"name":"`+name+`"`) || strings.Contains(text, `"name": "`+name+`"`)
}

func TestRelay_StartsANewEndpointAtNowAndLetsGoOfARemovedOne(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Hold = "3s"
	kept := s.Subscribe("kept", "", nil)
	old := s.Subscribe("old", "timeout: 10s", func(r Row) bool { return r.ID.Writer() == 1 })
	s.Setup()
	s.Start()
	require.NoError(t, old.Set(Hanging))
	s.Bulk(1, 1000, 0)
	s.Await(10*time.Second, "the kept endpoint has the first", func() bool { return kept.Good() == 1000 })

	added := s.Subscribe("added", "", func(r Row) bool { return r.ID.Writer() == 2 })
	s.Remove("old")
	s.Write()
	s.Await(10*time.Second, "reloaded", func() bool { return s.knows("added") && !s.knows("old") })
	s.Bulk(2, 1000, 0)
	s.Await(10*time.Second, "the added endpoint has the second", func() bool { return added.Good() == 1000 })

	conn := s.Connect()
	var end int64
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT (pg_current_wal_lsn() - '0/0')::bigint`).Scan(&end))
	s.Await(20*time.Second, "the slot passes what the removed endpoint did not take", func() bool {
		var confirmed int64
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots
WHERE slot_name = $1`, s.Slot).Scan(&confirmed))
		return confirmed >= end
	})
	out, _ := s.Command("check")
	require.Contains(t, out, "old", "relay check says that an endpoint that is gone still has deliveries parked")
	s.Drained(time.Minute)
	s.Kill() // whether the added endpoint still starts at now when nothing said goodbye
	s.Start()
	s.Drained(time.Minute)
	s.Stop()
	sums := s.Verdict()
	require.Equal(t, 1000, sums["old"].Waiting)
	require.Equal(t, 1000, sums["added"].Received)
}
