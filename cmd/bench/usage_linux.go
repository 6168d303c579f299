package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// peakMemory returns the peak resident set of a running process in bytes, 0 if it is not known. It is not that of
// getrusage, which starts at what the parent had when it forked.
func peakMemory(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

func peakOfRusage(*os.ProcessState) int64 { return 0 }

// tick is the unit of times in /proc, which is the same on all of Go's Linux ports.
const tick = time.Second / 100

// cpuOfFamily returns what a process, its children and those of them that have ended took.
func cpuOfFamily(pid int) time.Duration {
	all, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	var sum time.Duration
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // ended since
		}
		// "pid (name) state ppid …", and a name may hold blanks and parentheses.
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(f) < 15 {
			continue
		}
		switch strconv.Itoa(pid) {
		case filepath.Base(filepath.Dir(path)):
			sum += ticks(f[11:15]...) // its own, user and system, and that of children it has waited for
		case string(f[1]):
			sum += ticks(f[11:13]...)
		}
	}
	return sum
}

func ticks(fields ...[]byte) time.Duration {
	var sum time.Duration
	for _, field := range fields {
		n, _ := strconv.ParseInt(string(field), 10, 64) // the kernel writes numbers
		sum += time.Duration(n) * tick
	}
	return sum
}
