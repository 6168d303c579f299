package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// contender is one run of the pipe or of relay, with a slot of its own.
type contender struct {
	system string // pipe or relay
	slot   string
	db     *pgx.Conn
	scenario
	paused bool // relay's endpoints
}

// contenders returns the systems for each round, in turns, each with its slot made at this point of the WAL.
func (b *bench) contenders(ctx context.Context, db *pgx.Conn, s scenario, name string, systems ...string) ([]*contender, error) {
	var all []*contender
	for round := range b.rounds {
		for _, system := range systems {
			c := &contender{system: system, db: db, scenario: s}
			c.slot = fmt.Sprintf("%s_%d_%d_%s_%d", name, s.delay.Milliseconds(), s.endpoints, system, round)
			if err := b.prepare(ctx, c); err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// prepare makes the slot, and what relay sets up besides.
func (b *bench) prepare(ctx context.Context, c *contender) error {
	if c.system == "pipe" {
		_, err := c.db.Exec(ctx, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", c.slot)
		return err
	}
	urls := make([]string, c.endpoints)
	for i := range urls {
		urls[i] = fmt.Sprintf("http://127.0.0.1:9/%d", i) // nothing is sent yet
	}
	path, err := b.configure(c, urls)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, b.relay, "setup", "-c", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("relay setup: %w\n%s", err, out)
	}
	return nil
}

// startContender runs the contender against the receiver.
func (b *bench) startContender(c *contender, r *receiver) (*process, error) {
	urls := make([]string, c.endpoints)
	for i := range urls {
		urls[i] = r.url(i)
	}
	if c.system == "pipe" {
		args, err := pipeCommandLine(&pipeConfig{
			URL: c.db.Config().ConnString(), Slot: c.slot, Endpoints: urls, Concurrency: c.concurrency, Format: b.format,
		})
		if err != nil {
			return nil, err
		}
		return b.start(c.slot, args...)
	}
	path, err := b.configure(c, urls)
	if err != nil {
		return nil, err
	}
	return b.start(c.slot, b.relay, "run", "-c", path)
}

// configure writes relay.yaml: the defaults, but for what the benchmark varies.
func (b *bench) configure(c *contender, urls []string) (string, error) {
	var y strings.Builder
	fmt.Fprintf(&y, "source: {url: %q, slot: %s, publication: %s, schema: %s}\n", c.db.Config().ConnString(), c.slot, publication, c.slot)
	fmt.Fprintf(&y, "admin: {listen: \"\"}\nlog: {level: warn}\n")
	fmt.Fprintf(&y, "defaults: {concurrency: %d, format: %s, paused: %t}\n", c.concurrency, b.format, c.paused)
	y.WriteString("endpoints:\n")
	for i, url := range urls {
		fmt.Fprintf(&y, "  endpoint%d: {url: %q", i, url)
		if b.sign {
			y.WriteString(`, secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]`)
		}
		y.WriteString("}\n")
	}
	path := filepath.Join(b.dir, c.slot+".yaml")
	return path, os.WriteFile(path, []byte(y.String()), 0o600)
}

// streaming returns when the contender has its slot.
func (p *process) streaming(ctx context.Context, c *contender) error {
	deadline := time.Now().Add(stall)
	for time.Now().Before(deadline) {
		var active bool
		const ask = "SELECT active FROM pg_replication_slots WHERE slot_name = $1"
		if err := c.db.QueryRow(ctx, ask, c.slot).Scan(&active); err != nil || active {
			return err
		}
		select {
		case <-p.exited:
			return fmt.Errorf("did not stream: %w", p.end())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("does not stream\n%s", p.said())
}
