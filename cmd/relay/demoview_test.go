package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func someMoment() demoMoment {
	return demoMoment{
		Elapsed: 7 * time.Second, Duration: 20 * time.Second, Caption: "billing answers 503 to everything now.",
		App: demoCount{Committed: 700, RolledBack: 70, Events: 900}, Lag: 2048,
		Rows: []demoRow{
			{Name: "billing", Subscription: "order.created, order.paid", Wanted: 500, Seen: demoSeen{Failing: true, Received: 300}, Breaker: "open", Parked: 200},
			{Name: "analytics", Subscription: "everything", Wanted: 900, Seen: demoSeen{Received: 900, Delay: 1234567}},
		},
	}
}

func TestDemoView_FitsAnyWidth(t *testing.T) {
	t.Parallel()
	m := someMoment()
	for width := 1; width < 200; width++ {
		for _, line := range m.lines(width) {
			require.LessOrEqual(t, utf8.RuneCountInString(line.text), width)
		}
	}
	require.Contains(t, m.lines(200)[3].text, "order.created, order.paid")
	require.NotContains(t, m.lines(60)[3].text, "order.created", "the widest column goes first")
	require.Contains(t, m.lines(60)[3].text, "300")
}

func TestDemoView_PrintsOnePlainLineWhenPiped(t *testing.T) {
	t.Parallel()
	line := someMoment().line()
	require.NotContains(t, line, "\n")
	require.NotContains(t, line, "\x1b")
	require.Contains(t, line, "billing 300 (200 to come) 503!")
	require.True(t, strings.HasSuffix(line, "analytics 900"), line)
}

func TestFormatBytes_UsesTheUnitThatSuits(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]int64{"0 B": 0, "1023 B": 1023, "1.0 KiB": 1024, "1.5 MiB": 3 << 19, "2.0 GiB": 2 << 30} {
		require.Equal(t, want, formatBytes(n))
	}
}
