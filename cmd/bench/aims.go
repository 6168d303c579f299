package main

import "fmt"

// aim is a figure to be reached, as a ratio between what ran in turns wherever one is to be had.
type aim struct {
	text  string
	want  float64
	least bool // want is the least, not the most
	got   float64
}

func (a aim) met() bool {
	if a.least {
		return a.got >= a.want
	}
	return a.got <= a.want
}

// aims holds relay's aims against the outcomes; those not measured have no figure.
func aims(outcomes []outcome) []aim {
	named := make(map[string]outcome)
	for _, o := range outcomes {
		named[o.name] = o
	}
	of := func(name, system string, get func(result) float64) float64 {
		other := named[name].median(system, get)
		if other == 0 {
			return 0
		}
		return named[name].median(sysRelay, get) / other
	}
	ideal := func(name string) float64 {
		if len(named[name].runs) == 0 {
			return 0
		}
		return named[name].median(sysRelay, rateOf) / named[name].ideal()
	}
	one, park := "drain/0ms/1", named["park"]
	draining := 0.0
	if live := park.median(sysRelay, liveOf); live > 0 {
		draining = park.median(sysRelay, rateOf) / live
	}
	return []aim{
		{"drain, 0 ms, 1 endpoint, of the net/http pipe", 0.85, true, of(one, sysPipe, rateOf)},
		{"drain, 0 ms, 1 endpoint, of the direct pipe", 0.75, true, of(one, sysDirect, rateOf)},
		{"drain, 0 ms, 1 endpoint, of the polling relay", 1.7, true, of(one, sysPoller, rateOf)},
		{"drain, 0 ms, 10 endpoints, of the net/http pipe", 0.85, true, of("drain/0ms/10", sysPipe, rateOf)},
		{"drain, 0 ms, 10 endpoints, of the direct pipe", 0.85, true, of("drain/0ms/10", sysDirect, rateOf)},
		{"drain, 20 ms, 64 in flight, of in flight/latency", 0.95, true, ideal("drain/20ms/1")},
		{"drain, 200 ms, 512 in flight, of in flight/latency", 0.95, true, ideal("drain/200ms/c512")},
		{"commit to receipt at 500/s, p50 in ms", 1, false, named["steady/500"].median(sysRelay, p50Of)},
		{"commit to receipt at 500/s, p99, of the pipe's", 1.5, false, of("steady/500", sysPipe, p99Of)},
		{"CPU per event, 0 ms, 1 endpoint, of the net/http pipe's", 1.3, false, of(one, sysPipe, cpuOf)},
		{"peak memory in MiB, up to 100 endpoints", 64, false, peak(outcomes, 1, 100)},
		{"peak memory in MiB, 1,000 endpoints", 64, false, peak(outcomes, 101, 1000)},
		{"parking, events/s", 10_000, true, park.median(sysRelay, parkingOf)},
		{"draining what was parked, of live", 0.8, true, draining},
	}
}

// peak returns the most memory that a run of relay took, in MiB, with so many endpoints.
func peak(outcomes []outcome, least, most int) float64 {
	var highest float64
	for _, o := range outcomes {
		if o.endpoints < least || o.endpoints > most {
			continue
		}
		for _, r := range o.runs[sysRelay] {
			highest = max(highest, memoryOf(r))
		}
	}
	return highest
}

func aimsTable(outcomes []outcome) *table {
	t := newTable("aim", "wanted", "reached", "")
	for _, a := range aims(outcomes) {
		if a.got == 0 {
			continue
		}
		word := map[bool]string{true: "at least", false: "at most"}[a.least]
		t.add(a.text, fmt.Sprintf("%s %s", word, short(a.want)), short(a.got), map[bool]string{true: "met", false: "missed"}[a.met()])
	}
	return t
}

func short(value float64) string {
	if value >= 1000 {
		return thousands(int(value))
	}
	return fmt.Sprintf("%.2f", value)
}
