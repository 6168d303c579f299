package delivery

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/mapping"
)

// Metrics is what the lanes count. Label values come with an endpoint and go with it.
type Metrics struct {
	deliveries *prometheus.CounterVec
	attempts   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	inFlight   *prometheus.GaugeVec
	breaker    *prometheus.GaugeVec
	latency    *prometheus.Desc

	mu    sync.Mutex
	lanes map[string]*laneMetrics // by endpoint
}

// NewMetrics registers the metrics. It panics if they are registered there already.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_deliveries_total",
			Help: "Deliveries by what became of them: delivered, parked, dead. One that was parked first counts again later.",
		}, []string{"endpoint", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_attempts_total",
			Help: "Attempts by the reason of their outcome.",
		}, []string{"endpoint", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "relay_attempt_duration_seconds",
			Help:    "Duration of attempts, from before connecting to the last byte of the answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"endpoint"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "relay_in_flight",
			Help: "Attempts under way.",
		}, []string{"endpoint"}),
		breaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "relay_breaker_state",
			Help: "State of the endpoint's circuit breaker: 0 closed, 1 half-open, 2 open.",
		}, []string{"endpoint"}),
		latency: prometheus.NewDesc("relay_delivery_latency_seconds",
			"Time from the commit of the row to the 2xx answer of the endpoint.", []string{"endpoint"}, nil),
		lanes: make(map[string]*laneMetrics),
	}
	r.MustRegister(m.deliveries, m.attempts, m.duration, m.inFlight, m.breaker, latencyCollector{m})
	return m
}

// latencyCollector shows the lanes' own histograms to Prometheus.
type latencyCollector struct{ *Metrics }

// Describe is for prometheus.Collector.
func (c latencyCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.latency }

// Collect is for prometheus.Collector.
func (c latencyCollector) Collect(ch chan<- prometheus.Metric) {
	for endpoint, lane := range c.all() {
		counts, total := lane.latency.read(), uint64(0)
		buckets := make(map[float64]uint64, bucketCount)
		for i, n := range counts {
			if total += n; i < bucketCount {
				buckets[boundOf(i)] = total
			}
		}
		ch <- prometheus.MustNewConstHistogram(c.latency, total, lane.latency.total(), buckets, endpoint)
	}
}

// all returns the lanes' metrics as they are now.
func (m *Metrics) all() map[string]*laneMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.lanes)
}

// laneMetrics is one endpoint's, looked up once.
type laneMetrics struct {
	delivered, parked, dead prometheus.Counter
	reasons                 map[Reason]prometheus.Counter
	ok                      prometheus.Counter
	duration                prometheus.Observer
	inFlight, breaker       prometheus.Gauge
	latency                 *histogram
	recent                  *recent
}

// lane returns an endpoint's metrics, which go on where an earlier lane of it left off.
func (m *Metrics) lane(endpoint string) *laneMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.lanes[endpoint]; known != nil {
		return known
	}
	lane := m.newLane(endpoint)
	lane.recent.note(time.Now(), lane.latency)
	m.lanes[endpoint] = lane
	return lane
}

func (m *Metrics) newLane(endpoint string) *laneMetrics {
	reasons := make(map[Reason]prometheus.Counter)
	for _, reason := range AllReasons() {
		reasons[reason] = m.attempts.WithLabelValues(endpoint, string(reason))
	}
	return &laneMetrics{
		delivered: m.deliveries.WithLabelValues(endpoint, "delivered"),
		parked:    m.deliveries.WithLabelValues(endpoint, "parked"),
		dead:      m.deliveries.WithLabelValues(endpoint, "dead"),
		reasons:   reasons,
		ok:        reasons[ReasonOK],
		duration:  m.duration.WithLabelValues(endpoint),
		inFlight:  m.inFlight.WithLabelValues(endpoint),
		breaker:   m.breaker.WithLabelValues(endpoint),
		latency:   &histogram{},
		recent:    &recent{},
	}
}

// note has each endpoint remember what it took by now.
func (m *Metrics) note(now time.Time) {
	for _, lane := range m.all() {
		lane.recent.note(now, lane.latency)
	}
}

// retain forgets every endpoint that is not among these.
func (m *Metrics) retain(endpoints []*mapping.Endpoint) {
	gone := m.all()
	for _, ep := range endpoints {
		delete(gone, ep.Name)
	}
	for name := range gone {
		m.forget(name)
	}
}

// forget removes the label values of an endpoint that is gone from the configuration.
func (m *Metrics) forget(endpoint string) {
	labels := prometheus.Labels{"endpoint": endpoint}
	m.deliveries.DeletePartialMatch(labels)
	m.attempts.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.inFlight.DeletePartialMatch(labels)
	m.breaker.DeletePartialMatch(labels)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.lanes, endpoint)
}

func (m *laneMetrics) attempt(out Outcome) {
	if !out.Attempted() {
		return
	}
	if out.Reason == ReasonOK {
		m.ok.Inc()
	} else if c := m.reasons[out.Reason]; c != nil {
		c.Inc()
	}
	m.duration.Observe(out.Duration.Seconds())
}
