package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"relay/mapping"
)

// writeGrace is how long Stop goes on writing to the relay's own tables after attempts were given up.
const writeGrace = 5 * time.Second

// EndpointState is what an endpoint brings along from before this process started.
type EndpointState struct {
	Position mapping.Position // settled already; zero: nothing is
	Paused   bool             // by an operator
	Gone     bool             // answered 410
	Breaker  BreakerStatus
}

// Config is what a Dispatcher works with.
type Config struct {
	Parker  Parker
	Window  mapping.Window
	Hold    time.Duration // source.hold: longest an undelivered event may hold the slot
	Metrics *Metrics
	Log     *slog.Logger

	// NewSender makes what sends to an endpoint; usually NewClient.
	NewSender func(ep *mapping.Endpoint) (Sender, error)

	// Random returns a number in [0,1) for jitter; nil: math/rand's.
	Random func() float64
}

// Dispatcher hands events to the lanes of the endpoints they are for.
type Dispatcher struct {
	cfg    Config
	env    *environment
	window *Window
	lanes  atomic.Pointer[[]*lane] // by Endpoint.Index

	mu       sync.Mutex // of Reload
	retiring map[string]*lane

	cancelSend, cancelWrite context.CancelFunc
	ticking                 sync.WaitGroup
	stopTick                context.CancelFunc
}

// NewDispatcher returns a dispatcher with a lane for each endpoint. saved holds what is known of them from before, by
// name. Stop must be called to end what it starts.
func NewDispatcher(cfg Config, endpoints []*mapping.Endpoint, saved map[string]EndpointState) (*Dispatcher, error) {
	window := NewWindow(cfg.Window.Events, cfg.Window.Bytes)
	d := &Dispatcher{cfg: cfg, window: window, env: &environment{
		parker: cfg.Parker, window: window, hold: cfg.Hold, log: cfg.Log, random: cfg.Random, turn: make(chan struct{}, 1),
	}}
	if d.env.random == nil {
		d.env.random = defaultRandom
	}
	d.env.send, d.cancelSend = context.WithCancel(context.Background())
	d.env.write, d.cancelWrite = context.WithCancel(context.Background())
	cfg.Metrics.retain(endpoints)
	lanes := make([]*lane, len(endpoints))
	for i, ep := range endpoints {
		sender, err := cfg.NewSender(ep)
		if err != nil {
			return nil, fmt.Errorf("prepare endpoint %s: %w", ep.Name, err)
		}
		lanes[i] = newLane(ep, sender, d.env, cfg.Metrics.lane(ep.Name), saved[ep.Name])
	}
	d.lanes.Store(&lanes)
	ctx, cancel := context.WithCancel(context.Background())
	d.stopTick = cancel
	d.ticking.Go(func() { d.tick(ctx) })
	for _, l := range lanes {
		l.begin()
	}
	return d, nil
}

// Room returns nil if an event may be dispatched, or a channel that is closed when one may be.
func (d *Dispatcher) Room() <-chan struct{} { return d.window.Room() }

// Window returns how many events are undelivered in memory.
func (d *Dispatcher) Window() int64 { return d.window.Events() }

// WindowBytes returns how much memory those are counted with.
func (d *Dispatcher) WindowBytes() int64 { return d.window.bytes.Load() }

// Dispatch hands an event to the lanes of its targets. tx is settled once for the event, when it is durable for all of
// them. It does not block, and serves one goroutine, in commit order.
func (d *Dispatcher) Dispatch(ev *mapping.Event, targets []mapping.Target, size int, tx Settler) {
	if len(targets) > 0 {
		t := &ticket{bytes: int64(size) + eventOverhead, window: d.window, tx: tx}
		t.open.Store(1) // held until all lanes have seen the event
		tx.Add(1)
		d.window.take(t.bytes)
		now := time.Now()
		lanes := *d.lanes.Load()
		for i := range targets {
			failure := ""
			if err := targets[i].Err; err != nil {
				failure = err.Error()
			}
			lanes[targets[i].Endpoint.Index].accept(ev, t, failure, now)
		}
		t.settle()
	}
	d.Passed(ev.Place.Next())
}

// eventOverhead is about what an event costs in memory besides its row's data, in bytes.
const eventOverhead = 512

// Passed says that everything before place has been dispatched, or is for nobody.
func (d *Dispatcher) Passed(place mapping.Place) { d.env.next.Store(&place) }

