package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"relay/delivery"
	"relay/delivery/park"
)

// metrics is what the process counts beside its lanes.
type metrics struct {
	registry *prometheus.Registry
	delivery *delivery.Metrics
	rows     *prometheus.CounterVec
	reload   prometheus.Gauge
	source   *sourceCollector
}

func newMetrics(r *sidecar) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), source: newSourceCollector(r)}
	m.delivery = delivery.NewMetrics(m.registry)
	m.rows = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "relay_rows_total", Help: "Committed outbox rows read, by table.",
	}, []string{"table"})
	m.reload = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "relay_config_last_reload_successful", Help: "Whether the configuration file was in order when last read: 1 or 0.",
	})
	m.reload.Set(1)
	b := buildVersion()
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_build_info", Help: "Constantly 1, with the build in its labels.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.rows, m.reload, info, m.source,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) reloaded(ok bool) {
	if ok {
		m.reload.Set(1)
	} else {
		m.reload.Set(0)
	}
}

// How often a scrape looks into the database, and for how long.
const (
	countsEvery   = 10 * time.Second
	countsTimeout = 2 * time.Second
)

// sourceCollector tells what is known elsewhere: the stream, the window, the relay's own tables.
type sourceCollector struct {
	relay          *sidecar
	lag, late      *prometheus.Desc
	window, parked *prometheus.Desc
	retained, safe *prometheus.Desc
	limit, status  *prometheus.Desc
	published      *prometheus.Desc

	mu     sync.Mutex
	looked time.Time
	counts map[string]park.Count
}

// walStatuses are what wal_status may be.
var walStatuses = []string{"reserved", "extended", "unreserved", "lost"}

func newSourceCollector(r *sidecar) *sourceCollector {
	return &sourceCollector{
		relay: r,
		lag: prometheus.NewDesc("relay_replication_lag_bytes",
			"Bytes of WAL between what is durable at the endpoints or parked and the end of the server's WAL, as far as it told.", nil, nil),
		late: prometheus.NewDesc("relay_replication_lag_seconds",
			"Age of the oldest event that is neither delivered nor parked, or how long the server has been away.", nil, nil),
		retained: prometheus.NewDesc("relay_slot_retained_bytes", "Bytes of WAL that the server keeps for the replication slot.", nil, nil),
		safe: prometheus.NewDesc("relay_slot_safe_bytes",
			"Bytes of WAL that may be written before the slot is at risk; absent if max_slot_wal_keep_size sets no limit.", nil, nil),
		limit: prometheus.NewDesc("relay_slot_limit_bytes",
			"Bytes of WAL that the server keeps for a slot at most (max_slot_wal_keep_size); absent if it sets no limit.", nil, nil),
		status: prometheus.NewDesc("relay_slot_wal_status", "1 for the slot's wal_status, 0 for the others.", []string{"status"}, nil),
		published: prometheus.NewDesc("relay_publication_ok",
			"Whether the rows of all outbox tables come through the publication: 1, or 0 while rows are lost to relay.", nil, nil),
		window: prometheus.NewDesc("relay_window_events", "Events in memory that are not delivered everywhere.", nil, nil),
		parked: prometheus.NewDesc("relay_parked", "Deliveries in the relay's own tables.", []string{"endpoint", "state"}, nil),
	}
}

// Describe is for prometheus.Collector.
func (c *sourceCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.lag
	ch <- c.late
	ch <- c.window
	ch <- c.parked
	ch <- c.retained
	ch <- c.safe
	ch <- c.limit
	ch <- c.status
	ch <- c.published
}

// Collect is for prometheus.Collector.
func (c *sourceCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if t := c.relay.tenure.Load(); t != nil {
		s := t.stream.Status()
		gauge(c.lag, lagBytes(uint64(s.ServerEnd), uint64(s.Confirmed)))
		gauge(c.late, t.lag(time.Now()).Seconds())
		gauge(c.window, float64(t.dispatcher.Window()))
		c.collectSlot(t.lookout, gauge)
	}
	counts := c.look()
	for _, ep := range c.relay.cfg.Load().Endpoints { // bounded by the configuration, and there before anything is parked
		n := counts[ep.Name]
		gauge(c.parked, float64(n.Waiting), ep.Name, string(delivery.Waiting))
		gauge(c.parked, float64(n.Dead), ep.Name, string(delivery.Dead))
	}
}

// collectSlot tells what the lookout saw.
func (c *sourceCollector) collectSlot(l *lookout, gauge func(*prometheus.Desc, float64, ...string)) {
	if l.known() {
		gauge(c.published, truth(l.problem() == ""))
	}
	w := l.slot()
	if w == nil {
		return
	}
	gauge(c.retained, float64(w.Retained))
	for _, status := range walStatuses {
		gauge(c.status, truth(w.Status == status), status)
	}
	if w.Limited {
		gauge(c.safe, float64(w.Safe))
		gauge(c.limit, float64(w.Limit))
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func lagBytes(end, confirmed uint64) float64 {
	if end < confirmed {
		return 0
	}
	return float64(end - confirmed)
}

// look asks the database, now and then. While it does not answer the last counts stand.
func (c *sourceCollector) look() map[string]park.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < countsEvery || c.relay.tenure.Load() == nil {
		return c.counts
	}
	ctx, cancel := context.WithTimeout(context.Background(), countsTimeout)
	defer cancel()
	c.looked = time.Now()
	if counts, err := c.relay.store.Counts(ctx); err == nil {
		c.counts = counts
	}
	return c.counts
}
