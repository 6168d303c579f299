package main

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// machine is what was measured on, and with which versions.
type machine struct {
	at                     time.Time
	cpu, kernel, load      string
	relay, postgres, fsync string
}

// describe looks at the machine before it is made busy.
func describe(ctx context.Context, b *bench) *machine {
	m := &machine{at: time.Now().UTC(), cpu: "unknown CPU", kernel: runtime.GOOS, load: "unknown"}
	for line := range lines("/proc/cpuinfo") {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.cpu = strings.TrimSpace(model)
			break
		}
	}
	for line := range lines("/proc/sys/kernel/osrelease") {
		m.kernel = runtime.GOOS + " " + strings.TrimSpace(line)
	}
	for line := range lines("/proc/loadavg") {
		m.load, _, _ = strings.Cut(line, " ")
	}
	out, err := exec.CommandContext(ctx, b.relay, "version").Output()
	first, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	if m.relay = string(first); err != nil {
		m.relay = "unknown version"
	}
	return m
}

// lines returns those of a file, none if it cannot be read.
func lines(path string) iter.Seq[string] {
	text, _ := os.ReadFile(path) // what is not there is not told
	return strings.Lines(string(text))
}

// ask has the server tell about itself.
func (m *machine) ask(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the answer is all that counts
	return conn.QueryRow(ctx, "SELECT current_setting('server_version'), current_setting('fsync')").Scan(&m.postgres, &m.fsync)
}

// String is the head of the report.
func (m *machine) String() string {
	text := fmt.Sprintf("%s, on %d × %s, %s/%s, %s, %s; PostgreSQL %s, fsync %s; %s. Load before the start: %s.",
		m.at.Format(time.DateOnly), runtime.NumCPU(), m.cpu, runtime.GOOS, runtime.GOARCH, m.kernel, runtime.Version(),
		m.postgres, m.fsync, m.relay, m.load)
	if load, err := strconv.ParseFloat(m.load, 64); err == nil && load > quietLoad*float64(runtime.NumCPU()) {
		text += "\n\n**The machine was busy with something else: nothing here is to be concluded from but allocations, and memory roughly.**"
	}
	return text
}

// quietLoad is the load, of each processor, up to which a machine counts as quiet: a build that has just ended leaves some.
const quietLoad = 0.75
