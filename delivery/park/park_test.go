package park

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/mapping"
)

func TestPark_KeepsEveryByteOfTheEvent(t *testing.T) {
	t.Parallel()
	s := setup(t)
	time1 := time.Date(2026, 2, 3, 4, 5, 6, 789012345, time.UTC)
	bytea := []byte{0, 0xff, 0xfe, 'a', 0x80}
	for name, ev := range map[string]*mapping.Event{
		"json": {
			ID: "1", Type: "t", Key: "k", Keyed: true, Time: time1, CommitTime: time1, Payload: []byte(`{"n": 1.000, "ä": "\u0000"}`),
			Headers: []byte(`{"traceparent": "x"}`), Table: "public.outbox", Place: mapping.Place{Commit: 1 << 62, Ordinal: 1<<32 - 1},
			Columns: []string{"id", "x"}, Values: [][]byte{[]byte("1"), nil},
		},
		"bytea": {
			ID: "2", Type: "t", Payload: bytea, Kind: mapping.PayloadBytes, Place: at(2),
			Columns: []string{"payload", "empty", "other", "same"}, Values: [][]byte{hexOf(bytea), {}, bytea, []byte("t")},
		},
		"empty text":         {ID: "3", Type: "", Key: "", Keyed: true, Payload: []byte{}, Kind: mapping.PayloadText, Place: at(3), Headers: []byte{}},
		"what text can't be": {ID: "4\x00", Type: "\xff", Key: "\x00\xff", Keyed: true, Payload: []byte("\x00"), Headers: []byte("\xfe"), Table: "\x00", Place: at(4), Problem: "id \x00"},
		"no payload":         {ID: "5", Place: at(5), Problem: "payload is NULL", Columns: []string{}, Values: [][]byte{}},
		"a long key":         {ID: "6", Key: strings.Repeat("ключ", 5000), Keyed: true, Payload: []byte("6"), Place: at(6)},
		"a key like a hash":  {ID: "7", Key: "sha256:x", Keyed: true, Payload: []byte("6"), Place: at(7)},
		"no place":           {ID: "8", Type: "t", Payload: []byte("8"), Time: time.Date(-100, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		given := delivery.Parked{
			Endpoint: "a", Event: ev, Lane: ev.Key, Ordered: ev.Keyed, State: delivery.Waiting,
			Attempts: 3, Status: 503, Err: "busy", Since: time1.Truncate(time.Microsecond),
		}
		given.ID = park(t, s, given)[0]
		_, rows := next(t, s, nil, 10)
		require.Len(t, rows, 1, name)
		given.Size = rows[0].Size
		require.Equal(t, given, rows[0], name)
		settle(t, s, []int64{given.ID})
	}
}

func TestPark_LeavesAResendAlone(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.Equal(t, []int64{1, 2}, park(t, s, item(1, "k"), item(2, "k")))
	ids := park(t, s, item(1, "k"), item(2, "k"), item(3, "k"))
	require.Equal(t, []int64{1, 2}, ids[:2])
	require.Greater(t, ids[2], int64(2))
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-1", "event-2", "event-3"}, names)
}

// After a crash the stream brings again what was parked, delivered and removed already, together with what is new.
func TestPark_KeepsTheOrderWhenAnOlderOneComesBackWithANewerOne(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ids := park(t, s, item(5, "k"), item(6, "k"))
	settle(t, s, ids[:1])
	again := park(t, s, item(5, "k"), item(6, "k"), item(7, "k"))
	require.Equal(t, ids[1], again[1])
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-5"}, names, "6 is held back by it, and 7 by 6")
	settle(t, s, again[:1])
	names, _ = next(t, s, nil, 10)
	require.Equal(t, []string{"event-6", "event-7"}, names)
}

func TestPark_LetsThroughWhatOnlyAResendSeemedToHoldBack(t *testing.T) {
	t.Parallel()
	s := setup(t)
	dead := item(1, "k")
	dead.State = delivery.Dead
	park(t, s, dead)
	later := item(1, "k")
	later.Due = time.Now().Add(time.Hour)
	park(t, s, later, item(2, "k"))
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-2"}, names)
}

func TestPark_KeepsRowsWithoutAPlaceApart(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a, b := item(1, "k"), item(2, "k")
	a.Event.Place, b.Event.Place = mapping.Place{}, mapping.Place{}
	park(t, s, a, b)
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-1", "event-2"}, names)
}

func TestPark_PutsAnOlderDeliveryFirst(t *testing.T) {
	t.Parallel()
	s := setup(t)
	park(t, s, item(2, "k"), item(3, "k"), item(4, "other"))
	park(t, s, item(1, "k"))
	names, rows := next(t, s, nil, 10)
	require.Equal(t, []string{"event-4", "event-1"}, names)
	settle(t, s, idsOf(rows))
	names, _ = next(t, s, nil, 10)
	require.Equal(t, []string{"event-2", "event-3"}, names)
}

func TestNext_HoldsBackOnlyTheKeyThatWaits(t *testing.T) {
	t.Parallel()
	s := setup(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	park(t, s, item(1, "k"), item(2, "k"), item(3, "other"), unkeyed(4))
	names, rows := next(t, s, nil, 10)
	require.Equal(t, []string{"event-1", "event-2", "event-3", "event-4"}, names)

	head := rows[0]
	head.Due, head.Attempts, head.Status, head.Err = now.Add(time.Minute), 1, 500, "no"
	settle(t, s, []int64{rows[2].ID}, head)
	park(t, s, item(5, "k"), item(6, "other"))
	names, _ = next(t, s, nil, 10)
	require.Equal(t, []string{"event-4", "event-6"}, names)

	b, err := s.Backlog(t.Context(), "a", 10)
	require.NoError(t, err)
	require.Equal(t, delivery.Backlog{Waiting: true, Blocked: []string{"k"}, Due: now.Add(time.Minute).UTC().Truncate(time.Microsecond)}, b)

	now = now.Add(2 * time.Minute)
	names, rows = next(t, s, nil, 1)
	require.Equal(t, []string{"event-1"}, names)
	require.Equal(t, 1, rows[0].Attempts)
	settle(t, s, idsOf(rows))
	names, _ = next(t, s, nil, 10)
	require.Equal(t, []string{"event-4", "event-6", "event-2", "event-5"}, names)
}

func TestSettle_LeavesADiscardedDeliveryAlone(t *testing.T) {
	t.Parallel()
	s := setup(t)
	park(t, s, item(1, "k"), item(2, "k"))
	_, rows := next(t, s, nil, 10)
	n, err := s.Discard(t.Context(), Filter{IDs: []int64{rows[0].ID}})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	head := rows[0]
	head.Due = time.Now().Add(time.Hour)
	settle(t, s, nil, head)
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-2"}, names)
}

func TestBacklog_StepsOverLongQueues(t *testing.T) {
	t.Parallel()
	s := setup(t)
	long := strings.Repeat("x", 1000)
	for i, key := range []string{"a", "b", long} {
		head := item(1000*i+1, key)
		head.Due = time.Now().Add(time.Hour)
		park(t, s, append([]delivery.Parked{head}, items(1000*i+2, 1000*i+100, key)...)...)
	}
	b, err := s.Backlog(t.Context(), "a", 10)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "b", long}, b.Blocked)
	b, err = s.Backlog(t.Context(), "a", 1)
	require.NoError(t, err)
	require.Len(t, b.Blocked, 2)
	b, err = s.Backlog(t.Context(), "nobody", 1)
	require.NoError(t, err)
	require.Zero(t, b)
}

func TestReorder_FollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderKey))
	held := item(1, "k")
	held.Due = time.Now().Add(time.Hour)
	first := item(0, "first")
	first.Event.Place = at(1)
	first.Event.Place.Commit--
	alsoHeld := item(4, "late")
	alsoHeld.Due = time.Now().Add(time.Minute)
	park(t, s, first, held, item(2, "k"), item(3, "other"), alsoHeld)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderStrict))
	names, rows := next(t, s, nil, 10)
	require.Equal(t, []string{"event-0", "event-1", "event-2", "event-3", "event-4"}, names, "all behind the first, in order")
	rows[1].Due = time.Now().Add(time.Hour)
	settle(t, s, []int64{rows[0].ID}, rows[1])
	names, _ = next(t, s, nil, 10)
	require.Empty(t, names)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderNone))
	names, _ = next(t, s, nil, 10)
	require.ElementsMatch(t, []string{"event-2", "event-3", "event-4"}, names)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderKey))
	names, _ = next(t, s, nil, 10)
	require.ElementsMatch(t, []string{"event-3", "event-4"}, names)
}

