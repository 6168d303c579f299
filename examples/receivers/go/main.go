// Command go is an idempotent consumer of relay's webhooks: it verifies each request and keeps its webhook-id in the same
// transaction as its work, so that an event that comes twice counts once.
//
//	RELAY_SECRET=whsec_… DATABASE_URL=postgres://… PORT=4001 go run ./examples/receivers/go
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const schema = `
CREATE TABLE IF NOT EXISTS received (webhook_id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS revenue (only_row bool PRIMARY KEY DEFAULT true CHECK (only_row), orders bigint NOT NULL, total numeric NOT NULL);
INSERT INTO revenue (orders, total) VALUES (0, 0) ON CONFLICT DO NOTHING;`

func main() {
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	verifier, err := standardwebhooks.NewWebhook(os.Getenv("RELAY_SECRET"))
	if err != nil {
		return fmt.Errorf("RELAY_SECRET: %w", err)
	}
	db, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	defer db.Close()
	if _, err := db.Exec(ctx, schema); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	fmt.Printf("listening at http://%s\n", l.Addr())
	r := &receiver{verifier: verifier, db: db}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhooks", r.receive)
	mux.HandleFunc("GET /revenue", r.revenue)
	return http.Serve(l, mux) //nolint:gosec // an example
}

type receiver struct {
	verifier *standardwebhooks.Webhook
	db       *pgxpool.Pool
}

func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	// Verify before anything else looks at the body. It checks the timestamp too.
	if err := r.verifier.Verify(body, req.Header); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	err = pgx.BeginFunc(req.Context(), r.db, func(tx pgx.Tx) error {
		return work(req.Context(), tx, req.Header.Get("webhook-id"), body)
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError) // relay sends it again
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// work keeps the id and does what the event asks for, both or neither.
func work(ctx context.Context, tx pgx.Tx, id string, body []byte) error {
	tag, err := tx.Exec(ctx, `INSERT INTO received (webhook_id) VALUES ($1) ON CONFLICT DO NOTHING`, id)
	if err != nil || tag.RowsAffected() == 0 {
		return err // or: seen before, and done
	}
	var event struct {
		Type string
		Data struct{ Total json.Number }
	}
	if err := json.Unmarshal(body, &event); err != nil || event.Type != "order.created" {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE revenue SET orders = orders + 1, total = total + $1::text::numeric`, event.Data.Total.String())
	return err
}

func (r *receiver) revenue(w http.ResponseWriter, req *http.Request) {
	var text string
	err := r.db.QueryRow(req.Context(), `SELECT json_build_object('orders', orders, 'total', total) FROM revenue`).Scan(&text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, text) //nolint:errcheck // a reader that goes away has read enough
}
