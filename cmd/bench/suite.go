package main

import (
	"fmt"
	"slices"
	"time"
)

// The suites.
const (
	quick = "quick"
	full  = "full"
)

// wholeBacklog as a scenario's tx has all rows in one transaction.
const wholeBacklog = -1

// scenarios returns those that the flags choose, in the order of the report.
func (o *options) scenarios() []scenario {
	var chosen []scenario
	for _, s := range catalogue() {
		if o.run != nil && !o.run.MatchString(s.name) || o.run == nil && !slices.Contains(s.suites, o.suite) {
			continue
		}
		chosen = append(chosen, o.apply(s))
	}
	return chosen
}

// catalogue is every scenario. Those in no suite are for -run.
func catalogue() []scenario {
	const ms = time.Millisecond
	both, onlyFull := []string{quick, full}, []string{full}
	relay := []string{sysRelay}
	return slices.Concat(matrix(), []scenario{
		{name: "drain/200ms/c512", kind: draining, suites: both, systems: []string{sysPipe, sysRelay}, deliveries: 40 * 512, delay: 200 * ms, concurrency: 512},
		{name: "drain/10KB", kind: draining, suites: onlyFull, deliveries: 50_000, payload: largePayload},
		{name: "drain/tx1", kind: draining, suites: onlyFull, deliveries: 100_000, tx: 1},
		{name: "drain/tx1000", kind: draining, suites: onlyFull, deliveries: 100_000, tx: 1000},
		{name: "drain/https", kind: draining, suites: both, deliveries: 100_000, tls: true},
		{name: "drain/https/20ms", kind: draining, deliveries: 20_000, tls: true, delay: 20 * ms},
		{name: "drain/live", kind: draining, suites: onlyFull, systems: relay, deliveries: 100_000, endpoints: 2},
		{name: "drain/down", kind: draining, suites: onlyFull, systems: relay, deliveries: 50_000, down: true},
		{name: "drain/keys", kind: draining, suites: onlyFull, deliveries: 100_000, keys: 100_000},
		{name: "drain/wide", kind: draining, suites: onlyFull, systems: []string{sysPipe, sysRelay}, deliveries: 100_000, endpoints: 1000, concurrency: 2},
		{name: "drain/huge", kind: draining, suites: onlyFull, systems: []string{sysPipe, sysRelay}, deliveries: 1_000_000, rounds: 1, tx: wholeBacklog},
		{name: "steady/500", kind: steadily, suites: both, systems: everySystem, rate: 500},
		{name: "steady/2000", kind: steadily, suites: onlyFull, systems: everySystem, rate: 2000},
		{name: "steady/5000", kind: steadily, suites: onlyFull, systems: everySystem, rate: 5000},
		{name: "steady/500/10", kind: steadily, rate: 500, endpoints: 10},
		{name: "steady/500/https", kind: steadily, rate: 500, tls: true},
		{name: "park", kind: parking, suites: both, systems: relay, deliveries: 1_000_000, rounds: 1},
	})
}

// matrix is each delay with each number of endpoints.
func matrix() []scenario {
	var all []scenario
	for _, delay := range []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond} {
		for _, endpoints := range []int{1, 10, 100} {
			s := scenario{kind: draining, delay: delay, endpoints: endpoints, deliveries: 100_000}
			s.name = fmt.Sprintf("drain/%dms/%d", delay.Milliseconds(), endpoints)
			switch {
			case delay == 0 && endpoints == 100:
				s.suites = []string{full}
			case delay == 0:
				s.suites, s.systems = []string{quick, full}, everySystem
			case delay == 20*time.Millisecond && endpoints == 1:
				s.suites, s.systems, s.deliveries = []string{quick, full}, everySystem, 20_000
			case delay == 20*time.Millisecond && endpoints == 10:
				s.suites, s.deliveries = []string{full}, 50_000
			case endpoints == 1:
				s.deliveries = 5_000
			default:
				s.deliveries = 20_000
			}
			all = append(all, s)
		}
	}
	return all
}
