package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"time"

	"relay/internal/pgtemp"
)

// bench is one run of the benchmark.
type bench struct {
	*options
	cluster *pgtemp.Cluster
	dir     string // for the configuration files and logs of the measured processes
}

// scenario is one combination of what the receivers are like.
type scenario struct {
	delay       time.Duration
	endpoints   int
	concurrency int
}

func (s scenario) String() string {
	unit := "endpoints"
	if s.endpoints == 1 {
		unit = "endpoint"
	}
	return fmt.Sprintf("%d ms, %d %s", s.delay.Milliseconds(), s.endpoints, unit)
}

// ideal is what requests of the receiver's delay and nothing else would reach, in events a second; 0 without a delay.
func (s scenario) ideal() float64 {
	if s.delay == 0 {
		return 0
	}
	return float64(s.concurrency) / s.delay.Seconds()
}

func (o *options) scenarios() []scenario {
	var all []scenario
	for _, delay := range o.delays {
		for _, endpoints := range o.endpoints {
			concurrency := 16
			if delay > 0 {
				concurrency = 64
			}
			if o.concurrency > 0 {
				concurrency = o.concurrency
			}
			all = append(all, scenario{delay, endpoints, concurrency})
		}
	}
	return all
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
	progress("start Postgres")
	cluster, err := pgtemp.Start(ctx, pgtemp.Options{Settings: map[string]string{
		"track_commit_timestamp": "on", // the clock that latency is measured from
		"shared_buffers":         "128MB",
		"max_wal_size":           "4GB",
		"max_replication_slots":  strconv.Itoa(20 + 4*opts.rounds*len(opts.scenarios())), // one for each run
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	b := &bench{options: opts, cluster: cluster, dir: dir}
	fmt.Printf("\n%s, %s/%s, %d CPUs. Format %s, signed %t, fsync on, medians of %d.\n", runtime.Version(), runtime.GOOS,
		runtime.GOARCH, runtime.NumCPU(), opts.format, opts.sign, opts.rounds)
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"drain", b.drain}, {"steady", b.steadily}, {"park", b.park}} {
		if !slices.Contains(opts.only, part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// progress goes to standard error, so that standard output is the report.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
