package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// committedEvent is an event as the database has it after everything: the truth that receipts are held against.
type committedEvent struct {
	ID, Type, Key string
	Version       int
}

// readCommitted returns what was committed to the demo's outbox.
func readCommitted(ctx context.Context, url string) ([]committedEvent, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect for the verdict: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only read
	rows, err := conn.Query(ctx, `SELECT id::text, type, key, (payload->>'version')::int FROM outbox`)
	if err != nil {
		return nil, fmt.Errorf("read what was committed: %w", err)
	}
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[committedEvent])
	if err != nil {
		return nil, fmt.Errorf("read what was committed: %w", err)
	}
	return events, nil
}

// verdict is what became of relay's promise at each endpoint.
type verdict struct {
	Kept      bool              `json:"kept"`
	Committed int               `json:"committed_events"`
	Endpoints []endpointVerdict `json:"endpoints"`
}

// endpointVerdict counts receipts against commits.
type endpointVerdict struct {
	Name      string `json:"name"`
	Expected  int    `json:"expected"`  // committed and subscribed to
	Received  int    `json:"received"`  // of those, at least once
	Lost      int    `json:"lost"`      // of those, never
	Twice     int    `json:"twice"`     // receipts beyond the first
	Reordered int    `json:"reordered"` // first receipts after a later one of their key
	Ghosts    int    `json:"ghosts"`    // never committed: of a transaction that was rolled back
	Stray     int    `json:"stray"`     // committed, but not subscribed to
	Forged    int    `json:"forged"`    // with a wrong signature
	Refused   int    `json:"refused"`   // attempts answered 503; no fault of relay's
}

func (v *endpointVerdict) kept() bool {
	return v.Lost+v.Twice+v.Reordered+v.Ghosts+v.Stray+v.Forged == 0
}

// judge holds what the receivers saw against what was committed.
func judge(committed []committedEvent, receivers []*demoReceiver) verdict {
	events := make(map[string]committedEvent, len(committed))
	for _, ev := range committed {
		events[ev.ID] = ev
	}
	v := verdict{Kept: len(committed) > 0, Committed: len(committed)}
	for _, r := range receivers {
		e := judgeReceiver(events, r)
		v.Kept = v.Kept && e.kept()
		v.Endpoints = append(v.Endpoints, e)
	}
	return v
}

func judgeReceiver(events map[string]committedEvent, r *demoReceiver) endpointVerdict {
	seen := r.Seen(time.Now())
	v := endpointVerdict{Name: r.name, Twice: seen.Twice, Forged: seen.Forged, Refused: seen.Refused}
	for _, ev := range events {
		if r.wants(ev.Type) {
			v.Expected++
		}
	}
	latest := map[string]int{} // version by key
	for _, id := range r.Receipts() {
		ev, ok := events[id]
		switch {
		case !ok:
			v.Ghosts++
			continue
		case !r.wants(ev.Type):
			v.Stray++
			continue
		}
		v.Received++
		if ev.Version < latest[ev.Key] {
			v.Reordered++
		}
		latest[ev.Key] = max(latest[ev.Key], ev.Version)
	}
	v.Lost = v.Expected - v.Received
	return v
}

// print tells a person.
func (v *verdict) print(c *console) {
	c.printf("\nVerdict: what arrived, held against the %d events committed in the database\n\n", v.Committed)
	for i := range v.Endpoints {
		e := &v.Endpoints[i]
		mark := c.paint(green, "ok  ")
		if !e.kept() {
			mark = c.paint(red, "BAD ")
		}
		c.printf("  %s%-10s %d of %d arrived, %d twice, %d out of order, %d from rolled-back transactions\n",
			mark, e.Name, e.Received, e.Expected, e.Twice, e.Reordered, e.Ghosts)
		if e.Refused > 0 {
			c.printf("      %-10s (and %d attempts answered 503, each tried again)\n", "", e.Refused)
		}
		if e.Stray+e.Forged > 0 {
			c.printf("      %-10s %d it had not subscribed to, %d with a wrong signature\n", "", e.Stray, e.Forged)
		}
	}
	if v.Kept {
		c.printf("\n%s\n", c.paint(green, "The promise was kept: every committed event, once, in order per key, and none besides."))
		return
	}
	c.printf("\n%s\n", c.paint(red, "The promise was BROKEN. Please report this, with the lines above."))
}
