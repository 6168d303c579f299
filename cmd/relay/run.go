package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"relay/mapping"
)

// runOptions is what relay run is told on the command line.
type runOptions struct {
	Config string    // path of relay.yaml
	Log    io.Writer // where log lines go
}

// runRelay is relay run: it returns when ctx is done and everything has ended softly, or with what kept it from starting.
func runRelay(ctx context.Context, opts runOptions) error {
	cfg, err := mapping.Load(opts.Config)
	if err != nil {
		return err
	}
	paceGC()
	level := new(slog.LevelVar)
	level.Set(cfg.Log.Level)
	r, err := newSidecar(cfg, opts.Config, newLogger(cfg.Log.Format, level, opts.Log))
	if err != nil {
		return err
	}
	r.level = level
	defer r.store.Close()
	r.tracing = newTracing(ctx, r.log)
	defer r.tracing.stop()
	if cfg.Admin.Listen == "" {
		return r.run(ctx, nil)
	}
	adm, err := listenAdmin(cfg.Admin.Listen, adminConfig{
		Token: cfg.Admin.Token, Ready: r.ready, Status: r.status, Reload: r.reload,
		Gather: r.metrics.registry, Logger: r.log,
		Routes: parkedRoutes(r.store, func(name string) bool { return r.cfg.Load().Endpoint(name) != nil }, cfg.Admin.Token != ""),
	})
	if err != nil {
		return fmt.Errorf("%w (admin.listen in %s says where)", err, opts.Config)
	}
	return r.run(ctx, adm)
}

func newLogger(format string, level slog.Leveler, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
