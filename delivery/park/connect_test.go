package park

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc/cdctest"
	"relay/internal/pgtemp/pgtest"
)

func TestStore_PassesAHostThatSaysNothing(t *testing.T) {
	t.Parallel()
	s := open(t, cdctest.BehindSilent(t, pgtest.Database(t))) // migrates over the pool
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	lease, err := s.Lock(ctx, nil) // over a connection of its own
	require.NoError(t, err)
	lease.Release()
}
