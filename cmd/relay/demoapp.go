package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// demoTables are the application's own. The version of an order or customer goes up by one with each change, under its
// row's lock, so it tells the commit order of the events of that key to whoever checks them.
const demoTables = `
CREATE TABLE customers (id int PRIMARY KEY, orders int NOT NULL DEFAULT 0, version int NOT NULL DEFAULT 0);
INSERT INTO customers (id) SELECT generate_series(1, 20);
CREATE TABLE orders (
  id       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  customer int NOT NULL REFERENCES customers,
  total    numeric(10,2) NOT NULL,
  status   text NOT NULL DEFAULT 'created',
  version  int NOT NULL DEFAULT 1
);
CREATE INDEX ON orders (id) WHERE status <> 'shipped';`

const (
	demoWriters   = 4
	demoPause     = 15 * time.Millisecond // on average, between two transactions of a writer
	demoCustomers = 20
)

// demoApp is an application with an outbox: each of its transactions changes business rows and writes the events that
// tell of it. One in ten rolls back, events included.
type demoApp struct {
	url string

	mu         sync.Mutex
	committed  int
	rolledBack int
	events     map[string]int // committed ones by type
}

// demoCount is a moment of the application.
type demoCount struct {
	Committed, RolledBack, Events int
}

// Count returns what was done so far.
func (a *demoApp) Count() demoCount {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := demoCount{Committed: a.committed, RolledBack: a.rolledBack}
	for _, events := range a.events {
		n.Events += events
	}
	return n
}

// Wanted returns how many committed events a subscriber should have seen.
func (a *demoApp) Wanted(wants func(string) bool) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for typ, events := range a.events {
		if wants(typ) {
			n += events
		}
	}
	return n
}

// Run writes until ctx is done; a transaction that has begun is finished first.
func (a *demoApp) Run(ctx context.Context) error {
	var group errgroup.Group
	for range demoWriters {
		group.Go(func() error { return a.write(ctx) })
	}
	return group.Wait()
}

func (a *demoApp) write(ctx context.Context) error {
	whole := context.WithoutCancel(ctx)
	conn, err := pgx.Connect(whole, a.url)
	if err != nil {
		return fmt.Errorf("connect the demo's application: %w", err)
	}
	defer conn.Close(whole) //nolint:errcheck // every transaction's end is known
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rand.N(2 * demoPause)): // people do not order in step
		}
		if err := a.transact(whole, conn); err != nil {
			return fmt.Errorf("write an order: %w", err)
		}
	}
}

func (a *demoApp) transact(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // does nothing after a commit
	types, err := changeOrder(ctx, tx)
	if err != nil {
		return err
	}
	if rand.IntN(10) == 0 {
		a.note(nil)
		return tx.Rollback(ctx)
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	a.note(types)
	return nil
}

func (a *demoApp) note(types []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if types == nil {
		a.rolledBack++
		return
	}
	a.committed++
	for _, t := range types {
		a.events[t]++
	}
}

// changeOrder places a new order or moves the oldest open one on, and tells of it in the outbox.
func changeOrder(ctx context.Context, tx pgx.Tx) ([]string, error) {
	typ, customer, err := advanceOrder(ctx, tx)
	if err != nil {
		return nil, err
	}
	if rand.IntN(3) > 0 {
		return []string{typ}, nil
	}
	return []string{typ, "customer.updated"}, countOrder(ctx, tx, customer)
}

func advanceOrder(ctx context.Context, tx pgx.Tx) (typ string, customer int, err error) {
	if rand.IntN(3) > 0 {
		typ, customer, err = moveOrder(ctx, tx)
		if !errors.Is(err, pgx.ErrNoRows) {
			return typ, customer, err
		}
	}
	return placeOrder(ctx, tx)
}

func placeOrder(ctx context.Context, tx pgx.Tx) (string, int, error) {
	customer := 1 + rand.IntN(demoCustomers)
	var id int64
	var total string
	err := tx.QueryRow(ctx, `INSERT INTO orders (customer, total) VALUES ($1, (5 + random() * 500)::numeric(10,2))
		RETURNING id, total::text`, customer).Scan(&id, &total)
	if err != nil {
		return "", 0, err
	}
	return "order.created", customer, tell(ctx, tx, "order.created", fmt.Sprintf("order-%d", id), 1, total)
}

func moveOrder(ctx context.Context, tx pgx.Tx) (string, int, error) {
	var id int64
	var customer, version int
	var status, total string
	err := tx.QueryRow(ctx, `UPDATE orders SET version = version + 1,
		  status = CASE status WHEN 'created' THEN 'paid' ELSE 'shipped' END
		WHERE id = (SELECT id FROM orders WHERE status <> 'shipped' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING id, customer, version, status, total::text`).Scan(&id, &customer, &version, &status, &total)
	if err != nil {
		return "", 0, err
	}
	typ := "order." + status
	return typ, customer, tell(ctx, tx, typ, fmt.Sprintf("order-%d", id), version, total)
}

func countOrder(ctx context.Context, tx pgx.Tx, customer int) error {
	var version int
	err := tx.QueryRow(ctx, `UPDATE customers SET orders = orders + 1, version = version + 1 WHERE id = $1
		RETURNING version`, customer).Scan(&version)
	if err != nil {
		return err
	}
	return tell(ctx, tx, "customer.updated", fmt.Sprintf("customer-%d", customer), version, "0.00")
}

// tell writes one event, in the transaction that makes it true.
func tell(ctx context.Context, tx pgx.Tx, typ, key string, version int, total string) error {
	_, err := tx.Exec(ctx, `INSERT INTO outbox (type, key, payload)
		VALUES ($1, $2, jsonb_build_object('key', $2::text, 'version', $3::int, 'total', $4::text::numeric))`,
		typ, key, version, total)
	return err
}
