package main

import (
	"fmt"
	"os"
	"strings"
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
