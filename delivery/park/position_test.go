package park

import (
	"testing"

	"github.com/stretchr/testify/require"

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

	rebuilt := Origin{System: "7300000000000000002", Slot: "relay"}
	require.Empty(t, load(rebuilt), "progress in another cluster means nothing")
	save(rebuilt, map[string]mapping.Position{"a": {Mark: at(1)}})
	require.Equal(t, map[string]mapping.Position{"a": {Mark: at(1)}}, load(rebuilt))

	require.NoError(t, s.DeletePositions(ctx, "a"))
	require.Empty(t, load(rebuilt))
	require.Len(t, load(origin), 1)
	require.NoError(t, s.DeletePositions(ctx))
	require.Empty(t, load(origin))
}

func TestPositions_KeepOpenPlacesShort(t *testing.T) {
	t.Parallel()
	var places []mapping.Place
	for i := range uint32(30_000) {
		places = append(places, mapping.Place{Commit: 0x16B3748, Ordinal: 3 * i})
	}
	places = append(places, mapping.Place{Commit: 0x16B3750}, mapping.Place{Commit: 0x16B3750, Ordinal: 1<<32 - 1})
	text := formatOpen(places)
	require.Less(t, len(text), 100_000)
	got, err := parseOpen(text)
	require.NoError(t, err)
	require.Equal(t, places, got)
	_, err = parseOpen("0/16B3748+1 +x")
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