// What another process adds is queued by the order that holds for the endpoint, whatever that process believes.
func TestOrder_HoldsForWhatOthersAdd(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.NoError(t, s.Order(t.Context(), "a", mapping.OrderKey))
	require.NoError(t, s.Order(t.Context(), "a", mapping.OrderNone), "it is known already")
	held, none := item(1, "k"), item(2, "k")
	held.Due = time.Now().Add(time.Hour)
	none.Lane, none.Ordered = "", false
	_, err := s.Add(t.Context(), []delivery.Parked{held, none, item(3, "other")})
	require.NoError(t, err)
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-3"}, names)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderStrict), "as a relay that begins with another file")
	names, _ = next(t, s, nil, 10)
	require.Empty(t, names)
}

// More queues than are let through at a time, some of whose names are hashes.
func TestReorder_LetsTheFirstOfEveryQueueThrough(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderStrict))
	var rows []delivery.Parked
	const keys = 2500
	for n := range 2 * keys {
		key := fmt.Sprint("key-", n%keys)
		if n%keys%10 == 0 {
			key = strings.Repeat("x", maxQueue) + key
		}
		rows = append(rows, item(n+1, key))
	}
	park(t, s, rows...)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderKey))
	names, found := next(t, s, nil, 3*keys)
	require.Len(t, names, 2*keys)
	seen := map[string]int{}
	for i := range found {
		n := number(&found[i])
		require.Less(t, seen[found[i].Lane], n)
		require.Equal(t, found[i].Event.Key, found[i].Lane)
		seen[found[i].Lane] = n
	}
	found[0].Due = time.Now().Add(time.Hour)
	settle(t, s, nil, found[0])
	b, err := s.Backlog(t.Context(), "a", 10)
	require.NoError(t, err)
	require.Equal(t, []string{found[0].Lane}, b.Blocked)
}

