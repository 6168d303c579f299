package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// contractMetrics are those that dashboards and alerts rely on.
var contractMetrics = []string{
	"relay_rows_total", "relay_deliveries_total", "relay_attempts_total", "relay_attempt_duration_seconds",
	"relay_delivery_latency_seconds", "relay_in_flight", "relay_parked", "relay_breaker_state",
	"relay_replication_lag_bytes", "relay_replication_lag_seconds", "relay_slot_retained_bytes", "relay_window_events",
	"relay_config_last_reload_successful", "relay_build_info",
}

var sampleLine = regexp.MustCompile(`(?m)^([a-z_0-9]+)(?:\{([^}]*)\})? \S+$`)

// promlint is what promtool check metrics runs. What is linted is what a scrape gets.
func TestMetrics_PassPrometheussLinter(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  billing: {url: \""+ep.URL+"\"}\n")
	r.Insert("order.created", `1`, "")
	ep.Wait(t, 1)
	var text string
	r.eventually(func() bool {
		text = r.get("/metrics")
		return strings.Contains(text, `relay_delivery_latency_seconds_count{endpoint="billing"} 1`) && strings.Contains(text, "\nrelay_slot_retained_bytes ")
	}, "the delivery is counted, and the slot was looked at")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	for _, name := range contractMetrics {
		require.True(t, strings.Contains(text, "\n# TYPE "+name+" "), name)
	}
	r.Stop()
}

func TestMetrics_HaveNoLabelsButThoseOfEndpointsAndClosedLists(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	billing := "  billing: {url: \"" + ep.URL + "/hook\"}\n"
	shipping := "  shipping: {url: \"" + ep.URL + "/other\"}\n"
	r := startRelay(t, billing+shipping)
	for range 20 {
		r.Insert("order.created", `1`, "")
	}
	ep.Wait(t, 40)
	series := func() (n int, shipping bool) {
		text := r.get("/metrics")
		for _, m := range sampleLine.FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(m[1], "relay_") || m[1] == "relay_build_info" {
				continue
			}
			n++
			for label := range strings.SplitSeq(m[2], ",") {
				name, _, _ := strings.Cut(label, "=")
				require.True(t, slices.Contains([]string{"", "endpoint", "outcome", "reason", "state", "status", "le", "table"}, name), m[0])
			}
		}
		return n, strings.Contains(text, `endpoint="shipping"`)
	}
	r.eventually(func() bool { return strings.Contains(r.get("/metrics"), "\nrelay_slot_retained_bytes ") }, "the slot was looked at")
	both, there := series()
	require.True(t, there)
	for range 20 {
		r.Insert("order.paid", `1`, "")
	}
	ep.Wait(t, 80)
	more, _ := series()
	require.Equal(t, both, more, "events make no series")

	config := readFile(t, r.Config)
	r.Write("relay.yaml", []byte(strings.Replace(config, shipping, "", 1)))
	r.eventually(func() bool { _, there := series(); return !there }, "the series of an endpoint that is taken out go with it")
	r.Write("relay.yaml", []byte(config))
	r.eventually(func() bool { n, _ := series(); return n == both }, "and come with it")
	r.Stop()
}
