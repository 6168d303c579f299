package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// demoRelay is the relay that the demo watches: this very program, as a process of its own.
type demoRelay struct {
	cmd    *exec.Cmd
	admin  string // URL of its admin HTTP
	log    string // path of its log
	client http.Client

	ended chan struct{} // closed when the process has ended, after err is set
	err   error
}

const (
	demoReadyTimeout  = 30 * time.Second
	demoStopTimeout   = 20 * time.Second
	demoStatusTimeout = time.Second
)

// startDemoRelay runs `relay run` in a folder that holds its relay.yaml.
func startDemoRelay(dir, admin string) (*demoRelay, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	r := &demoRelay{
		admin: "http://" + admin, log: filepath.Join(dir, "relay.log"), ended: make(chan struct{}),
		client: http.Client{Timeout: demoStatusTimeout},
	}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, fmt.Errorf("open the relay's log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own handle
	r.cmd = exec.Command(self, "run", "--config", filepath.Join(dir, defaultConfig))
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.SysProcAttr = childAttr()
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start relay: %w", err)
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	return r, nil
}

// failure is the error of a process that should still be running.
func (r *demoRelay) failure() error {
	return fmt.Errorf("relay ended by itself (%s); the end of its log:\n%s", r.cmd.ProcessState, r.logEnd())
}

func (r *demoRelay) logEnd() string {
	const lines = 15
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// waitReady returns when the relay streams.
func (r *demoRelay) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoReadyTimeout)
	defer cancel()
	for {
		if r.get(ctx, "/readyz", nil) == nil {
			return nil
		}
		select {
		case <-r.ended:
			return r.failure()
		case <-ctx.Done():
			return fmt.Errorf("relay is not ready: %w; the end of its log:\n%s", ctx.Err(), r.logEnd())
		case <-time.After(50 * time.Millisecond): // another process: there is nothing to wait on
		}
	}
}

// Status asks the relay for its state; nil if it does not say.
func (r *demoRelay) Status(ctx context.Context) *relayStatus {
	var s relayStatus
	if r.get(ctx, "/api/v1/status", &s) != nil {
		return nil
	}
	return &s
}

func (r *demoRelay) get(ctx context.Context, path string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.admin+path, nil)
	if err != nil {
		return err
	}
	answer, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	if to == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(to)
}

// stop asks the relay to stop softly and says how it ended.
func (r *demoRelay) stop() error {
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-r.ended:
	case <-time.After(demoStopTimeout):
		r.kill()
		return fmt.Errorf("relay did not stop within %s; the end of its log:\n%s", demoStopTimeout, r.logEnd())
	}
	if r.err != nil {
		return fmt.Errorf("relay did not stop cleanly: %w; the end of its log:\n%s", r.err, r.logEnd())
	}
	return nil
}

// kill ends the process at once, if it has not ended.
func (r *demoRelay) kill() {
	_ = r.cmd.Process.Kill()
	<-r.ended
}

// freeAddress returns a loopback address that nobody listens at.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// demoConfig is the relay.yaml of the demo: the usual one, but for delays that suit an outage of seconds.
func demoConfig(url, admin string, receivers []*demoReceiver) string {
	var b strings.Builder
	fmt.Fprintf(&b, `source:
  url: %s
  hold: 1s
defaults:
  retry: {delays: [200ms, 500ms%s]}
  breaker: {open: 1s, max_open: 2s}
admin: {listen: "%s"}
shutdown_timeout: 10s
endpoints:
`, url, strings.Repeat(", 1s", 60), admin)
	for _, r := range receivers {
		fmt.Fprintf(&b, "  %s:\n    url: %s\n    secrets: [%s]\n", r.name, r.url, r.secret)
		if len(r.types) > 0 {
			fmt.Fprintf(&b, "    events: [%s]\n", strings.Join(r.types, ", "))
		}
	}
	return b.String()
}
