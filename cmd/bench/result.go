package main

import (
	"fmt"
	"slices"
	"time"
)

// result is what one run showed. What a kind of scenario does not measure is zero.
type result struct {
	usage
	deliveries         int
	postgres, receiver time.Duration // CPU of those beside the measured process

	rate        float64 // deliveries a second, over all endpoints
	least, most float64 // of an equal share, that an endpoint had got when half of everything had come

	p50, p90, p99, max time.Duration // commit to receipt
	written            float64       // events a second that the steady writer reached

	parking float64 // events a second
	live    float64 // events a second of the same backlog, not parked
}

// per returns a time per 100,000 deliveries, in seconds.
func (r result) per(d time.Duration) float64 {
	return d.Seconds() * 100_000 / float64(max(1, r.deliveries))
}

// What is read from results.
func rateOf(r result) float64     { return r.rate }
func cpuOf(r result) float64      { return r.per(r.cpu) }
func postgresOf(r result) float64 { return r.per(r.postgres) }
func receiverOf(r result) float64 { return r.per(r.receiver) }
func memoryOf(r result) float64   { return float64(r.memory) / (1 << 20) }
func allocsOf(r result) float64   { return r.allocs }
func p50Of(r result) float64      { return milliseconds(r.p50) }
func p90Of(r result) float64      { return milliseconds(r.p90) }
func p99Of(r result) float64      { return milliseconds(r.p99) }
func maxOf(r result) float64      { return milliseconds(r.max) }
func writtenOf(r result) float64  { return r.written }
func parkingOf(r result) float64  { return r.parking }
func liveOf(r result) float64     { return r.live }
func leastOf(r result) float64    { return r.least }
func mostOf(r result) float64     { return r.most }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// outcome is what all runs of a scenario showed.
type outcome struct {
	scenario
	runs map[string][]result // by system, one of each round
}

// median returns the middle of what get takes from a system's runs, and zero where there are none.
func (o outcome) median(system string, get func(result) float64) float64 {
	values := o.values(system, get)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}

// values returns what get takes from a system's runs, in ascending order.
func (o outcome) values(system string, get func(result) float64) []float64 {
	var values []float64
	for _, r := range o.runs[system] {
		values = append(values, get(r))
	}
	slices.Sort(values)
	return values
}

// spread is the least and the most of a system's runs as text.
func (o outcome) spread(system string, get func(result) float64, format string) string {
	values := o.values(system, get)
	if len(values) < 2 {
		return ""
	}
	return fmt.Sprintf(format+"–"+format, values[0], values[len(values)-1])
}
