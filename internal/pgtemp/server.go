package pgtemp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var errPortTaken = errors.New("port is taken")

// stopTimeout is how long a server may take to shut down before it is killed.
const stopTimeout = 30 * time.Second

// server is one run of the postmaster.
type server struct {
	cmd  *exec.Cmd
	done chan struct{} // closed by the goroutine that reaps the process
	err  error         // how it ended; read after done
}

// launch starts the server and waits until it accepts connections.
func (c *Cluster) launch(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	path := filepath.Join(c.Dir, "server.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the server has its own descriptor
	start, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	s, err := c.exec(log)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	if err := c.await(ctx, s); err != nil {
		_ = s.stop(Crash) // why it did not start is the error that counts
		said := readFrom(path, start)
		if bytes.Contains(said, []byte("could not create any TCP/IP sockets")) {
			err = errors.Join(errPortTaken, err)
		}
		return fmt.Errorf("start postgres: %w\n%s", err, tail(said))
	}
	c.server = s
	return nil
}

// exec runs the postmaster, not bound to a context: it lives until it is stopped.
func (c *Cluster) exec(log io.Writer) (*server, error) {
	if c.opts.Log != nil {
		log = c.opts.Log
	}
	cmd := c.account.command(context.Background(), c.Dir, filepath.Join(c.opts.Bin, "postgres"), "-D", c.data())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Second // backends that outlive a killed postmaster hold the log's pipe
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, done: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// await returns when the server accepts connections. There is no event to wait for, so it asks.
func (c *Cluster) await(ctx context.Context, s *server) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgconn.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.done:
			return fmt.Errorf("server ended: %w", errors.Join(s.err, errors.New("see its log below")))
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// stop ends the server in the given mode and waits for its process.
func (s *server) stop(mode Mode) error {
	if mode == Crash {
		return s.kill()
	}
	if err := s.cmd.Process.Signal(syscall.Signal(mode)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop postgres: %w", err)
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("stop postgres: still running after %s, killed", stopTimeout), s.kill())
	}
}

// kill ends the postmaster and its children at once. The postmaster is held first, so that it neither forks another
// backend in between nor starts recovery when it sees one die.
func (s *server) kill() error {
	p := s.cmd.Process
	err := p.Signal(syscall.SIGSTOP)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	for _, pid := range children(p.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended by itself
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill postgres: %w", err)
	}
	<-s.done
	return nil
}

func readFrom(path string, start int64) []byte {
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) < start {
		return b
	}
	return b[start:]
}

// tail returns the end of a program's output, enough to see what it complained about.
func tail(out []byte) []byte {
	const most = 2000
	out = bytes.TrimSpace(out)
	return out[max(0, len(out)-most):]
}
