package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"relay/internal/pgtemp"
)

// bench is one run of the benchmark.
type bench struct {
	*options
	cluster   *pgtemp.Cluster
	dir       string // for the configuration files and logs of the measured processes
	authority *authority
	base      string // the relay to compare with
	made      int    // databases
}

func run(ctx context.Context, opts *options) (err error) {
	if _, err := exec.LookPath(opts.relay); err != nil {
		return fmt.Errorf("find the relay binary: %w (make build makes it)", err)
	}
	dir, err := os.MkdirTemp("", "relay-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{options: opts, dir: dir}
	if b.authority, err = newAuthority(dir); err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	if opts.compare != "" {
		if b.base, err = buildBase(ctx, opts.compare, dir); err != nil {
			return err
		}
	}
	machine := describe(ctx, b)
	progress("start Postgres")
	b.cluster, err = pgtemp.Start(ctx, pgtemp.Options{Settings: map[string]string{
		"track_commit_timestamp": "on", // the clock that latency is measured from
		"shared_buffers":         "128MB",
		"max_wal_size":           "8GB",
		"checkpoint_timeout":     "1h", // only those that the benchmark asks for
		"max_replication_slots":  "200",
		"max_wal_senders":        "200",
		"max_connections":        "300",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Stop()) }()
	if err := machine.ask(ctx, b.cluster.URL("postgres")); err != nil {
		return err
	}
	outcomes, err := b.measure(ctx)
	if err != nil {
		return err
	}
	return opts.report(machine, outcomes)
}

// measure goes through the scenarios.
func (b *bench) measure(ctx context.Context) ([]outcome, error) {
	var outcomes []outcome
	all := b.scenarios()
	for i, s := range all {
		progress("%d/%d %s: %s", i+1, len(all), s.name, s)
		o, err := b.scenario(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// scenario runs its contenders in turns, in a database of its own.
func (b *bench) scenario(ctx context.Context, s scenario) (o outcome, err error) {
	b.made++
	db, err := b.database(ctx, fmt.Sprintf("bench%d", b.made))
	if err != nil {
		return o, err
	}
	o = outcome{scenario: s, runs: make(map[string][]result)}
	contenders := b.contenders(db, s)
	if s.kind != steadily {
		if err := b.backlog(ctx, s, contenders); err != nil {
			return o, err
		}
	}
	one := map[kind]func(context.Context, *contender) (result, error){draining: b.drain, steadily: b.follow, parking: b.park}[s.kind]
	for _, c := range contenders {
		r, err := one(ctx, c)
		if err != nil {
			return o, fmt.Errorf("%s: %w", c.system, err)
		}
		progress("  %-6s %s", c.system, r.line(s.kind))
		o.runs[c.system] = append(o.runs[c.system], r)
		if err := dropSlot(ctx, c); err != nil {
			return o, fmt.Errorf("drop the slot of %s: %w", c.system, err)
		}
	}
	return o, b.drop(ctx, db)
}

// backlog makes the slots of all contenders, and then writes what they will go through. A poller has rows of its own.
func (b *bench) backlog(ctx context.Context, s scenario, contenders []*contender) error {
	for _, c := range contenders {
		if err := b.prepare(ctx, c); err != nil {
			return err
		}
		if s.kind == parking {
			c.slot += liveSuffix
			if err := b.prepare(ctx, c); err != nil {
				return err
			}
			c.slot = c.slot[:len(c.slot)-len(liveSuffix)]
		}
	}
	return write(ctx, contenders[0].db, s)
}

// line is the run in short, for who watches.
func (r result) line(k kind) string {
	switch k {
	case steadily:
		return fmt.Sprintf("p50 %s, p99 %s", r.p50.Round(time.Microsecond), r.p99.Round(time.Microsecond))
	case parking:
		return fmt.Sprintf("live %.0f, parking %.0f, draining %.0f events/s", r.live, r.parking, r.rate)
	default:
		return fmt.Sprintf("%.0f deliveries/s", r.rate)
	}
}

// progress goes to standard error, so that standard output is the report.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
