package campaign

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// latency measures commit to receipt of the events of a paced writer, of which each transaction is one event.
type latency struct {
	committed []atomic.Int64 // by seq, Unix nanoseconds; 0: not yet

	mu    sync.Mutex
	spans []time.Duration
}

func newLatency(events int) *latency { return &latency{committed: make([]atomic.Int64, events+1)} }

// sent notes when an event's commit was asked for: the earliest that anyone could have received it.
func (l *latency) sent(seq int) { l.committed[seq].Store(time.Now().UnixNano()) }

func (l *latency) note(id ID) {
	if id.Seq() >= len(l.committed) {
		return
	}
	at := l.committed[id.Seq()].Load()
	if at == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, time.Duration(time.Now().UnixNano()-at))
}

// take returns the median and the 99th percentile of what was measured since it was last called, and how many there were.
func (l *latency) take() (p50, p99 time.Duration, n int) {
	l.mu.Lock()
	spans := l.spans
	l.spans = nil
	l.mu.Unlock()
	if len(spans) == 0 {
		return 0, 0, 0
	}
	slices.Sort(spans)
	return spans[len(spans)/2], spans[len(spans)*99/100], len(spans)
}
