package campaign

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

// dropSlot drops the slot, in spite of whoever streams from it.
func (s *System) dropSlot(conn *pgx.Conn) {
	s.t.Helper()
	s.Await(20*time.Second, "slot is dropped", func() bool {
		_, _ = conn.Exec(context.Background(), `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, s.Slot)
		_, err := conn.Exec(context.Background(), `SELECT pg_drop_replication_slot($1)`, s.Slot)
		return err == nil
	})
}

func TestRelay_RecreatesALostSlotAgainWhenKilledHalfWay(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"requeued:1", "requeued:2", "remade:1"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := NewSystem(t, pgtest.Database(t))
			s.More = "  on_slot_lost: recreate\n"
			good := s.Subscribe("good", "", nil)
			down := s.Subscribe("down", "", nil)
			s.Setup()
			s.Start()
			conn := s.Connect()
			require.NoError(t, down.Set(Failing))
			s.Bulk(1, 500, 0)
			ticks := 0
			s.Await(time.Minute, "a settled horizon covers them", func() bool {
				ticks++ // a horizon is taken when there is something new
				_, err := conn.Exec(t.Context(), insertSQL, []string{NewID(2, ticks).String()}, []string{Types[0]}, []string{"w2-1"})
				require.NoError(t, err)
				time.Sleep(50 * time.Millisecond) // the pace of the ticks
				var n int
				err = conn.QueryRow(t.Context(), `SELECT count(*) FROM relay.horizon h WHERE settled_at IS NOT NULL
					AND xid > (SELECT max(xmin::text::bigint) FROM outbox WHERE id::text LIKE '00000001%')`).Scan(&n)
				return err == nil && n > 0
			})
			began := time.Now()
			s.Kill()
			s.dropSlot(conn)
			s.Bulk(3, 3000, 0) // several batches

			s.Relay = s.Spawn("RELAY_FAILPOINT=" + point)
			s.Await(time.Minute, "killed at "+point, s.Relay.Ended)
			require.Equal(t, -1, s.Relay.ExitCode(), s.Relay.Log())
			s.Broken("slot lost, and killed at "+point, began, 20*time.Second, 20*time.Second) // rows since the horizon go again
			s.Start()
			s.Bulk(4, 100, 0)
			require.NoError(t, down.Set(Healthy))
			s.Drained(time.Minute)
			s.Stop()
			sums := s.Verdict()
			for _, sub := range []*Subscription{good, down} {
				require.Less(t, sums[sub.Name].Duplicates, 200, "of 3,600: those since the last horizon, and not the half that was parked before the kill")
			}
		})
	}
}