// What is large is read a few at a time, and nothing of it is passed over.
func TestNext_StopsWhereTheBytesAreReached(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var rows []delivery.Parked
	for n := range 20 {
		p := item(n+1, fmt.Sprint("k", n%3))
		p.Event.Payload = fmt.Appendf(nil, `"%s"`, strings.Repeat(fmt.Sprint(n%10), 500_000))
		if n < 4 {
			p.Due = time.Now().Add(-time.Minute)
		}
		rows = append(rows, p)
	}
	park(t, s, rows...)
	var order []string
	for more := true; more; {
		var found []delivery.Parked
		var err error
		found, more, err = s.Next(t.Context(), "a", nil, 20, 1_250_000)
		require.NoError(t, err)
		require.LessOrEqual(t, len(found), 3)
		for i := range found {
			require.Greater(t, found[i].Size, int64(500_000))
			order = append(order, found[i].Event.ID)
		}
		settle(t, s, idsOf(found))
	}
	require.Len(t, order, 20)
	_, more, err := s.Next(t.Context(), "a", nil, 10, 1)
	require.NoError(t, err)
	require.False(t, more)
}

func TestNext_ReturnsWhatWasGivenUpAlsoAfterAFailure(t *testing.T) {
	t.Parallel()
	s := setup(t)
	park(t, s, items(1, 4, "k")...)
	_, rows := next(t, s, nil, 2)
	require.Len(t, rows, 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Next(ended, "a", nil, 10, 1<<30) // the lane has let go of both, and the database does not answer
	require.Error(t, err)
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-1", "event-2", "event-3", "event-4"}, names)
}
