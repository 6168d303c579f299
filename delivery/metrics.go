package delivery

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is what the lanes count. Label values come with an endpoint and go with it.
type Metrics struct {
	deliveries *prometheus.CounterVec
	attempts   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	latency    *prometheus.HistogramVec
	inFlight   *prometheus.GaugeVec
	breaker    *prometheus.GaugeVec
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
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "relay_delivery_latency_seconds",
			Help:    "Time from the commit of the row to the 2xx answer of the endpoint.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 20),
		}, []string{"endpoint"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "relay_in_flight",
			Help: "Attempts under way.",
		}, []string{"endpoint"}),
		breaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "relay_breaker_state",
			Help: "State of the endpoint's circuit breaker: 0 closed, 1 half-open, 2 open.",
		}, []string{"endpoint"}),
	}
	r.MustRegister(m.deliveries, m.attempts, m.duration, m.latency, m.inFlight, m.breaker)
	return m
}

// laneMetrics is one endpoint's, looked up once.
type laneMetrics struct {
	delivered, parked, dead prometheus.Counter
	reasons                 map[Reason]prometheus.Counter
	ok                      prometheus.Counter
	duration, latency       prometheus.Observer
	inFlight, breaker       prometheus.Gauge
}

func (m *Metrics) lane(endpoint string) *laneMetrics {
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
		latency:   m.latency.WithLabelValues(endpoint),
		inFlight:  m.inFlight.WithLabelValues(endpoint),
		breaker:   m.breaker.WithLabelValues(endpoint),
	}
}

// forget removes the label values of an endpoint that is gone from the configuration.
func (m *Metrics) forget(endpoint string) {
	labels := prometheus.Labels{"endpoint": endpoint}
	m.deliveries.DeletePartialMatch(labels)
	m.attempts.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.latency.DeletePartialMatch(labels)
	m.inFlight.DeletePartialMatch(labels)
	m.breaker.DeletePartialMatch(labels)
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
