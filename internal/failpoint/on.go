//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// armed is RELAY_FAILPOINT, name or name:count.
var armed = parse(os.Getenv("RELAY_FAILPOINT"))

type point struct {
	name string
	left atomic.Int64
}

func parse(text string) *point {
	name, count, _ := strings.Cut(text, ":")
	p := &point{name: name}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		n = 1
	}
	p.left.Store(n)
	return p
}

// Hit kills this process, as SIGKILL does, when RELAY_FAILPOINT names the point and it is hit for the count-th time.
func Hit(name string) {
	if name != armed.name || armed.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way: nothing may happen after the point
}
