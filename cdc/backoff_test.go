package cdc

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoff_DoublesUntilAConnectionIsOfUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := backoff{log: slog.New(slog.DiscardHandler)}
		wait := func(err error) time.Duration {
			began := time.Now()
			require.True(t, b.wait(t.Context(), err))
			return time.Since(began)
		}
		down := errors.New("down")
		for want := backoffLeast; want < backoffMost; want *= 2 {
			got := wait(down)
			require.GreaterOrEqual(t, got, want)
			require.LessOrEqual(t, got, want+want/5)
		}
		require.GreaterOrEqual(t, wait(down), backoffMost)
		b.streaming()
		b.proven(time.Now(), false)
		require.GreaterOrEqual(t, wait(down), backoffMost, "a connection that broke at once shows nothing")
		b.streaming()
		b.proven(time.Now(), true)
		require.Less(t, wait(down), 2*backoffLeast)
		wait(down)
		b.streaming()
		time.Sleep(healthyStream)
		b.proven(time.Now(), false)
		require.Less(t, wait(down), 2*backoffLeast)
		require.InDelta(t, standbyWait, wait(&Fault{Kind: FaultSlotActive}), float64(standbyWait)/5)
	})
}

func TestBackoff_LogsTheFirstFailureEachChangeAndTheRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := backoff{log: slog.New(slog.NewTextHandler(&out, nil))}
		for port := range 3 { // a new port each time is no change
			broken := &net.OpError{Op: "read", Source: &net.TCPAddr{Port: port}, Err: errors.New("reset")}
			require.True(t, b.wait(t.Context(), fmt.Errorf("read from the server: %w", broken)))
		}
		for range 3 {
			require.True(t, b.wait(t.Context(), errors.New("refused")))
			b.streaming()
			b.proven(time.Now(), false)
		}
		b.proven(time.Now(), true)
		b.proven(time.Now(), true)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 3, out.String())
		require.Contains(t, lines[0], "reset")
		require.Contains(t, lines[1], "refused")
		require.Contains(t, lines[2], "attempts=6")
	})
}
