package cdc_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/cdc/cdctest"
)

// A primary that loses its power leaves nobody to refuse a connection to its address.
func TestStream_PassesAHostThatSaysNothing(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	url := cdctest.BehindSilent(t, s.src.URL)
	url += sep(url) + "target_session_attrs=read-write"
	run := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.URL = url })
	s.write(1, 1)
	requireOnceInOrder(t, run.wait(t, 1), 1)

	src := s.src
	src.URL = url
	lookout := cdc.NewLookout(src)
	t.Cleanup(lookout.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := lookout.Look(ctx)
	require.NoError(t, err)
}
