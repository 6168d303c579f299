package park

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/delivery"
)

func TestOldest_IsTheHeadOfTheQueueOrWhatWaitsForATime(t *testing.T) {
	t.Parallel()
	s := setup(t)
	early, late := time.Now().Add(-2*time.Hour).Truncate(time.Millisecond), time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	waits, follows, flows, gaveUp := item(1, "k"), item(2, "k"), item(3, "other"), item(4, "dead")
	waits.Event.CommitTime, waits.Due = early, time.Now().Add(time.Hour)
	follows.Event.CommitTime, flows.Event.CommitTime = late, late
	gaveUp.Event.CommitTime, gaveUp.State = early.Add(-time.Hour), delivery.Dead
	park(t, s, gaveUp, waits, follows, flows)
	got, err := s.Oldest(t.Context(), []string{"a", "nobody"})
	require.NoError(t, err)
	require.Len(t, got, 1, "an endpoint with nothing is not there")
	require.WithinDuration(t, early, got["a"], 0)
	_, err = s.Discard(t.Context(), Filter{EventID: "event-1"})
	require.NoError(t, err)
	got, err = s.Oldest(t.Context(), []string{"a"})
	require.NoError(t, err)
	require.WithinDuration(t, late, got["a"], 0)
}

func TestOldest_LooksIntoIndexesOnly(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for from := 1; from < 50_000; from += 10_000 {
		park(t, s, items(from, from+9_999, "k")...)
	}
	cfg, err := pgx.ParseConfig(s.pool.Config().ConnString())
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // ends with the test
	_, err = conn.Exec(t.Context(), s.sql("ANALYZE {{schema}}.delivery"))
	require.NoError(t, err)
	plan := explain(t, conn, s.sql(oldestSQL), []string{"a", "b"})
	require.NotContains(t, plan, "Seq Scan", plan)
}
