package main

import (
	"os"
	"runtime"
	"runtime/debug"
	gometrics "runtime/metrics"
)

// Bounds of the pace of garbage collection. A relay's live heap is a few MiB while it keeps up; Go's default would
// collect after each few MiB more, and spend a sixth of the processor on it.
const (
	heapFloor  = 26 << 20 // the heap may grow to this before it is collected
	gcLeast    = 75       // percent of the live heap that it may grow by, whatever its size
	gcMost     = 400
	gcNoticing = 10 // percentage points that are not worth a change
)

// paceGC lets a small heap grow to heapFloor and a large one in proportion, following the live heap after each collection.
// GOGC in the environment overrides it, and the memory limit holds beside it.
func paceGC() {
	limitMemory()
	if os.Getenv("GOGC") != "" {
		return
	}
	set := gcMost
	debug.SetGCPercent(set)
	live := []gometrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var follow func(*heartbeat)
	follow = func(*heartbeat) {
		gometrics.Read(live)
		if want := gcPercent(live[0].Value.Uint64()); want > set+gcNoticing || want < set-gcNoticing {
			set = want
			debug.SetGCPercent(set)
		}
		runtime.SetFinalizer(&heartbeat{}, follow) // the next collection finds it
	}
	runtime.SetFinalizer(&heartbeat{}, follow)
}

// heartbeat is garbage from the start; its finalizer runs once a collection. It has a pointer so that it is not
// allocated together with others.
type heartbeat struct{ _ *heartbeat }

func gcPercent(live uint64) int {
	live = max(live, 1<<20)
	if live >= heapFloor {
		return gcLeast
	}
	return min(max(int((heapFloor-live)*100/live), gcLeast), gcMost)
}