// Positions returns how far each endpoint is settled, by name, if anything is known of it.
func (d *Dispatcher) Positions() map[string]mapping.Position {
	var next mapping.Place
	if passed := d.env.next.Load(); passed != nil {
		next = *passed
	}
	lanes := *d.lanes.Load()
	all := make(map[string]mapping.Position, len(lanes))
	for _, l := range lanes {
		if p := l.position(next, mapping.MaxOpen(len(lanes))); !p.Equal(mapping.Position{}) {
			all[l.name] = p
		}
	}
	return all
}

// Has reports whether the endpoint has a lane.
func (d *Dispatcher) Has(endpoint string) bool {
	return slices.ContainsFunc(*d.lanes.Load(), func(l *lane) bool { return l.name == endpoint })
}

// Notify says that somebody else changed what is parked for an endpoint, or paused or resumed it.
func (d *Dispatcher) Notify(endpoint string, state EndpointState) {
	for _, l := range *d.lanes.Load() {
		if l.name == endpoint {
			l.notify(state)
		}
	}
}

// tick has the lanes park what has waited too long. Where one endpoint is slow and another is not, the slow one's events
// go to the table; where all of them are, reading pauses before events grow so old.
func (d *Dispatcher) tick(ctx context.Context) {
	hold := d.env.hold
	t, noting := time.NewTicker(min(max(hold/20, 10*time.Millisecond), 250*time.Millisecond)), time.NewTicker(recentEvery)
	defer t.Stop()
	defer noting.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-noting.C:
			d.cfg.Metrics.note(now)
			for _, l := range *d.lanes.Load() {
				l.lookAtOutage(now)
			}
		case now := <-t.C:
			d.relieve(now, hold)
			if d.mu.TryLock() { // a Reload does the same
				d.reap()
				d.mu.Unlock()
			}
		}
	}
}

func (d *Dispatcher) relieve(now time.Time, hold time.Duration) {
	var oldest time.Duration
	var slow []*lane
	starving := false
	for _, l := range *d.lanes.Load() {
		age, diverted := l.tick(now)
		oldest = max(oldest, age)
		if age >= hold/4 {
			slow = append(slow, l)
		}
		starving = starving || !diverted && age < hold/20 && l.seen.recent(l.received.Load(), now, hold)
	}
	if starving && (d.window.full() || oldest >= hold/2) {
		for _, l := range slow {
			l.overflow()
		}
		oldest = 0
	}
	d.window.setAged(oldest >= hold/2)
}

// traffic is when a lane last took an event on, as far as ticks tell.
type traffic struct {
	n    int64
	last time.Time
}

func (t *traffic) recent(n int64, now time.Time, within time.Duration) bool {
	if n != t.n {
		t.n, t.last = n, now
	}
	return !t.last.IsZero() && now.Sub(t.last) < within
}

// Suspend keeps the lanes from beginning attempts until Resume: somebody else may be delivering.
func (d *Dispatcher) Suspend() { d.env.suspended.Store(true) }

// Resume ends a Suspend.
func (d *Dispatcher) Resume() {
	d.env.suspended.Store(false)
	for _, l := range *d.lanes.Load() {
		l.refresh()
	}
}

// Abandon ends at once and writes nothing: somebody else has taken over. What was not settled is theirs.
func (d *Dispatcher) Abandon() {
	d.cancelWrite()
	d.cancelSend()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = d.Stop(ctx) // its error says what is not settled, which is the point
}

// Stop ends softly, then hard: no new attempts; those under way may finish until ctx ends; what is left is parked, so that
// it is durable, for a few seconds longer if need be. Nothing is dispatched during or after it. It returns an error if
// something could not be made durable: it was not settled and will come again.
func (d *Dispatcher) Stop(ctx context.Context) error {
	d.stopTick()
	d.ticking.Wait()
	lanes := *d.lanes.Load()
	for _, l := range lanes {
		l.stop()
	}
	quiet := make(chan struct{})
	go func() {
		d.env.done.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
	case <-ctx.Done():
		d.cancelSend()
		grace := time.NewTimer(writeGrace)
		defer grace.Stop()
		select {
		case <-quiet:
		case <-grace.C:
			d.cancelWrite()
			<-quiet
		}
	}
	d.cancelSend()
	d.cancelWrite()
	for _, l := range lanes {
		l.sender.Close()
	}
	if n := d.window.Events(); n > 0 {
		return fmt.Errorf("stop delivery: %d events neither delivered nor parked, they will be sent again", n)
	}
	return nil
}
