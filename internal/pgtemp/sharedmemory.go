package pgtemp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sharedMemory returns the id of the small System V segment that marks a data directory as in use, or -1. It stands in
// postmaster.pid, which a server that stops in good order removes.
func sharedMemory(data string) int {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return -1
	}
	lines := bytes.Split(b, []byte("\n"))
	if len(lines) < 7 {
		return -1
	}
	key := bytes.Fields(lines[6]) // key and id of the segment
	if len(key) != 2 {
		return -1
	}
	id, err := strconv.Atoi(string(key[1]))
	if err != nil {
		return -1
	}
	return id
}

// orphanTimeout is how long the children of a server may outlive it before they are killed: each of them ends when it
// next looks, or when its statement does.
const orphanTimeout = 5 * time.Second

// awaitDetached returns when no process is attached to the segment any more, which is what Postgres asks for before it
// starts on the same data. Children of a server that was stopped in a hurry outlive it for a moment: those that still do
// after the time out are killed. There is no event to wait for, so it asks.
func awaitDetached(segment int, orphans []int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for killed := false; attached(segment); time.Sleep(5 * time.Millisecond) {
		if time.Now().Before(deadline) {
			continue
		}
		if killed {
			return fmt.Errorf("stop postgres: shared memory segment %d is in use %s after the server ended", segment, 2*timeout)
		}
		for _, pid := range orphans {
			_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended by itself
		}
		killed, deadline = true, time.Now().Add(timeout)
	}
	return nil
}

// attached reports whether a process is attached to the segment; to one that is gone, none is.
func attached(segment int) bool {
	if segment < 0 {
		return false
	}
	var desc unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(segment, unix.IPC_STAT, &desc); err != nil {
		return false
	}
	return desc.Nattch > 0
}

// releaseSharedMemory removes the segment, should a killed server have left it behind: the system keeps it until it is
// removed or the machine restarts.
func releaseSharedMemory(data string) {
	if id := sharedMemory(data); id >= 0 {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) // gone already is as good
	}
}
