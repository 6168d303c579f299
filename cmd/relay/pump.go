package main

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"relay/cdc"
	"relay/delivery"
	"relay/internal/failpoint"
	"relay/mapping"
)

// pump turns rows into events and hands them to the endpoints they are for, on the goroutine that reads them: no queue
// between reading and the lanes, and nothing to be lost in it.
type pump struct {
	dispatcher *delivery.Dispatcher
	rows       *prometheus.CounterVec
	seen       atomic.Int64 // rows of configured tables, and messages

	closed atomic.Bool   // nothing more is dispatched; set under mu
	shut   chan struct{} // never closed

	mu     sync.Mutex // held for each row, and by a reload
	router *mapping.Router
	counts map[string]prometheus.Counter
}

var _ cdc.Consumer = (*pump)(nil)

func newPump(router *mapping.Router, dispatcher *delivery.Dispatcher, rows *prometheus.CounterVec) *pump {
	return &pump{dispatcher: dispatcher, rows: rows, shut: make(chan struct{}), router: router, counts: make(map[string]prometheus.Counter)}
}

// Room is documented at cdc.Consumer.
func (p *pump) Room() <-chan struct{} {
	if p.closed.Load() {
		return p.shut
	}
	return p.dispatcher.Room()
}

// Row is documented at cdc.Consumer.
func (p *pump) Row(row *cdc.Row) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return errPumpClosed
	}
	ev, err := p.router.Event(row)
	if err != nil {
		return err
	}
	if ev == nil {
		p.dispatcher.Passed(row.Place.Next())
		return nil
	}
	failpoint.Hit("read")
	p.seen.Add(1)
	p.count(ev.Table)
	p.dispatcher.Dispatch(ev, p.router.Route(ev), row.Size(), row.Tx)
	return nil
}

func (p *pump) count(table string) {
	c := p.counts[table]
	if c == nil {
		c = p.rows.WithLabelValues(table)
		p.counts[table] = c
	}
	c.Inc()
}

// Commit is documented at cdc.Consumer.
func (p *pump) Commit(cdc.LSN) {}

// reload goes over to other endpoints, between two rows. Once closed it refuses: a dispatcher stops the lanes that it has by
// then, and one that is added would go on delivering.
func (p *pump) reload(cfg *mapping.Config, saved map[string]delivery.EndpointState) ([]string, error) {
	router := mapping.NewRouter(cfg)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return nil, errPumpClosed
	}
	changes, err := p.dispatcher.Reload(cfg.Endpoints, saved)
	if err == nil {
		p.router = router
	}
	return changes, err
}

// errPumpClosed leaves a row unread, or a reload undone, that arrives while the relay stops.
var errPumpClosed = errors.New("the relay is stopping")

// close returns when no row is being dispatched and no reload is under way, and none will be: a dispatcher that stops relies
// on it.
func (p *pump) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed.Store(true)
}
