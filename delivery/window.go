package delivery

import (
	"sync"
	"sync/atomic"
)

// Window bounds what is undelivered in memory. When it is full the reader waits; it is let in again when an eighth is
// free, so that it does not wake for every single delivery. The reader also waits while every lane has all the work it can
// use: what is read further ahead only costs memory.
type Window struct {
	maxEvents, maxBytes int64

	events, bytes atomic.Int64
	lanes, sated  atomic.Int64
	aged          atomic.Bool // something has waited so long that more would only wait behind it
	waiting       atomic.Bool // wait is not nil

	mu   sync.Mutex
	wait chan struct{} // closed by whoever makes room
}

// NewWindow returns a window of so many events and bytes, each at least 1.
func NewWindow(events int, bytes int64) *Window {
	return &Window{maxEvents: max(1, int64(events)), maxBytes: max(1, bytes)}
}

// Events returns how many events are undelivered in memory.
func (w *Window) Events() int64 { return w.events.Load() }

// Room returns nil if there is room, or a channel that is closed when there is.
func (w *Window) Room() <-chan struct{} {
	if !w.full() {
		return nil
	}
	w.mu.Lock()
	if w.wait == nil {
		w.wait = make(chan struct{})
		w.waiting.Store(true)
	}
	ch := w.wait
	w.mu.Unlock()
	w.letIn() // what was released before waiting was set told nobody
	return ch
}

// full lets one event in that is larger than the window: it could never be sent otherwise.
func (w *Window) full() bool {
	n := w.events.Load()
	return n > 0 && (n >= w.maxEvents || w.bytes.Load() >= w.maxBytes || w.closed())
}

// closed is for other reasons than size.
func (w *Window) closed() bool {
	lanes := w.lanes.Load()
	return w.aged.Load() || lanes > 0 && w.sated.Load() >= lanes
}

// join and leave count a lane.
func (w *Window) join() { w.lanes.Add(1) }

func (w *Window) leave(sated bool) {
	w.lanes.Add(-1)
	if sated {
		w.setSated(false)
	}
}

// setSated counts a lane that has, or no longer has, all the work it can use.
func (w *Window) setSated(sated bool) {
	if sated {
		w.sated.Add(1)
		return
	}
	w.sated.Add(-1)
	if w.waiting.Load() {
		w.letIn()
	}
}

func (w *Window) take(bytes int64) {
	w.events.Add(1)
	w.bytes.Add(bytes)
}

func (w *Window) release(bytes int64) {
	w.bytes.Add(-bytes)
	w.events.Add(-1)
	if w.waiting.Load() {
		w.letIn()
	}
}

func (w *Window) setAged(aged bool) {
	if w.aged.Swap(aged) && !aged {
		w.letIn()
	}
}

func (w *Window) letIn() {
	n := w.events.Load()
	if n > 0 && (n > w.maxEvents-(w.maxEvents+7)/8 || w.bytes.Load() > w.maxBytes-(w.maxBytes+7)/8 || w.closed()) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait != nil {
		close(w.wait)
		w.wait = nil
		w.waiting.Store(false)
	}
}
