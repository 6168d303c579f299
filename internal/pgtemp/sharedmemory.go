package pgtemp

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// releaseSharedMemory removes the small System V segment that marks a data directory as in use, should a killed server
// have left it behind: the system keeps it until it is removed or the machine restarts.
func releaseSharedMemory(data string) {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return // it stopped in good order
	}
	lines := bytes.Split(b, []byte("\n"))
	if len(lines) < 7 {
		return
	}
	key := bytes.Fields(lines[6]) // key and id of the segment
	if len(key) != 2 {
		return
	}
	if id, err := strconv.Atoi(string(key[1])); err == nil {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) // gone already is as good
	}
}
