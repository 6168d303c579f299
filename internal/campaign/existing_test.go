package campaign

import (
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// maxRSS is the most memory that a process which has ended ever had, in MiB.
func (p *Process) maxRSS() int {
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return int(usage.Maxrss >> 10) // Linux counts in KiB; elsewhere the bound is looser
}

// existingRows sends n rows, of 500 bytes each, that were there before the slot, and returns the most memory that relay setup
// and relay run had, in MiB. With a fail point setup is killed there first.
func existingRows(t *testing.T, url string, n int, point string) (setup, run int) {
	t.Helper()
	s := NewSystem(t, url)
	s.More = "  existing: send\n"
	s.Subscribe("one", "", nil)
	s.Subscribe("two", "order: none", nil).Unordered = true
	s.Write()
	conn := s.Connect()
	_, err := conn.Exec(t.Context(), `CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), type text NOT NULL, key text, payload jsonb NOT NULL,
		headers jsonb, created_at timestamptz NOT NULL DEFAULT now())`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `INSERT INTO outbox (id, type, key, payload, created_at)
SELECT ('00000001-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'order.created', 'w1-' || n % 500, jsonb_build_object('n', n, 'pad', repeat('x', 440)),
  '2026-01-01Z'::timestamptz + n * interval '1 ms' FROM generate_series(1, $1::int) n`, n)
	require.NoError(t, err)

	began := time.Now()
	if point != "" {
		said, code := s.command([]string{"RELAY_FAILPOINT=" + point}, "setup")
		require.Equal(t, -1, code, said)
	}
	p, err := start(s.admin, nil, nil, "setup", "--config", s.Config())
	require.NoError(t, err)
	<-p.ended
	require.Zero(t, p.ExitCode(), p.Log())
	queued := time.Since(began)
	s.Start()
	s.Drained(10 * time.Minute)
	run = s.Relay.peak()
	s.Stop()
	t.Logf("queued in %s, delivered in %s", queued.Round(time.Second), time.Since(began).Round(time.Second))
	for name, sum := range s.Verdict() {
		require.Equal(t, n, sum.Received, name)
		require.Zero(t, sum.Duplicates, name)
	}
	return p.maxRSS(), run
}

func TestExistingRows_GoThroughTheTablesInOrderOnceAndWithoutMemory(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	setup, run := existingRows(t, pgtest.Database(t), rows, "requeued:5")
	t.Logf("%d rows of 500 bytes for two endpoints: setup had %d MiB at most, run %d MiB", rows, setup, run)
	if !raceEnabled { // which multiplies what is used
		require.Less(t, setup, 64, "MiB, where the deliveries are 20")
	}
}

func TestSoak_AMillionExistingRows(t *testing.T) {
	soak(t)
	const rows = 1_000_000
	setup, run := existingRows(t, pgtest.Cluster(t, pgtemp.Options{}).URL("postgres"), rows, "")
	t.Logf("%d rows of 500 bytes for two endpoints: setup had %d MiB at most, run %d MiB", rows, setup, run)
	require.Less(t, setup, 64, "MiB, where the deliveries are 1,000")
	require.Less(t, run, 256, "MiB")
}
