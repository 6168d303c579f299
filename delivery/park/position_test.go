package park

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/mapping"
)

func TestPositions_OnlyGoForwardWithinTheirSlot(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	origin := Origin{System: "7300000000000000001", Slot: "relay"}
	load := func(o Origin) map[string]mapping.Position {
		got, err := s.LoadPositions(ctx, o)
		require.NoError(t, err)
		return got
	}
	save := func(o Origin, p map[string]mapping.Position) { require.NoError(t, s.SavePositions(ctx, o, p)) }

	ahead := mapping.Position{Mark: mapping.Place{Commit: 1 << 62, Ordinal: 1<<32 - 1}, Open: []mapping.Place{at(1), at(2).Next()}}
	save(origin, map[string]mapping.Position{"a": ahead, "b": {Mark: at(3)}})
	require.Equal(t, map[string]mapping.Position{"a": ahead, "b": {Mark: at(3)}}, load(origin))

	save(origin, map[string]mapping.Position{"a": {Mark: at(9)}, "b": {Mark: at(3).Next()}})
	require.Equal(t, map[string]mapping.Position{"a": ahead, "b": {Mark: at(3).Next()}}, load(origin))
	ahead.Open = ahead.Open[:1]
	save(origin, map[string]mapping.Position{"a": ahead})
	require.Equal(t, ahead, load(origin)["a"], "what was open is settled")

	early := mapping.Position{Mark: at(5), Beyond: []mapping.Place{at(6), at(6).Next(), at(8)}}
	save(origin, map[string]mapping.Position{"c": early})
	require.Equal(t, early, load(origin)["c"])
	early.Beyond = append(early.Beyond, at(9))
	save(origin, map[string]mapping.Position{"c": early})
	require.Equal(t, early, load(origin)["c"])
	past := mapping.Position{Mark: at(9).Next()}
	save(origin, map[string]mapping.Position{"c": past})
	require.Equal(t, past, load(origin)["c"], "the stream is past what lay beyond")

	rebuilt := Origin{System: "7300000000000000002", Slot: "relay"}
	require.Empty(t, load(rebuilt), "progress in another cluster means nothing")
	save(rebuilt, map[string]mapping.Position{"a": {Mark: at(1)}})
	require.Equal(t, map[string]mapping.Position{"a": {Mark: at(1)}}, load(rebuilt))

	require.NoError(t, s.DeletePositions(ctx, "a"))
	require.Empty(t, load(rebuilt))
	require.Len(t, load(origin), 2)
	require.NoError(t, s.DeletePositions(ctx))
	require.Empty(t, load(origin))
}

// What was parked after the last save before a crash is settled all the same, from the position on and where it was open.
func TestReconcile_FindsWhatIsParkedAndMayComeAgain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	at := func(n int) mapping.Place { return mapping.Place{Commit: 1 << 40, Ordinal: uint32(n)} }
	placed := func(endpoint string, place mapping.Place) delivery.Parked {
		it := item(1, "k")
		it.Endpoint, it.Event.Place = endpoint, place
		return it
	}
	dead := placed("a", at(8))
	dead.State = delivery.Dead
	park(t, s, placed("a", at(1)), placed("a", at(3)), placed("a", at(4)), placed("a", at(6)), dead, placed("a", mapping.Place{}),
		placed("a", mapping.Place{Commit: at(0).Commit + 1}), // a byte before a record: of a row from before the slot
		placed("b", at(5)), placed("b", at(7)))
	origin := Origin{System: "7300000000000000001", Slot: "relay"}
	positions := map[string]mapping.Position{
		"a": {Mark: at(6), Open: []mapping.Place{at(2), at(4), at(5)}, Beyond: []mapping.Place{at(7)}},
		"b": {Mark: at(6)},
		"c": {Mark: at(1)},
	}
	got, err := s.Reconcile(t.Context(), origin, positions)
	require.NoError(t, err)
	require.Equal(t, map[string]mapping.Position{
		"a": {Mark: at(6), Open: []mapping.Place{at(2), at(5)}, Beyond: []mapping.Place{at(6), at(7), at(8)}},
		"b": {Mark: at(6), Beyond: []mapping.Place{at(7)}},
		"c": {Mark: at(1)},
	}, got)
}

