package cdc_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/internal/pgtemp/pgtest"
)

// Other clients have parameters of their own, and the application's URL is copied with them.
func TestConnect_NamesAParameterThatNobodyKnowsAndNotTheVersion(t *testing.T) {
	t.Parallel()
	for name, param := range map[string]string{
		"schema":         "schema=public",
		"pgbouncer":      "pgbouncer=true",
		"pool_max_conns": "pool_max_conns=5",
		"worker_mem":     "options=-c%20worker_mem%3D8MB", // misspelt
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Database(t)
			err := cdc.CheckSlot(t.Context(), cdc.Source{URL: url + sep(url) + param, Slot: "relay"})
			var f *cdc.Fault
			require.True(t, errors.As(err, &f), "%v", err)
			require.Equal(t, cdc.FaultConnection, f.Kind)
			require.Contains(t, f.Problem, "neither relay nor the server knows")
			require.Contains(t, f.Remedy, "take it out")
			require.ErrorContains(t, err, name)
		})
	}
}
