package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"relay/cdc"
)

// pipeCommand makes this program the pipe instead of the benchmark.
const pipeCommand = "pipe"

// window is how many events may be undelivered in memory, as many as relay's default.
const window = 20_000

// pipeConfig is what the pipe, and the poller, are told, as JSON.
type pipeConfig struct {
	URL, Slot   string
	Endpoints   []string
	Concurrency int
	Format      string
	Direct      bool   // over connections of its own
	CA          string // file of the authority to trust
}

// pipe is a limit for comparison: it decodes rows as relay does and posts them in key order, and knows nothing else. A POST
// that fails ends it.
type pipe struct {
	standard bool
	lanes    []*pipeLane

	table   *cdc.Table // the one that columns belongs to
	columns [5]int     // id, type, key, payload, created_at

	mu   sync.Mutex
	open int
	room chan struct{} // not nil: the stream waits for it to be closed
}

// post is one event as the pipe sends it.
type post struct {
	id, key string
	body    []byte
	lanes   int // that have not sent it yet, under pipe.mu
	tx      *cdc.Tx
}

func runPipe(ctx context.Context, config string) error {
	var cfg pipeConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	defer sayMallocs()
	p := &pipe{standard: cfg.Format == "standard"}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for _, endpoint := range cfg.Endpoints {
		posters, err := newPosters(&cfg, endpoint)
		if err != nil {
			return err
		}
		p.lanes = append(p.lanes, newPipeLane(p, posters, stop))
	}
	stream := cdc.NewStream(cdc.StreamConfig{
		URL: cfg.URL, Slot: cfg.Slot, Publication: publication,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, cdc.NewWatermark(0), p)
	err := stream.Run(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

var _ cdc.Consumer = (*pipe)(nil)

// Room implements cdc.Consumer.
func (p *pipe) Room() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open < window {
		return nil
	}
	if p.room == nil {
		p.room = make(chan struct{})
	}
	return p.room
}

// Row implements cdc.Consumer.
func (p *pipe) Row(row *cdc.Row) error {
	if row.Table != p.table {
		if err := p.bind(row.Table); err != nil {
			return err
		}
	}
	value := func(i int) []byte { return row.Values[p.columns[i]] }
	e := &post{id: string(value(0)), key: string(value(2)), body: value(3), lanes: len(p.lanes), tx: row.Tx}
	if p.standard {
		e.body = envelope(value(1), value(4), value(3))
	}
	row.Tx.Add(1)
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	for _, lane := range p.lanes {
		lane.push(e)
	}
	return nil
}

// Commit implements cdc.Consumer.
func (p *pipe) Commit(cdc.LSN) {}

func (p *pipe) bind(table *cdc.Table) error {
	for i, name := range []string{"id", "type", "key", "payload", "created_at"} {
		if p.columns[i] = table.Column(name); p.columns[i] < 0 {
			return fmt.Errorf("table %s has no column %s", table, name)
		}
	}
	p.table = table
	return nil
}

// envelope is the body of the standard format, made as cheaply as can be: the time is Postgres's text with a T in it.
func envelope(kind, created, payload []byte) []byte {
	b := make([]byte, 0, len(kind)+len(created)+len(payload)+48)
	b = append(append(b, `{"type":"`...), kind...)
	b = append(append(b, `","timestamp":"`...), bytes.Replace(created, []byte(" "), []byte("T"), 1)...)
	b = append(append(b, `","data":`...), payload...)
	return append(b, '}')
}

// sent notes that one lane has delivered e.
func (p *pipe) sent(e *post) {
	p.mu.Lock()
	e.lanes--
	last := e.lanes == 0
	if last {
		p.open--
		if p.room != nil && p.open < window {
			close(p.room)
			p.room = nil
		}
	}
	p.mu.Unlock()
	if last {
		e.tx.Settle()
	}
}

// commandLine is what bench.start runs for the pipe and the poller.
func commandLine(command string, cfg *pipeConfig) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(cfg)
	return []string{self, command, string(config)}, err
}
