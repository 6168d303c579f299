package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"relay/internal/pgtemp"
	"relay/mapping"
)

const (
	demoShortest   = 5 * time.Second
	demoOutageMost = 30 * time.Second // however long the demo
	demoDrainLimit = time.Minute
	demoQuiet      = time.Second // how long to look out for receipts too many
)

// demo is everything that relay demo starts, and stops again.
type demo struct {
	c        *console
	duration time.Duration

	cluster   *pgtemp.Cluster
	app       *demoApp
	receivers []*demoReceiver
	relay     *demoRelay
	view      *demoView
}

func newDemoCommand(c *console) *cobra.Command {
	d := &demo{c: c}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See relay at work in a throwaway Postgres",
		Long: `Starts a Postgres in a temporary folder, an application that writes orders, three endpoints of which one
fails for a while, and relay between them. Shows what happens, and ends with a verdict: what arrived,
held against what was committed. Nothing is left behind.

Exit status: 0 every committed event arrived once and in order, 1 not so.`,
		Example: `  relay demo
  relay demo --duration 1m
  relay demo --json             # the verdict alone`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.duration < demoShortest {
				return usagef("--duration %s: want at least %s", d.duration, demoShortest)
			}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().DurationVar(&d.duration, "duration", 20*time.Second, "how long the application writes")
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	if err := forgetPostgres(); err != nil {
		return err
	}
	d.view = newDemoView(d.c)
	d.view.intro()
	cleanUp := abandon.add(func() { err = errors.Join(err, d.close()) })
	defer cleanUp()
	if err := d.start(ctx); err != nil {
		return interrupted(ctx, err)
	}
	if err := d.watch(ctx); err != nil {
		return interrupted(ctx, err)
	}
	v, err := d.judge(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	return d.report(v)
}

// forgetPostgres takes the variables out of the environment that are meant for some other Postgres: whatever connects reads them,
// and so does the relay that is started.
func forgetPostgres() error {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("set aside %s: %w", name, err)
			}
		}
	}
	return nil
}

// interrupted says so if that is why something failed.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted before the end, so there is no verdict; everything is cleaned up")
	}
	return err
}

func (d *demo) start(ctx context.Context) (err error) {
	if d.cluster, err = pgtemp.Start(ctx, pgtemp.Options{}); err != nil {
		return fmt.Errorf("start a throwaway Postgres: %w", err)
	}
	url := d.cluster.URL("postgres")
	version, err := createDemoTables(ctx, url)
	if err != nil {
		return err
	}
	d.view.say("Postgres %s runs in a temporary folder, and goes away with the demo.", version)
	for name, types := range demoSubscriptions {
		r, err := newDemoReceiver(name, types...)
		if err != nil {
			return err
		}
		d.receivers = append(d.receivers, r)
	}
	d.app = &demoApp{url: url, events: map[string]int{}}
	return d.startRelay(ctx, url)
}

// demoSubscriptions are the endpoints, the one that fails first.
func demoSubscriptions(yield func(name string, types []string) bool) {
	_ = yield("billing", []string{"order.created", "order.paid"}) &&
		yield("shipping", []string{"order.paid", "order.shipped"}) &&
		yield("analytics", nil)
}

func createDemoTables(ctx context.Context, url string) (version string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connect to the throwaway Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the statements' answers are all that counts
	if _, err := conn.Exec(ctx, demoTables); err != nil {
		return "", fmt.Errorf("create the application's tables: %w", err)
	}
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version')`).Scan(&version)
	return version, err
}

// startRelay does what a user does: relay.yaml, relay setup, relay run.
func (d *demo) startRelay(ctx context.Context, url string) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	path := filepath.Join(d.cluster.Dir, defaultConfig)
	if err := os.WriteFile(path, []byte(demoConfig(url, admin, d.receivers)), 0o600); err != nil {
		return fmt.Errorf("write the demo's relay.yaml: %w", err)
	}
	cfg, err := mapping.Load(path)
	if err != nil {
		return err
	}
	if _, err := setUp(ctx, cfg); err != nil {
		return fmt.Errorf("set up the database: %w", err)
	}
	if d.relay, err = startDemoRelay(d.cluster.Dir, admin); err != nil {
		return err
	}
	return d.relay.waitReady(ctx)
}

// watch lets the application write, breaks an endpoint for a while, and shows it all until everything has arrived or
// should have.
func (d *demo) watch(ctx context.Context) error {
	writing, stop := context.WithTimeout(ctx, d.duration)
	defer stop()
	ended := make(chan struct{}) // closed when the application has ended, after its error is set
	var appErr error
	go func() {
		defer close(ended)
		appErr = d.app.Run(writing)
	}()
	defer func() { stop(); <-ended }()

	begun := time.Now()
	deadline := time.After(d.duration + demoDrainLimit)
	tick := time.NewTicker(d.view.interval())
	defer tick.Stop()
	wrote := ended
	var complete time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.relay.ended:
			return d.relay.failure()
		case <-wrote:
			if appErr != nil {
				return appErr
			}
			wrote = nil // heard once
			continue
		case <-deadline:
			return nil // the verdict says what is missing
		case <-tick.C:
		}
		d.breakAndMend(time.Since(begun))
		d.view.show(d.moment(ctx, time.Since(begun), wrote == nil))
		switch {
		case wrote != nil || !d.arrived():
			complete = time.Time{}
		case complete.IsZero():
			complete = time.Now()
		case time.Since(complete) > demoQuiet:
			return nil
		}
	}
}

// outage is when the first endpoint fails.
func (d *demo) outage() (from, to time.Duration) {
	from = d.duration * 3 / 10
	return from, from + min(d.duration*3/10, demoOutageMost)
}

func (d *demo) breakAndMend(elapsed time.Duration) {
	from, to := d.outage()
	d.receivers[0].fail(elapsed >= from && elapsed < to)
}

func (d *demo) arrived() bool {
	for _, r := range d.receivers {
		if r.Seen(time.Now()).Received < d.app.Wanted(r.wants) {
			return false
		}
	}
	return true
}

// judge stops the relay, softly, and holds what arrived against what was committed.
func (d *demo) judge(ctx context.Context) (verdict, error) {
	if err := d.relay.stop(); err != nil {
		return verdict{}, err
	}
	committed, err := readCommitted(ctx, d.cluster.URL("postgres"))
	if err != nil {
		return verdict{}, err
	}
	return judge(committed, d.receivers), nil
}

func (d *demo) report(v verdict) error {
	if d.c.json {
		if err := d.c.printJSON(v); err != nil {
			return err
		}
	} else {
		v.print(d.c)
	}
	if !v.Kept {
		return errReported
	}
	return nil
}

// close stops everything that was started, in the order that spares each the other's absence.
func (d *demo) close() error {
	if d.relay != nil {
		d.relay.kill()
	}
	for _, r := range d.receivers {
		r.close()
	}
	if d.cluster == nil {
		return nil
	}
	return d.cluster.Stop()
}
