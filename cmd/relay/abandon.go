package main

import (
	"slices"
	"sync"
)

// abandon is what has to go when the process is told to stop at once: the demo's Postgres and its relay. Everything
// else is left to the operating system.
var abandon lastWill

// lastWill is a list of clean-ups that run at most once, newest first.
type lastWill struct {
	mu    sync.Mutex
	steps []func()
}

// add registers a step and returns the function that runs it, once, whoever comes first.
func (w *lastWill) add(step func()) func() {
	once := sync.OnceFunc(step)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, once)
	return once
}

func (w *lastWill) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, step := range slices.Backward(w.steps) {
		step()
	}
}
