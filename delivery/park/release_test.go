package park

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery"
)

// However the rows of a queue came in, and whatever was let through of it before, only about so many are readable as are meant
// to be: that bounds what has to be held back when the first of them fails.
func TestRelease_KeepsWhatIsReadableBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 7, 300} {
		t.Run(fmt.Sprint(size, " a call"), func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			s.reach = 16
			const rows = 300
			for from := 1; from <= rows; from += size {
				park(t, s, items(from, min(rows, from+size-1), "k")...)
			}
			var order []string
			for len(order) < rows {
				names, found := next(t, s, nil, 3)
				require.NotEmpty(t, names, "after %d", len(order))
				order = append(order, names...)
				settle(t, s, idsOf(found))
				var readable int
				require.NoError(t, s.pool.QueryRow(t.Context(),
					s.sql(`SELECT count(*) FROM {{schema}}.delivery WHERE NOT blocked`)).Scan(&readable))
				require.LessOrEqual(t, readable, 3*s.reach/2, "after %d", len(order))
			}
			for i, name := range order {
				require.Equal(t, fmt.Sprint("event-", i+1), name)
			}
		})
	}
}

// What comes before all that is readable is readable itself, however much that is: else nothing of its queue ever were again.
func TestPark_AnOlderOneBeforeAllThatMayBeReadable(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.reach = 4
	park(t, s, items(2, 6, "k")...)
	park(t, s, item(1, "k"))
	var order []string
	for range 6 {
		names, found := next(t, s, nil, 1)
		order = append(order, names...)
		settle(t, s, idsOf(found))
	}
	require.Equal(t, []string{"event-1", "event-2", "event-3", "event-4", "event-5", "event-6"}, order)
}

// A dead one that waits again is let through when enough of those behind it are gone. One that comes between holds those back.
func TestPark_OneBetweenWhatWaitsAgainAndAllThatIsReadable(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.reach = 4
	dead := item(1, "k")
	dead.State = delivery.Dead
	park(t, s, append([]delivery.Parked{dead}, items(3, 4, "k")...)...)
	n, err := s.Retry(t.Context(), Filter{State: delivery.Dead})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	park(t, s, item(2, "k"))
	var order []string
	for range 4 {
		names, found := next(t, s, nil, 1)
		order = append(order, names...)
		settle(t, s, idsOf(found))
	}
	require.Equal(t, []string{"event-1", "event-2", "event-3", "event-4"}, order)
}
