package campaign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Types are the event types writers write.
var Types = []string{"order.created", "order.paid", "user.created"}

// Writer is an application: one connection that writes transactions of its own keys, of which some are rolled back, in
// whole or to a savepoint.
type Writer struct {
	Number   int // 1 and up
	Keys     int
	MaxRows  int           // of a transaction; most are far smaller
	Rollback float64       // share of transactions, and of parts of transactions
	Pause    time.Duration // between transactions, at random around it
	Random   *rand.Rand
	Once     bool // end with an error when the connection is lost, instead of connecting anew

	seq  int
	rows atomic.Int64 // committed, as far as is known
}

// Rows returns how many rows are known to be committed.
func (w *Writer) Rows() int64 { return w.rows.Load() }

// Run writes until ctx is done, or total rows (0: no limit) are committed.
func (w *Writer) Run(ctx context.Context, url string, total int64) error {
	for {
		err := w.connection(ctx, url, total)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if w.Once {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond): // the server is down
		}
	}
}

func (w *Writer) connection(ctx context.Context, url string, total int64) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	for ctx.Err() == nil && (total == 0 || w.rows.Load() < total) {
		n := 1 + w.Random.IntN(3)
		if w.Random.IntN(10) == 0 {
			n = 1 + w.Random.IntN(w.MaxRows)
		}
		if total > 0 {
			n = min(n, int(total-w.rows.Load()))
		}
		if err := w.transaction(ctx, conn, n); err != nil {
			return err
		}
		if w.Pause > 0 {
			time.Sleep(time.Duration(w.Random.Int64N(int64(2 * w.Pause)))) // an application at its own pace
		}
	}
	return nil
}

// transaction writes n rows in up to three parts.
func (w *Writer) transaction(ctx context.Context, conn *pgx.Conn, n int) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	kept := 0
	for n > 0 {
		part := n
		if n > 3 {
			part = 1 + w.Random.IntN(n)
		}
		n -= part
		if !w.chance() {
			if err := w.insert(ctx, tx, part); err != nil {
				return err
			}
			kept += part
			continue
		}
		inner, err := tx.Begin(ctx) // a savepoint
		if err != nil {
			return err
		}
		if err := w.insert(ctx, inner, part); err != nil {
			return err
		}
		if err := inner.Rollback(ctx); err != nil {
			return err
		}
	}
	if w.chance() {
		return tx.Rollback(ctx)
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.rows.Add(int64(kept))
	return nil
}

func (w *Writer) chance() bool { return w.Random.Float64() < w.Rollback }

// insert writes rows of random keys and types. One in ten has no key.
func (w *Writer) insert(ctx context.Context, tx pgx.Tx, n int) error {
	ids, types, keys := make([]string, n), make([]string, n), make([]*string, n)
	for i := range n {
		w.seq++
		ids[i], types[i] = NewID(w.Number, w.seq).String(), Types[w.Random.IntN(len(Types))]
		if k := w.Random.IntN(w.Keys * 10 / 9); k < w.Keys {
			keys[i] = new(fmt.Sprintf("w%d-%d", w.Number, k))
		}
	}
	_, err := tx.Exec(ctx, insertSQL, ids, types, keys)
	return err
}

const insertSQL = `INSERT INTO outbox (id, type, key, payload)
SELECT i, t, k, jsonb_build_object('id', i, 'text', repeat('x', 200)) FROM unnest($1::uuid[], $2::text[], $3::text[]) AS r(i, t, k)`

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing is lost with it
}
