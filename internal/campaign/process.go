package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one run of the real relay.
type Process struct {
	cmd   *exec.Cmd
	admin string // base URL
	began time.Time
	out   *buffer

	ended chan struct{} // closed when the process has ended, after err is set
	err   error
}

// buffer keeps what a process says.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	also io.Writer // nil: nobody
}

// Write appends.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.also != nil {
		_, _ = b.also.Write(p)
	}
	return b.text.Write(p)
}

// String returns all there is.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start runs relay with the arguments. log, unless nil, receives what it says as well.
func start(admin string, log io.Writer, env []string, args ...string) (*Process, error) {
	path, err := Binary()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(path, args...), admin: "http://" + admin, began: time.Now(), out: &buffer{also: log}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "RELAY_FAILPOINT") // meant for somebody else
	}), env...)
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start relay: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Kill ends the process as a crash does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // it may have ended

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Stop asks for a soft stop and returns how the process ended.
func (p *Process) Stop(limit time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return p.err
	case <-time.After(limit):
		p.Signal(syscall.SIGQUIT) // its goroutines are worth more than its exit status
		<-p.ended
		return fmt.Errorf("relay did not stop within %s; it said:\n%s", limit, p.Log())
	}
}

// ExitCode returns the exit status of a process that has ended.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Log returns what the process said.
func (p *Process) Log() string { return p.out.String() }

var client = &http.Client{Timeout: 5 * time.Second}

// Get asks the admin HTTP server and returns status and text.
func (p *Process) Get(path string) (int, string) {
	answer, err := client.Get(p.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer.StatusCode, string(text)
}

// Status is the part of GET /api/v1/status that tests look at.
type Status struct {
	Ready  bool `json:"ready"`
	Source struct {
		State    string `json:"state"`
		LagBytes int64  `json:"lag_bytes"`
	} `json:"source"`
	Window struct {
		Events int `json:"events"`
	} `json:"window"`
	Endpoints []struct {
		Name    string `json:"name"`
		State   string `json:"state"`
		Breaker string `json:"breaker"`
		Waiting int64  `json:"parked_waiting"`
		Dead    int64  `json:"parked_dead"`
		Queued  int    `json:"queued"`
	} `json:"endpoints"`
}

// Status asks for the relay's own view of itself.
func (p *Process) Status() (Status, error) {
	var s Status
	code, text := p.Get("/api/v1/status")
	if code != http.StatusOK {
		return s, errors.New(text)
	}
	return s, json.Unmarshal([]byte(text), &s)
}

// WaitReady returns when the relay streams.
func (p *Process) WaitReady(ctx context.Context) error {
	return p.waitFor(ctx, func() (bool, string) {
		code, text := p.Get("/readyz")
		return code == http.StatusOK && strings.Contains(text, "streaming"), text
	})
}

func (p *Process) waitFor(ctx context.Context, ok func() (bool, string)) error {
	for {
		done, why := ok()
		if done {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("relay ended by itself: %w; it said:\n%s", p.err, p.Log())
		case <-ctx.Done():
			return fmt.Errorf("%w: %s; relay said:\n%s", context.Cause(ctx), why, p.Log())
		case <-time.After(20 * time.Millisecond): // another process: there is nothing to wait on
		}
	}
}
