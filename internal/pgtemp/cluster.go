// Package pgtemp runs throwaway Postgres clusters for the demo, the benchmark and the tests: a data directory of its
// own, a free port on loopback, logical replication switched on, and nothing left behind, however the program ends.
package pgtemp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// StartTimeout is how long a server may take until it accepts connections, crash recovery included.
const StartTimeout = time.Minute

// Options says how a Cluster differs from the usual one. The zero value is fine.
type Options struct {
	// Settings are added to postgresql.conf and win over the defaults. fsync is on unless it is switched off here.
	Settings map[string]string
	// Bin is the folder of initdb and postgres; empty means FindBin.
	Bin string
	// Log receives the server's log; nil keeps it in a file of the cluster's folder, whose end is quoted in errors.
	Log io.Writer
}

// Cluster is a running, or stopped, Postgres server with its data. Its superuser is postgres, without a password, and
// it listens on 127.0.0.1 alone. Its methods may be called from several goroutines; stopping and starting take turns.
type Cluster struct {
	// Dir is the folder of everything the cluster owns; the data directory is the folder data in it.
	Dir string
	// Port is the TCP port on 127.0.0.1, which stays the same over restarts.
	Port int

	opts    Options
	account *account

	mu       sync.Mutex
	server   *server // nil while stopped
	guardian *guardian
}

// Start makes a cluster and returns when it accepts connections. The caller stops it with Stop; should the calling
// process die first, a guardian process does.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Bin == "" {
		bin, err := FindBin()
		if err != nil {
			return nil, err
		}
		opts.Bin = bin
	}
	acct, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := acct.mkdirTemp()
	if err != nil {
		return nil, fmt.Errorf("make a folder for the cluster: %w", err)
	}
	c := &Cluster{Dir: dir, opts: opts, account: acct}
	if err := c.create(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) create(ctx context.Context) error {
	g, err := watch(c.Dir, c.account)
	if err != nil {
		return err
	}
	c.guardian = g
	if err := c.initdb(ctx); err != nil {
		return err
	}
	// Another process may take the free port before the server does, so a few are tried.
	for try := 0; ; try++ {
		if c.Port, err = freePort(); err != nil {
			return err
		}
		if err := c.configure(); err != nil {
			return err
		}
		err := c.launch(ctx)
		if err == nil || !errors.Is(err, errPortTaken) || try == 5 {
			return err
		}
	}
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

func (c *Cluster) initdb(ctx context.Context) error {
	// --no-sync: the data is worth nothing until the server runs, and the server syncs what it writes from then on.
	cmd := c.account.command(ctx, c.Dir, filepath.Join(c.opts.Bin, "initdb"), "--pgdata="+c.data(),
		"--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb of %s: %w\n%s", c.opts.Bin, err, tail(out))
	}
	return nil
}

// URL returns the connection URL of a database of this cluster, for the superuser.
func (c *Cluster) URL(db string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Host: "127.0.0.1:" + strconv.Itoa(c.Port), Path: "/" + db,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase makes a database and returns its URL.
func (c *Cluster) CreateDatabase(ctx context.Context, name string) (string, error) {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the statement's answer is all that counts
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", fmt.Errorf("create database %q: %w", name, err)
	}
	return c.URL(name), nil
}

// Pid returns the process id of the postmaster, or 0 while the cluster is stopped.
func (c *Cluster) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return 0
	}
	return c.server.cmd.Process.Pid
}

// Shutdown stops the server in the given mode and keeps the data; Launch starts it again.
func (c *Cluster) Shutdown(mode Mode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shutdown(mode)
}

func (c *Cluster) shutdown(mode Mode) error {
	if c.server == nil {
		return nil
	}
	segment, family := sharedMemory(c.data()), children(c.server.cmd.Process.Pid)
	err := c.server.stop(mode)
	c.server = nil
	return errors.Join(err, awaitDetached(segment, family, orphanTimeout))
}

// Kill ends the postmaster and every backend with SIGKILL, as a crash of the machine's processes would, and keeps the
// data. Launch starts the server again, through crash recovery.
func (c *Cluster) Kill() error { return c.Shutdown(Crash) }

// Launch starts a server that was shut down or killed, on the same port, and returns when it accepts connections.
func (c *Cluster) Launch(ctx context.Context) error { return c.launch(ctx) }

// Restart is Shutdown in the given mode and Launch.
func (c *Cluster) Restart(ctx context.Context, mode Mode) error {
	if err := c.Shutdown(mode); err != nil {
		return err
	}
	return c.Launch(ctx)
}

// Stop shuts the server down and removes everything the cluster owns. It may be called more than once.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A server that does not stop must not keep its folder: the data is thrown away next.
	err := c.shutdown(Fast)
	releaseSharedMemory(c.data())
	err = errors.Join(err, os.RemoveAll(c.Dir))
	if c.guardian != nil {
		c.guardian.dismiss()
		c.guardian = nil
	}
	return err
}

// Mode is a way to stop a server.
type Mode syscall.Signal

// The modes, named as those of pg_ctl; Crash is none of them.
const (
	Smart     = Mode(syscall.SIGTERM) // waits until every client has gone
	Fast      = Mode(syscall.SIGINT)  // disconnects clients, rolls back, writes a checkpoint
	Immediate = Mode(syscall.SIGQUIT) // no checkpoint: recovery at the next start
	Crash     = Mode(syscall.SIGKILL) // postmaster and backends at once
)
