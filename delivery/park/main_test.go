package park

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// setup returns a store on a fresh database.
func setup(t testing.TB) *Store {
	t.Helper()
	return open(t, pgtest.Database(t))
}

func open(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, "relay", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

// at is a place: the nth transaction, its first row.
func at(n int) mapping.Place {
	var p mapping.Place
	if err := p.Commit.Scan(fmt.Sprintf("0/%X", 0x100*n)); err != nil {
		panic(err)
	}
	return p
}

// item is a delivery to endpoint "a" of a keyed event.
func item(n int, key string) delivery.Parked {
	payload := fmt.Appendf(nil, `{"n": %d}`, n)
	return delivery.Parked{
		Endpoint: "a", Lane: key, Ordered: true, State: delivery.Waiting,
		Event: &mapping.Event{
			ID: fmt.Sprintf("event-%d", n), Type: "order.created", Key: key, Keyed: true, Payload: payload, Table: "public.outbox",
			Time: time.Unix(int64(n), 0).UTC(), CommitTime: time.Unix(int64(n), 1000).UTC(), Place: at(n),
			Columns: []string{"id", "type", "key", "payload", "headers"},
			Values:  [][]byte{fmt.Appendf(nil, "event-%d", n), []byte("order.created"), []byte(key), payload, nil},
		},
	}
}

func unkeyed(n int) delivery.Parked {
	p := item(n, "")
	p.Ordered, p.Event.Keyed = false, false
	return p
}

func items(from, to int, key string) []delivery.Parked {
	var out []delivery.Parked
	for n := from; n <= to; n++ {
		out = append(out, item(n, key))
	}
	return out
}

func park(t testing.TB, s *Store, rows ...delivery.Parked) []int64 {
	t.Helper()
	ids, err := s.Park(t.Context(), rows)
	require.NoError(t, err)
	return ids
}

// next returns the event IDs, and the rows, that a lane has that calls Next until it has so many.
func next(t testing.TB, s *Store, taken []int64, limit int) ([]string, []delivery.Parked) {
	t.Helper()
	names, rows := []string{}, []delivery.Parked{}
	for more := true; more && len(rows) < limit; {
		var found []delivery.Parked
		var err error
		found, more, err = s.Next(t.Context(), "a", slices.Concat(taken, idsOf(rows)), limit-len(rows), 1<<30)
		require.NoError(t, err)
		rows = append(rows, found...)
	}
	for i := range rows {
		names = append(names, rows[i].Event.ID)
	}
	return names, rows
}

func settle(t testing.TB, s *Store, delivered []int64, changed ...delivery.Parked) {
	t.Helper()
	require.NoError(t, s.Settle(t.Context(), "a", delivered, changed))
}

func idsOf(rows []delivery.Parked) []int64 {
	var ids []int64
	for i := range rows {
		ids = append(ids, rows[i].ID)
	}
	return ids
}
