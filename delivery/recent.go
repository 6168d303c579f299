package delivery

import (
	"sync"
	"time"
)

// What status tells about deliveries is of the last minute, looked at in steps.
const (
	recentEvery = 10 * time.Second
	recentSteps = 6
)

// recent is what an endpoint took in about the last minute. Deliveries cost nothing for it: it compares what the histogram
// counts now with what it counted a minute ago.
type recent struct {
	mu    sync.Mutex
	steps [recentSteps + 1]reading
	n     int // readings so far
}

// reading is what was counted by a time. Differences of counts survive that they wrap around.
type reading struct {
	at     time.Time
	counts [bucketCount + 1]uint32
}

// note takes a reading.
func (r *recent) note(now time.Time, h *histogram) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step := &r.steps[r.n%len(r.steps)]
	step.at = now
	for i, n := range h.read() {
		step.counts[i] = uint32(n)
	}
	r.n++
}

// Pace is how an endpoint took deliveries in about the last minute.
type Pace struct {
	Rate     float64       // deliveries a second
	P50, P99 time.Duration // from commit to 2xx: half of them, and 99 of 100, took no longer; zero: there were none
}

// pace compares now with the oldest reading.
func (r *recent) pace(now time.Time, h *histogram) Pace {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		return Pace{}
	}
	oldest := &r.steps[0]
	if r.n > len(r.steps) {
		oldest = &r.steps[r.n%len(r.steps)]
	}
	counts, total := h.read(), uint64(0)
	for i := range counts {
		counts[i] = uint64(uint32(counts[i]) - oldest.counts[i])
		total += counts[i]
	}
	if total == 0 {
		return Pace{}
	}
	return Pace{
		Rate: float64(total) / max(now.Sub(oldest.at), time.Second).Seconds(),
		P50:  quantile(&counts, 0.5), P99: quantile(&counts, 0.99),
	}
}
