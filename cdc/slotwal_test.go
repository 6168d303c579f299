package cdc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

func TestReadSlotWAL_GrowsWithWhatIsWrittenAndKnowsTheLimit(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	before, err := cdc.ReadSlotWAL(t.Context(), s.src.URL, s.src.Slot)
	require.NoError(t, err)
	require.False(t, before.Limited)
	s.write(0, 1000)
	after, err := cdc.ReadSlotWAL(t.Context(), s.src.URL, s.src.Slot)
	require.NoError(t, err)
	require.Greater(t, after.Retained, before.Retained)

	_, err = cdc.ReadSlotWAL(t.Context(), s.src.URL, "it's not there")
	require.ErrorContains(t, err, "does not exist")

	limited := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"max_slot_wal_keep_size": "1GB"}})
	s = setup(t, limited.URL("postgres"))
	w, err := cdc.ReadSlotWAL(t.Context(), s.src.URL, s.src.Slot)
	require.NoError(t, err)
	require.True(t, w.Limited)
	require.Greater(t, w.Safe, int64(500<<20))
}
