package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// contender is one run of a system in a scenario, with a slot of its own.
type contender struct {
	system string
	slot   string
	db     *pgx.Conn
	scenario
	paused bool // relay's endpoints
}

// contenders returns the systems for each round, in turns.
func (b *bench) contenders(db *pgx.Conn, s scenario) []*contender {
	var all []*contender
	for round := range s.rounds {
		for _, system := range s.systems {
			slot := fmt.Sprintf("s%d_%s_%d", b.made, system, round)
			all = append(all, &contender{system: system, db: db, scenario: s, slot: slot})
		}
	}
	return all
}

// ours reports whether the contender is a relay.
func (c *contender) ours() bool { return c.system == sysRelay || c.system == sysBase }

// prepare makes the slot at this point of the WAL, and what relay sets up besides.
func (b *bench) prepare(ctx context.Context, c *contender) error {
	switch {
	case c.system == sysPoller:
		return nil
	case !c.ours():
		_, err := c.db.Exec(ctx, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", c.slot)
		return err
	}
	path, err := b.configure(c, c.urls("http://127.0.0.1:9"), "") // nothing is sent yet
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, b.binary(c.system), "setup", "-c", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("relay setup: %w\n%s", err, out)
	}
	return nil
}

func (b *bench) binary(system string) string {
	if system == sysBase {
		return b.base
	}
	return b.relay
}

// urls are the endpoints', the one that is down being the last.
func (c *contender) urls(receiver string) []string {
	n := c.endpoints
	if c.down {
		n++
	}
	urls := make([]string, n)
	for i := range urls {
		urls[i] = fmt.Sprintf("%s/%d", receiver, i)
	}
	return urls
}

// startContender runs the contender against the receiver.
func (b *bench) startContender(c *contender, r *receiver) (*process, error) {
	urls := c.urls(r.base())
	if !c.ours() {
		command := pipeCommand
		if c.system == sysPoller {
			command = pollerCommand
		}
		args, err := commandLine(command, &pipeConfig{
			URL: c.db.Config().ConnString(), Slot: c.slot, Endpoints: urls, Concurrency: c.concurrency,
			Format: b.format, Direct: c.system == sysDirect, CA: b.authority.file,
		})
		if err != nil {
			return nil, err
		}
		return b.start(c.slot, "", args...)
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	path, err := b.configure(c, urls, admin)
	if err != nil {
		return nil, err
	}
	return b.start(c.slot, admin, b.binary(c.system), "run", "-c", path)
}

// configure writes relay.yaml: the defaults, but for what the benchmark varies.
func (b *bench) configure(c *contender, urls []string, admin string) (string, error) {
	var y strings.Builder
	fmt.Fprintf(&y, "source: {url: %q, slot: %s, publication: %s, schema: %s}\n", c.db.Config().ConnString(), c.slot, publication, c.slot)
	fmt.Fprintf(&y, "admin: {listen: %q}\nlog: {level: warn}\n", admin)
	fmt.Fprintf(&y, "defaults: {concurrency: %d, format: %s, paused: %t", c.concurrency, b.format, c.paused)
	if c.tls {
		fmt.Fprintf(&y, ", tls: {ca_file: %q}", b.authority.file)
	}
	y.WriteString("}\nendpoints:\n")
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
	if c.system == sysPoller {
		return nil
	}
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

// dropSlot frees the WAL that the contender's slot holds, once the server has noticed that it is gone.
func dropSlot(ctx context.Context, c *contender) error {
	for deadline := time.Now().Add(stall); ; {
		_, err := c.db.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", c.slot)
		refused, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || refused.Code != "55006" || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond) // nothing tells when a slot is free
	}
}
