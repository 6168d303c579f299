package delivery

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func TestHistogram_CountsADurationInTheFirstBucketThatHoldsIt(t *testing.T) {
	t.Parallel()
	for i := range bucketCount {
		bound := boundOf(i)
		require.Equal(t, i, bucketOf(bound), "a bound is inclusive: %v", bound)
		require.Equal(t, i+1, bucketOf(bound*1.00001), "%v and a bit", bound)
	}
	require.Equal(t, 0, bucketOf(0))
	require.Equal(t, 0, bucketOf(-3600), "a clock that was set back")
	require.Equal(t, bucketCount, bucketOf(math.MaxFloat64))
}

func TestHistogram_EstimatesQuantilesWithinABucket(t *testing.T) {
	t.Parallel()
	var h histogram
	for i := range 1000 {
		h.Observe(float64(i) / 1000) // 0 to 1 s
	}
	counts := h.read()
	require.InDelta(t, 0.5, quantile(&counts, 0.5).Seconds(), 0.02)
	require.InDelta(t, 0.99, quantile(&counts, 0.99).Seconds(), 0.04)
	require.Zero(t, quantile(&[bucketCount + 1]uint64{}, 0.5))
	require.InDelta(t, 499.5, h.total(), 0.001)
}

func TestHistogram_CostsNoAllocation(t *testing.T) {
	var h histogram
	require.Zero(t, testing.AllocsPerRun(100, func() { h.Observe(0.012) }))
}

func TestRecent_TellsOfTheLastMinuteAndForgetsWhatWasBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics(prometheus.NewRegistry())
		lane := m.lane("billing")
		pass := func(d time.Duration, each func()) {
			for range int(d / time.Second) {
				time.Sleep(time.Second) // of the bubble
				each()
				if time.Now().Second()%10 == 0 {
					m.note(time.Now())
				}
			}
		}
		pace := func() Pace { return lane.recent.pace(time.Now(), lane.latency) }
		require.Zero(t, pace())
		pass(20*time.Second, func() {
			for range 5 {
				lane.latency.Observe(0.003)
			}
		})
		require.InDelta(t, 5, pace().Rate, 0.01, "before a minute is over")
		pass(3*time.Minute, func() { lane.latency.Observe(0.1) })
		require.InDelta(t, 1, pace().Rate, 0.01)
		require.InDelta(t, 0.1, pace().P50.Seconds(), 0.03)
		require.GreaterOrEqual(t, pace().P99, pace().P50)
		pass(2*time.Minute, func() {})
		require.Zero(t, pace(), "it is quiet")
	})
}

func TestMetrics_KeepAnEndpointsHistoryOverTenuresAndForgetThoseThatAreGone(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.lane("billing").latency.Observe(1)
	m.lane("shipping").latency.Observe(1)
	require.Same(t, m.lane("billing"), m.lane("billing"))
	m.retain([]*mapping.Endpoint{{Name: "billing"}})
	families, err := registry.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			require.Equal(t, "billing", metric.GetLabel()[0].GetValue(), family.GetName())
		}
	}
}
