//go:build !linux

package main

import (
	"os"
	"syscall"
	"time"
)

// peakMemory is known on Linux only, before the process has ended.
func peakMemory(int) int64 { return 0 }

// peakOfRusage returns the peak resident set of an ended process in bytes, which is the unit of macOS.
func peakOfRusage(state *os.ProcessState) int64 {
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss
	}
	return 0
}

// cpuOfFamily is known on Linux only, while the processes live.
func cpuOfFamily(int) time.Duration { return 0 }
