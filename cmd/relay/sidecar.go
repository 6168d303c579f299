package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relay/delivery/park"
	"relay/mapping"
)

// How long a relay waits before it tries to begin a tenure again.
const (
	tenureRetryMin = 500 * time.Millisecond
	tenureRetryMax = 15 * time.Second
)

// sidecar is one running relay: the parts that outlive its tenures.
type sidecar struct {
	path    string
	log     *slog.Logger
	level   *slog.LevelVar // of log
	metrics *metrics
	store   *park.Store
	tracing *tracing // nil: off
	started time.Time
	hangups <-chan os.Signal

	cfg    atomic.Pointer[mapping.Config] // replaced by reload
	tenure atomic.Pointer[tenure]         // nil between tenures

	mu     sync.Mutex             // of reload
	failed atomic.Pointer[string] // how the last reload failed; nil: it did not

	phase atomic.Pointer[phase]
}

// phase is what the relay does outside a tenure, or why there is none.
type phase struct {
	standby bool
	why     string
}

func newSidecar(cfg *mapping.Config, path string, log *slog.Logger) (*sidecar, error) {
	r := &sidecar{path: path, log: log, started: time.Now(), hangups: takeHangups()}
	r.cfg.Store(cfg)
	r.metrics = newMetrics(r)
	r.phase.Store(&phase{why: "starting"})
	var err error
	if r.store, err = park.Open(context.Background(), cfg.Source.URL, cfg.Source.Schema, log); err != nil {
		return nil, err
	}
	return r, nil
}

// run lives until ctx is done.
func (r *sidecar) run(ctx context.Context, adm *admin) error {
	background, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	if adm != nil {
		r.log.Info("admin listening", "address", adm.Addr())
		running.Go(func() {
			if err := adm.Run(background); err != nil {
				r.log.Error("admin stopped", "err", err)
			}
		})
	}
	running.Go(func() { r.watch(background) })
	return r.tenures(ctx)
}

// tenures lives through one tenure after another: a tenure is the time in which this process alone delivers.
func (r *sidecar) tenures(ctx context.Context) error {
	wait, last := tenureRetryMin, ""
	for {
		began := time.Now()
		err := r.serve(ctx)
		if ctx.Err() != nil {
			return err
		}
		if time.Since(began) > time.Minute {
			wait, last = tenureRetryMin, ""
		}
		if err != nil {
			r.phase.Store(&phase{why: err.Error()})
			if err.Error() != last {
				last = err.Error()
				r.log.Error("not delivering, retrying", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait + rand.N(wait/4)):
		}
		wait = min(2*wait, tenureRetryMax)
	}
}

// serve waits for its turn and lives through one tenure.
func (r *sidecar) serve(ctx context.Context) error {
	t, err := r.begin(ctx)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	r.enter(t)
	err = t.run(ctx)
	r.phase.Store(after(ctx, err))
	r.tenure.Store(nil) // ready asks the phase from now on
	return err
}

// after is what the relay does when a tenure has ended.
func after(ctx context.Context, err error) *phase {
	switch {
	case err != nil:
		return &phase{why: err.Error()}
	case ctx.Err() != nil:
		return &phase{why: "stopping"}
	default:
		return &phase{why: "the slot is lost, beginning again"}
	}
}

// enter makes a tenure the one that reloads are for. It was prepared a moment ago: what was taken from the file since is made up
// for, since whoever asked for it was told that it is in use.
func (r *sidecar) enter(t *tenure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenure.Store(t)
	cfg := r.cfg.Load()
	if cfg == t.prepared {
		return
	}
	if _, err := t.reload(cfg); err != nil {
		r.cfg.Store(t.prepared) // what is in use; and the watcher goes on reading a file that is refused
		r.reloaded(err)
	}
}

// ready is for /readyz: bytes from the server within the last minute and the slot ours, or standing by. What an endpoint
// does has no part in it.
func (r *sidecar) ready() (bool, string) {
	t := r.tenure.Load()
	if t == nil {
		p := r.phase.Load()
		return p.standby, p.why
	}
	return t.ready()
}

// reload reads the file again and goes over to it, if nothing is wrong with it and it changes only what can change live.
func (r *sidecar) reload(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.reloadLocked()
	r.reloaded(err)
	return err
}

// reloaded notes how a reload ended, and tells the log what changed in that.
func (r *sidecar) reloaded(err error) {
	r.metrics.reloaded(err == nil)
	was := r.refusal()
	switch {
	case err == nil && was != "":
		r.log.Info("configuration is in order again")
		r.failed.Store(nil)
	case err != nil && err.Error() != was:
		r.log.Error("configuration not reloaded, the old one stays", "err", err)
		r.failed.Store(new(err.Error()))
	}
}

// refusal says why the file was not taken when it was read last; empty: it was.
func (r *sidecar) refusal() string {
	if why := r.failed.Load(); why != nil {
		return *why
	}
	return ""
}

func (r *sidecar) reloadLocked() error {
	cfg, err := mapping.Load(r.path)
	if err != nil {
		return err
	}
	old := r.cfg.Load()
	if keys := old.NeedsRestart(cfg); len(keys) > 0 {
		return fmt.Errorf("%s cannot change while relay runs: restart it for that; nothing was changed", strings.Join(keys, ", "))
	}
	t := r.tenure.Load()
	var changes []string
	if t == nil { // nothing lives yet that could change
		changes = []string{"all of it, for when this relay delivers"}
	} else if changes, err = t.reload(cfg); err != nil {
		return err
	}
	if old.Log.Level != cfg.Log.Level {
		r.level.Set(min(old.Log.Level, cfg.Log.Level)) // the change itself is said at both
		defer r.level.Set(cfg.Log.Level)
		changes = append(changes, fmt.Sprintf("log.level %s to %s", old.Log.Level, cfg.Log.Level))
	}
	r.cfg.Store(cfg)
	if len(changes) == 0 {
		changes = []string{"none"}
	}
	for _, change := range changes {
		r.log.Info("configuration reloaded", "change", change)
	}
	return nil
}
