package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stall is how long nothing may arrive before a measured process is given up.
const stall = 60 * time.Second

// process is a measured process.
type process struct {
	cmd    *exec.Cmd
	log    string
	admin  string        // address of a relay's metrics; empty: it has none
	begun  sample        // of a relay, when it had hardly begun
	exited chan struct{} // closed when it has ended
	err    error         // how; read after exited
}

// usage is what a process took.
type usage struct {
	cpu    time.Duration
	memory int64   // peak resident set, bytes
	allocs float64 // per delivery; 0: not known
}

func (b *bench) start(name, admin string, args ...string) (*process, error) {
	path := filepath.Join(b.dir, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the process has its own descriptor
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// An interrupt from the terminal is for the benchmark, which then ends the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: cmd, log: path, admin: admin, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	p.begun = p.firstSample()
	return p, nil
}

// await returns when done is closed, and an error when the process ends first or count stands still.
func (p *process) await(ctx context.Context, done <-chan struct{}, count func() int64) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, since := count(), time.Now()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-p.exited:
			return fmt.Errorf("only %d events came: %w", count(), p.end())
		case <-tick.C:
		}
		if n := count(); n != last {
			last, since = n, time.Now()
		} else if time.Since(since) > stall {
			return fmt.Errorf("stands still after %d events\n%s", n, p.said())
		}
	}
}

// stop ends the process, which made so many deliveries, as an operator would and returns what it took.
func (p *process) stop(deliveries int) (usage, error) {
	u := usage{memory: peakMemory(p.cmd.Process.Pid), allocs: p.sample().since(p.begun)}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return usage{}, err
	}
	select {
	case <-p.exited:
	case <-time.After(stall):
		_ = p.cmd.Process.Kill() // the error below says what matters
		<-p.exited
		return usage{}, fmt.Errorf("does not stop\n%s", p.said())
	}
	if p.err != nil {
		return usage{}, fmt.Errorf("stop: %w\n%s", p.err, p.said())
	}
	state := p.cmd.ProcessState
	if u.memory == 0 {
		u.memory = peakOfRusage(state)
	}
	if p.admin == "" {
		u.allocs = saidMallocs(p.said()) / float64(deliveries)
	}
	u.cpu = state.UserTime() + state.SystemTime()
	return u, nil
}

// end says how the process ended, which it has.
func (p *process) end() error {
	return fmt.Errorf("%s\n%s", p.cmd.ProcessState, p.said())
}

// said returns the end of the process's log.
func (p *process) said() []byte {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(b[max(0, len(b)-2000):])
}
