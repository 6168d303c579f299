package park

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

func TestView_IsReadable(t *testing.T) {
	t.Parallel()
	s := setup(t)
	binary := unkeyed(2)
	binary.Event.Kind, binary.Event.Payload, binary.State, binary.Err = mapping.PayloadBytes, []byte{0, 255}, delivery.Dead, "gave up"
	broken := unkeyed(3)
	broken.Event.Payload = []byte{0xff}
	park(t, s, item(1, "k"), binary, broken)
	var text string
	err := s.pool.QueryRow(t.Context(), `
SELECT string_agg(concat_ws('|', id, endpoint, event_id, type, key, state, attempts, next_attempt_at, last_status, last_error, payload, headers), ' ' ORDER BY id)
FROM relay.parked WHERE parked_at <= now()`).Scan(&text)
	require.NoError(t, err)
	require.Equal(t, `1|a|event-1|order.created|k|waiting|0|{"n": 1} 2|a|event-2|order.created|dead|0|gave up|\x00ff 3|a|event-3|order.created|waiting|0|\xff`, text)
}

func TestRetryAndDiscard_DoWhatTheFilterSays(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	dead := items(1, 3, "k")
	for i := range dead {
		dead[i].State, dead[i].Attempts, dead[i].Since = delivery.Dead, 9, time.Unix(1, 0)
	}
	later := item(4, "other")
	later.Due = time.Now().Add(time.Hour)
	park(t, s, append(dead, later, item(5, "other"))...)

	counts, err := s.Counts(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]Count{"a": {Waiting: 2, Dead: 3}}, counts)

	entries, err := s.List(ctx, Filter{Endpoint: "a", State: delivery.Dead, Limit: 2})
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.WithinDuration(t, time.Now(), entries[0].ParkedAt, time.Minute)
	entries, err = s.List(ctx, Filter{EventID: "event-4", Type: "order.created", Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Len(t, entries, 1)
	entries, err = s.List(ctx, Filter{Until: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.Empty(t, entries)

	n, err := s.Discard(ctx, Filter{EventID: "event-2"})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	n, err = s.Retry(ctx, Filter{})
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	names, rows := next(t, s, nil, 10)
	require.ElementsMatch(t, []string{"event-4", "event-1", "event-3", "event-5"}, names)
	for i := range rows {
		if rows[i].Event.ID == "event-5" { // only held back
			continue
		}
		require.Zero(t, rows[i].Attempts)
		require.WithinDuration(t, time.Now(), rows[i].Since, time.Minute, "it gets its whole time again")
	}
}

func TestRetry_OfWhatARelayHasInMemoryIsFoundByReviewAndKeepsItsTurn(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	park(t, s, items(1, 3, "k")...)
	_, rows := next(t, s, nil, 10)
	tried := rows[0]
	tried.Attempts = 4 // and its next is in the relay's memory
	require.NoError(t, s.Settle(ctx, "a", nil, []delivery.Parked{tried}))
	ids := []int64{rows[0].ID, rows[1].ID, rows[2].ID}
	n, err := s.Retry(ctx, Filter{})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	_, err = s.Discard(ctx, Filter{IDs: ids[1:2]})
	require.NoError(t, err)

	found, err := s.Review(ctx, "a", ids)
	require.NoError(t, err)
	require.Len(t, found, 2)
	for _, f := range found {
		require.Zero(t, f.Attempts)
		require.NotEqual(t, ids[1], f.ID)
		if f.ID == ids[0] {
			require.WithinDuration(t, time.Now(), f.Since, time.Minute)
		}
	}
	again := New(s.pool, "relay", s.logger) // a relay that has nothing in memory
	names, _ := next(t, again, nil, 10)
	require.Equal(t, []string{"event-1", "event-3"}, names)
}

func TestListen_HearsCommands(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, other := open(t, url), open(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan string, 100)
	ended := make(chan error, 1)
	go func() { ended <- s.Listen(ctx, func(endpoint string) { heard <- endpoint }) }()
	require.Empty(t, <-heard, "connected")

	require.NoError(t, other.Pause(ctx, "a"))
	require.Equal(t, "a", <-heard)
	_, err := other.Add(ctx, []delivery.Parked{item(1, "k")})
	require.NoError(t, err)
	require.Equal(t, "a", <-heard)
	_, err = other.Discard(ctx, Filter{})
	require.NoError(t, err)
	require.Equal(t, "a", <-heard)

	_, err = other.pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`)
	require.NoError(t, err)
	require.Empty(t, <-heard, "connected again")
	require.NoError(t, other.Resume(ctx, "a"))
	require.Equal(t, "a", <-heard)
	cancel()
	require.NoError(t, <-ended)
}

func TestEndpoints_AreRemembered(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	until := time.Now().Add(time.Minute).UTC().Truncate(time.Millisecond)
	require.NoError(t, s.SetGone(ctx, "a"))
	require.NoError(t, s.SaveBreaker(ctx, "a", until, 30*time.Second))
	require.NoError(t, s.Pause(ctx, "b"))
	known, err := s.LoadEndpoints(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]Endpoint{"a": {Gone: true, OpenUntil: until, OpenTime: 30 * time.Second}, "b": {Paused: true}}, known)
	require.NoError(t, s.Resume(ctx, "a"))
	known, err = s.LoadEndpoints(ctx)
	require.NoError(t, err)
	require.Zero(t, known["a"])
}

func TestCounts_TakeNoMoreThanTheirShareOfTheTime(t *testing.T) {
	t.Parallel()
	s := setup(t)
	_, err := s.Counts(t.Context())
	require.NoError(t, err)
	park(t, s, item(1, "a"))
	s.counter.until = time.Now().Add(time.Hour) // as if it had taken minutes
	counts, err := s.Counts(t.Context())
	require.NoError(t, err)
	require.Empty(t, counts, "what was counted last")
	s.counter.until = time.Time{}
	counts, err = s.Counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]Count{"a": {Waiting: 1}}, counts)
}

func TestCounts_WaitForNobodyLongerThanTheyMay(t *testing.T) {
	t.Parallel()
	s := setup(t)
	held, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer held.Rollback(t.Context()) //nolint:errcheck // it may have ended
	_, err = held.Exec(t.Context(), `LOCK TABLE relay.delivery`)
	require.NoError(t, err)
	first := make(chan error, 1) // 1: its only value
	go func() {
		_, err := s.Counts(t.Context())
		first <- err
	}()
	require.Eventually(t, func() bool { return s.pool.Stat().AcquiredConns() == 2 }, time.Minute, time.Millisecond, "one counts")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	second := make(chan error, 1)
	go func() {
		_, err := s.Counts(short)
		second <- err
	}()
	select {
	case err := <-second:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(10 * time.Second):
		require.Fail(t, "it waits for the one that counts")
	}
	require.NoError(t, held.Rollback(t.Context()))
	require.NoError(t, <-first)
}
