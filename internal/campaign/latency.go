package campaign

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// latency measures commit to receipt of the events of a paced writer, of which each transaction is one event.
type latency struct {
	committed [][]atomic.Int64 // by writer and seq, Unix nanoseconds; 0: not yet

	mu     sync.Mutex
	spans  []time.Duration
	parted int // how many of them belong to parts that are over
}

func newLatency(writers, events int) *latency {
	l := &latency{}
	for range writers + 1 {
		l.committed = append(l.committed, make([]atomic.Int64, events+1))
	}
	return l
}

// sent notes when an event's commit was asked for: the earliest that anyone could have received it.
func (l *latency) sent(id ID) { l.committed[id.Writer()][id.Seq()].Store(time.Now().UnixNano()) }

func (l *latency) note(id ID) {
	at := l.committed[id.Writer()][id.Seq()].Load()
	if at == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, time.Duration(time.Now().UnixNano()-at))
}

// split begins a new part of what is measured, and returns the 99th percentile of the last one.
func (l *latency) split() time.Duration {
	l.mu.Lock()
	part := slices.Clone(l.spans[l.parted:])
	l.parted = len(l.spans)
	l.mu.Unlock()
	_, p99, _ := percentiles(part)
	return p99
}

// take returns the median and the 99th percentile of what was measured since it was last called, and how many there were.
func (l *latency) take() (p50, p99 time.Duration, n int) {
	l.mu.Lock()
	spans := l.spans
	l.spans, l.parted = nil, 0
	l.mu.Unlock()
	return percentiles(spans)
}

func percentiles(spans []time.Duration) (p50, p99 time.Duration, n int) {
	if len(spans) == 0 {
		return 0, 0, 0
	}
	slices.Sort(spans)
	return spans[len(spans)/2], spans[len(spans)*99/100], len(spans)
}
