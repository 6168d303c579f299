package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// kind is what a scenario measures.
type kind string

const (
	draining kind = "drain"  // how fast a backlog goes out
	steadily kind = "steady" // commit to receipt under a steady writer
	parking  kind = "park"   // parking a backlog, and draining it again
)

// The systems that are measured.
const (
	sysPipe   = "pipe"   // decode and POST in key order, over net/http
	sysDirect = "direct" // the same over connections of its own
	sysRelay  = "relay"
	sysBase   = "base" // relay of the commit to compare with
	sysPoller = "poller"
)

var everySystem = []string{sysPipe, sysDirect, sysRelay, sysPoller}

// scenario is what the receivers and the events are like: one row of the report.
type scenario struct {
	name    string
	kind    kind
	suites  []string
	systems []string

	deliveries  int           // that a backlog makes: rows times endpoints
	rounds      int           // 0: the suite's
	delay       time.Duration // that a receiver takes to answer
	endpoints   int
	down        bool // a further endpoint answers 500
	concurrency int  // requests under way per endpoint
	payload     int  // bytes, about
	tx          int  // rows in a transaction, or wholeBacklog
	keys        int
	tls         bool
	rate        int // events a second of a steady writer
}

// rows is how many rows the scenario writes for each run.
func (s scenario) rows() int { return s.deliveries / s.endpoints }

// ideal is what requests of the receiver's delay and nothing else would reach, in deliveries a second; 0 without a delay.
func (s scenario) ideal() float64 {
	if s.delay == 0 {
		return 0
	}
	return float64(s.concurrency*s.endpoints) / s.delay.Seconds()
}

// String says what is particular about the scenario.
func (s scenario) String() string {
	text := fmt.Sprintf("%d ms, %s", s.delay.Milliseconds(), count(s.endpoints, "endpoint"))
	if s.down {
		text += " and one down"
	}
	if s.kind == steadily {
		text = fmt.Sprintf("%s/s, %s", thousands(s.rate), text)
	}
	for _, more := range []struct {
		is   bool
		text string
	}{
		{s.concurrency != usualConcurrency(s.delay), fmt.Sprintf("%d in flight", s.concurrency)},
		{s.payload != smallPayload, fmt.Sprintf("%d KB", s.payload/1000)},
		{s.tx == 1 && s.kind == draining, "a row per transaction"},
		{s.tx > usualTx, thousands(s.tx) + " rows per transaction"},
		{s.tx == wholeBacklog, thousands(s.rows()) + " rows in one transaction"},
		{s.keys != usualKeys, thousands(s.keys) + " keys"},
		{s.tls, "https"},
		{s.kind == parking, thousands(s.rows()) + " events"},
	} {
		if more.is {
			text += ", " + more.text
		}
	}
	return text
}

// What a scenario is like that says nothing else.
const (
	smallPayload = 300
	largePayload = 10_000
	usualTx      = 100
	usualKeys    = 1000
)

func usualConcurrency(delay time.Duration) int {
	if delay > 0 {
		return 64
	}
	return 16
}

// usual fills in what the scenario does not say.
func (s scenario) usual() scenario {
	s.endpoints = max(1, s.endpoints)
	s.concurrency = cmp.Or(s.concurrency, usualConcurrency(s.delay))
	s.payload, s.keys = cmp.Or(s.payload, smallPayload), cmp.Or(s.keys, usualKeys)
	switch {
	case s.kind == steadily:
		s.tx = 1
	case s.tx == 0:
		s.tx = usualTx
	}
	if s.systems == nil {
		s.systems = []string{sysPipe, sysDirect, sysRelay}
	}
	return s
}

// apply makes of the scenario what the flags want.
func (o *options) apply(s scenario) scenario {
	s = s.usual()
	if o.suite == quick && o.run == nil {
		s.deliveries = min(s.deliveries, quickRows(s))
	}
	s.deliveries = max(cmp.Or(o.rows, s.deliveries), s.endpoints)
	s.concurrency = cmp.Or(o.concurrency, s.concurrency)
	s.rounds = cmp.Or(o.rounds, s.rounds, usualRounds)
	if o.compare != "" {
		s.rounds = cmp.Or(o.rounds, comparedRounds)
	}
	if o.systems != nil {
		s.systems = slices.DeleteFunc(slices.Clone(o.systems), func(system string) bool {
			return s.only() && system != sysRelay
		})
	}
	if o.compare != "" {
		s.systems = []string{sysBase, sysRelay}
	}
	if s.kind == steadily {
		s.deliveries = s.endpoints * int(float64(s.rate)*o.steadyTime().Seconds())
	}
	return s
}

// only reports whether relay alone can go through the scenario.
func (s scenario) only() bool { return s.kind == parking || s.down }

// How often each is measured. Where two are equal, all five of one are above or below all of the other once in 126 times.
const (
	usualRounds    = 3
	comparedRounds = 5
)

func (o *options) steadyTime() time.Duration {
	return cmp.Or(o.steady, map[string]time.Duration{quick: 4 * time.Second, full: 8 * time.Second}[o.suite])
}

// quickRows is enough of a backlog to tell a tenth from a fifth.
func quickRows(s scenario) int {
	switch {
	case s.kind == parking:
		return 100_000
	case s.delay > 0 && s.endpoints == 1:
		return 20 * 512 // what is under way at once fits into it many times over, and evenly
	default:
		return 30_000
	}
}
