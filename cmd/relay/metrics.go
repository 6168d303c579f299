package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"relay/cdc"
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
	relay               *sidecar
	lag, window, parked *prometheus.Desc
	retained, safe      *prometheus.Desc

	mu     sync.Mutex
	looked time.Time
	known  inDatabase
}

// inDatabase is what a scrape asks the database for.
type inDatabase struct {
	counts map[string]park.Count
	wal    *cdc.SlotWAL // nil: not known
}

func newSourceCollector(r *sidecar) *sourceCollector {
	return &sourceCollector{
		relay: r,
		lag: prometheus.NewDesc("relay_replication_lag_bytes",
			"Bytes of WAL between what is durable at the endpoints or parked and the end of the server's WAL, as far as it told.", nil, nil),
		retained: prometheus.NewDesc("relay_slot_retained_bytes", "Bytes of WAL that the server keeps for the replication slot.", nil, nil),
		safe: prometheus.NewDesc("relay_slot_safe_bytes",
			"Bytes of WAL that may be written before the slot is at risk; absent if max_slot_wal_keep_size sets no limit.", nil, nil),
		window: prometheus.NewDesc("relay_window_events", "Events in memory that are not delivered everywhere.", nil, nil),
		parked: prometheus.NewDesc("relay_parked", "Deliveries in the relay's own tables.", []string{"endpoint", "state"}, nil),
	}
}

// Describe is for prometheus.Collector.
func (c *sourceCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.lag
	ch <- c.window
	ch <- c.parked
	ch <- c.retained
	ch <- c.safe
}

// Collect is for prometheus.Collector.
func (c *sourceCollector) Collect(ch chan<- prometheus.Metric) {
	if t := c.relay.tenure.Load(); t != nil {
		s := t.stream.Status()
		ch <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, lagBytes(uint64(s.ServerEnd), uint64(s.Confirmed)))
		ch <- prometheus.MustNewConstMetric(c.window, prometheus.GaugeValue, float64(t.dispatcher.Window()))
	}
	known := c.look()
	if w := known.wal; w != nil {
		ch <- prometheus.MustNewConstMetric(c.retained, prometheus.GaugeValue, float64(w.Retained))
		if w.Limited {
			ch <- prometheus.MustNewConstMetric(c.safe, prometheus.GaugeValue, float64(w.Safe))
		}
	}
	for _, ep := range c.relay.cfg.Load().Endpoints { // bounded by the configuration, and there before anything is parked
		n := known.counts[ep.Name]
		ch <- prometheus.MustNewConstMetric(c.parked, prometheus.GaugeValue, float64(n.Waiting), ep.Name, string(delivery.Waiting))
		ch <- prometheus.MustNewConstMetric(c.parked, prometheus.GaugeValue, float64(n.Dead), ep.Name, string(delivery.Dead))
	}
}

func lagBytes(end, confirmed uint64) float64 {
	if end < confirmed {
		return 0
	}
	return float64(end - confirmed)
}

// look asks the database, now and then. While it does not answer the last counts stand; how much WAL the slot keeps is
// then not known.
func (c *sourceCollector) look() inDatabase {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < countsEvery || c.relay.tenure.Load() == nil {
		return c.known
	}
	ctx, cancel := context.WithTimeout(context.Background(), countsTimeout)
	defer cancel()
	c.looked = time.Now()
	if counts, err := c.relay.store.Counts(ctx); err == nil {
		c.known.counts = counts
	}
	c.known.wal = nil
	src := &c.relay.cfg.Load().Source
	if w, err := cdc.ReadSlotWAL(ctx, src.URL, src.Slot); err == nil {
		c.known.wal = &w
	}
	return c.known
}