// What waits may be millions of rows, of which the stream brings none.
func TestReconcile_LeavesOutWhatTheSlotHasConfirmed(t *testing.T) {
	t.Parallel()
	s := setup(t)
	now := func() (place mapping.Place) {
		require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT pg_current_wal_insert_lsn()`).Scan(&place.Commit))
		return place
	}
	before := item(1, "k")
	before.Event.Place = now()
	before.Event.Place.Commit -= 2
	park(t, s, before)
	origin := Origin{System: "7300000000000000001", Slot: "reconcile_" + s.pool.Config().ConnConfig.Database}
	none := map[string]mapping.Position{"a": {}}
	got, err := s.Reconcile(t.Context(), origin, none)
	require.NoError(t, err)
	require.Equal(t, none, got, "a slot that is yet to be made begins later")

	_, err = s.pool.Exec(t.Context(), `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, origin.Slot)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := s.pool.Exec(context.WithoutCancel(t.Context()), `SELECT pg_drop_replication_slot($1)`, origin.Slot)
		require.NoError(t, err)
	})
	after := item(2, "k")
	after.Event.Place = now()
	park(t, s, after)
	got, err = s.Reconcile(t.Context(), origin, none)
	require.NoError(t, err)
	require.Equal(t, map[string]mapping.Position{"a": {Beyond: []mapping.Place{after.Event.Place}}}, got)
}

func TestPositions_KeepOpenPlacesShort(t *testing.T) {
	t.Parallel()
	var places []mapping.Place
	for i := range uint32(30_000) {
		places = append(places, mapping.Place{Commit: 0x16B3748, Ordinal: 3 * i})
	}
	places = append(places, mapping.Place{Commit: 0x16B3750}, mapping.Place{Commit: 0x16B3750, Ordinal: 1<<32 - 1})
	text := formatPlaces(places)
	require.Less(t, len(text), 100_000)
	got, err := parsePlaces(text)
	require.NoError(t, err)
	require.Equal(t, places, got)
	_, err = parsePlaces("0/16B3748+1 +x")
	require.Error(t, err)
}

func TestUnplace_KeepsTheOrderAndLetsTheSamePlacesComeAgain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	park(t, s, item(6, "k"))
	park(t, s, item(3, "k"), item(4, "k")) // older, of higher IDs
	require.NoError(t, s.Unplace(t.Context()))
	require.NotZero(t, park(t, s, item(1, "k"), item(5, "k"))[1])
	var order []string
	for len(order) < 5 {
		names, rows := next(t, s, nil, 1)
		require.NotEmpty(t, names)
		order = append(order, names...)
		settle(t, s, idsOf(rows))
	}
	require.Equal(t, []string{"event-3", "event-4", "event-6", "event-1", "event-5"}, order)
}

func TestAdopt_ForgetsThePlacesOfAnotherClusterAndKeepsWhatIsParked(t *testing.T) {
	t.Parallel()
	s := setup(t)
	old, origin := Origin{"7300000000000000001", "relay"}, Origin{"7300000000000000002", "relay"}
	park(t, s, item(5, "k"))
	require.NoError(t, s.SavePositions(t.Context(), old, map[string]mapping.Position{"a": {Mark: at(5)}, "b": {Mark: at(4)}}))
	adopted, err := s.Adopt(t.Context(), origin)
	require.NoError(t, err)
	require.True(t, adopted)
	adopted, err = s.Adopt(t.Context(), origin)
	require.NoError(t, err)
	require.False(t, adopted)
	require.NotZero(t, park(t, s, item(5, "k"))[0], "an event of the new cluster at the same place is another event")
	names, _ := next(t, s, nil, 10)
	require.Equal(t, []string{"event-5", "event-5"}, names)
}
