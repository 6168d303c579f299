package main

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// receipts is what came when.
type receipts struct {
	times      [][]atomic.Int64 // of each endpoint and event: when it came first, in Unix nanoseconds
	last       [][]atomic.Int64 // of each endpoint and key: the event that came last
	missing    atomic.Int64
	repeated   atomic.Int64
	disorder   atomic.Int64
	disorderly bool
	done       chan struct{} // closed with the last event
}

func newReceipts(cfg receiverConfig) *receipts {
	r := &receipts{disorderly: cfg.disorderly, done: make(chan struct{})}
	r.missing.Store(int64(cfg.endpoints * cfg.events))
	for range cfg.endpoints {
		r.times = append(r.times, make([]atomic.Int64, cfg.events))
		r.last = append(r.last, make([]atomic.Int64, cfg.keys))
	}
	return r
}

// received is how many events came so far, over all endpoints.
func (r *receipts) received() int64 {
	return int64(len(r.times)*len(r.times[0])) - r.missing.Load()
}

func (r *receipts) note(endpoint, event int) {
	if !r.times[endpoint][event].CompareAndSwap(0, time.Now().UnixNano()) {
		r.repeated.Add(1)
		return
	}
	last := &r.last[endpoint][event%len(r.last[endpoint])]
	if last.Swap(int64(event)) > int64(event) {
		r.disorder.Add(1)
	}
	if r.missing.Add(-1) == 0 {
		close(r.done)
	}
}

// verdict says whether every event came once and, if that is asked for, in the order of its key.
func (r *receipts) verdict() error {
	m, d, o := r.missing.Load(), r.repeated.Load(), r.disorder.Load()
	if r.disorderly {
		o = 0
	}
	if m > 0 || d > 0 || o > 0 {
		return fmt.Errorf("%d events missing, %d repeated, %d out of order", m, d, o)
	}
	return nil
}

// all returns when which endpoint got something, in order of time.
func (r *receipts) all() []receipt {
	var all []receipt
	for endpoint, times := range r.times {
		for i := range times {
			if t := times[i].Load(); t != 0 {
				all = append(all, receipt{t, endpoint})
			}
		}
	}
	slices.SortFunc(all, func(a, b receipt) int { return int(a.at - b.at) })
	return all
}

type receipt struct {
	at       int64 // in Unix nanoseconds
	endpoint int
}

// elapsed returns the time from the first receipt to the last.
func elapsed(all []receipt) time.Duration { return time.Duration(all[len(all)-1].at - all[0].at) }

// shares returns, at the moment when half of everything had come, the least and the most that an endpoint had got, as parts
// of an equal share.
func shares(all []receipt, endpoints int) (least, most float64) {
	counts := make([]int, endpoints)
	for _, r := range all[:len(all)/2] {
		counts[r.endpoint]++
	}
	fair := float64(len(all)/2) / float64(endpoints)
	return float64(slices.Min(counts)) / fair, float64(slices.Max(counts)) / fair
}
