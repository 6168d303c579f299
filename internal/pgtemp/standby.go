package pgtemp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// standbySlot is the physical slot by which a primary keeps WAL for its standby.
const standbySlot = "standby"

// Standby makes a standby of a running primary, from a cold copy: the primary is stopped for it and started again.
// What its primary's settings are, so are its own, but for those given. It streams from the primary and synchronises its
// failover slots where the version can (17 and later) and sync_replication_slots is on.
func Standby(ctx context.Context, primary *Cluster, settings map[string]string) (*Cluster, error) {
	if err := primary.query(ctx, "SELECT pg_create_physical_replication_slot('"+standbySlot+"', true)"); err != nil {
		return nil, err
	}
	dir, err := primary.account.mkdirTemp()
	if err != nil {
		return nil, fmt.Errorf("make a folder for the standby: %w", err)
	}
	c := &Cluster{Dir: dir, opts: primary.opts, account: primary.account}
	if err := c.follow(ctx, primary, settings); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) follow(ctx context.Context, primary *Cluster, settings map[string]string) error {
	var err error
	if c.guardian, err = watch(c.Dir, c.account); err != nil {
		return err
	}
	if err := primary.Shutdown(Fast); err != nil {
		return err
	}
	if err := c.copyFrom(primary); err != nil {
		return err
	}
	if err := primary.Launch(ctx); err != nil {
		return err
	}
	own := map[string]string{
		"hot_standby": "on", "hot_standby_feedback": "on", "primary_slot_name": standbySlot,
		"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable application_name=standby", primary.Port),
	}
	for _, more := range []map[string]string{primary.opts.Settings, settings} {
		maps.Copy(own, more)
	}
	c.opts.Settings = own
	if c.Port, err = freePort(); err != nil {
		return err
	}
	if err := c.configure(); err != nil {
		return err
	}
	return c.launch(ctx)
}

// copyFrom copies the data directory of a stopped cluster. Slots are not for the copy: it would hold WAL for nobody.
func (c *Cluster) copyFrom(primary *Cluster) error {
	from, to := primary.data(), c.data()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil || name == "postmaster.pid" || strings.HasPrefix(name, "pg_replslot"+string(filepath.Separator)) {
			return err
		}
		return c.copyEntry(path, filepath.Join(to, name), entry)
	})
	if err != nil {
		return fmt.Errorf("copy the primary: %w", err)
	}
	signal := filepath.Join(to, "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return err
	}
	return c.own(signal)
}

func (c *Cluster) copyEntry(from, to string, entry fs.DirEntry) error {
	if entry.IsDir() {
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		return c.own(to)
	}
	if !entry.Type().IsRegular() {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		return err
	}
	return c.own(to)
}

func (c *Cluster) own(path string) error {
	if c.account.credential == nil {
		return nil
	}
	return os.Chown(path, int(c.account.credential.Uid), int(c.account.credential.Gid))
}

// Promote makes a standby a primary, and returns when it takes writes.
func (c *Cluster) Promote(ctx context.Context) error {
	if err := c.query(ctx, "SELECT pg_promote(true, 60)"); err != nil {
		return err
	}
	return c.await(ctx, &server{done: make(chan struct{})})
}

// CaughtUp waits until a standby has replayed what its primary has written by now.
func (c *Cluster) CaughtUp(ctx context.Context, primary *Cluster) error {
	end, err := primary.ask(ctx, "SELECT pg_current_wal_lsn()")
	if err != nil {
		return err
	}
	return c.until(ctx, "SELECT coalesce(pg_last_wal_replay_lsn() >= '"+end+"', false)")
}

// Synchronised waits until a standby has synchronised a failover slot that is confirmed as far as its primary's.
func (c *Cluster) Synchronised(ctx context.Context, primary *Cluster, slot string) error {
	at, err := primary.ask(ctx, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '"+slot+"'")
	if err != nil {
		return err
	}
	return c.until(ctx, "SELECT count(*) = 1 FROM pg_replication_slots WHERE synced AND NOT temporary AND slot_name = '"+slot+"' AND confirmed_flush_lsn >= '"+at+"'")
}

// until asks until the answer is true: there is no event to wait for.
func (c *Cluster) until(ctx context.Context, sql string) error {
	for {
		answer, err := c.ask(ctx, sql)
		if err == nil && answer == "t" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%w: %s", context.Cause(ctx), sql), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Cluster) query(ctx context.Context, sql string) error {
	_, err := c.ask(ctx, sql)
	return err
}

// ask returns the first value that a statement answers.
func (c *Cluster) ask(ctx context.Context, sql string) (string, error) {
	conn, err := pgconn.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the statement's answer is all that counts
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", fmt.Errorf("%s: %w", sql, err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return "", fmt.Errorf("%s: no answer", sql)
	}
	return string(results[0].Rows[0][0]), nil
}

// Detach has a standby receive nothing more, so that it stays behind.
func (c *Cluster) Detach(ctx context.Context) error {
	for _, sql := range []string{"ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"} {
		conn, err := pgconn.Connect(ctx, c.URL("postgres"))
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, sql).ReadAll()
		if err := errors.Join(err, conn.Close(ctx)); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return c.until(ctx, "SELECT count(*) = 0 FROM pg_stat_wal_receiver")
}

// failoverMajor is the first version whose logical slots can be synchronised to a standby.
const failoverMajor = 17

// FailoverBin returns the binaries of a version that can synchronise slots: those of FindBin, or others that
// internal/pgtemp/matrix.sh has fetched. It returns an empty string where there are none.
func FailoverBin(ctx context.Context) string {
	var candidates []string
	if dir, err := FindBin(); err == nil {
		candidates = append(candidates, dir)
	}
	for _, major := range []string{"18", "17"} {
		for _, store := range []string{"../../bin/postgres", "../bin/postgres", "bin/postgres", "/var/cache/relay-postgres"} {
			if dir, err := filepath.Abs(filepath.Join(store, major, "bin")); err == nil {
				candidates = append(candidates, dir)
			}
		}
	}
	for _, dir := range candidates {
		if complete(dir) && majorOf(ctx, dir) >= failoverMajor {
			return dir
		}
	}
	return ""
}

// majorOf asks the server binary, which says "postgres (PostgreSQL) 18.4".
func majorOf(ctx context.Context, dir string) int {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 3 {
		return 0
	}
	text, _, _ := strings.Cut(fields[2], ".")
	major, _ := strconv.Atoi(text) // 0 for what is not a number
	return major
}
