package pgtemp

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heldBackend returns a cluster with a child that is held, so that it outlives its postmaster.
func heldBackend(t *testing.T) (*Cluster, int) {
	t.Helper()
	c, err := Start(t.Context(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	family := children(c.Pid())
	require.NotEmpty(t, family)
	require.NoError(t, syscall.Kill(family[0], syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(family[0], syscall.SIGKILL) })
	return c, family[0]
}

func TestCluster_WaitsForTheChildrenOfAPostmasterThatWasKilled(t *testing.T) {
	t.Parallel()
	c, child := heldBackend(t)
	segment := sharedMemory(c.data())
	require.True(t, attached(segment))
	require.NoError(t, c.server.cmd.Process.Kill()) // by somebody else
	<-c.server.done
	require.True(t, attached(segment), "the child lives on")
	go func() {
		time.Sleep(300 * time.Millisecond) // a child that takes its time
		_ = syscall.Kill(child, syscall.SIGKILL)
	}()
	began := time.Now()
	require.NoError(t, c.Shutdown(Immediate))
	require.Greater(t, time.Since(began), 200*time.Millisecond)
	require.False(t, attached(segment))
	require.NoError(t, c.Launch(t.Context()))
}

func TestAwaitDetached_KillsWhoeverDoesNotEnd(t *testing.T) {
	t.Parallel()
	c, child := heldBackend(t)
	segment := sharedMemory(c.data())
	require.NoError(t, c.server.cmd.Process.Kill())
	<-c.server.done
	require.ErrorContains(t, awaitDetached(segment, nil, 20*time.Millisecond), "in use")
	require.NoError(t, awaitDetached(segment, []int{child}, 20*time.Millisecond))
	require.NoError(t, awaitDetached(-1, nil, 0))
	require.NoError(t, c.Shutdown(Crash))
	require.NoError(t, c.Launch(t.Context()))
}
