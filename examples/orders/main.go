// Command orders is the smallest application with an outbox: it places an order and tells of it, in one transaction.
//
//	DATABASE_URL=postgres://localhost/shop go run ./examples/orders alice 99.90
//	DATABASE_URL=postgres://localhost/shop go run ./examples/orders -every 1s
package main

import (
	"cmp"
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	every := flag.Duration("every", 0, "go on, with an order each `time`")
	flag.Parse()
	stopped, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx := context.Background() // an order that was begun is placed
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // the program ends
	for {
		id, err := placeOrder(ctx, conn, cmp.Or(flag.Arg(0), "alice"), cmp.Or(flag.Arg(1), "99.90"))
		if err != nil {
			log.Fatal(err)
		}
		log.Printf("placed order %d", id)
		if *every == 0 {
			return
		}
		select {
		case <-time.After(*every):
		case <-stopped.Done():
			return
		}
	}
}

// placeOrder writes the order and the event that tells of it. Either both are committed or neither: there is no moment in
// which the order exists and nobody will hear of it, and none in which the world hears of an order that does not exist.
func placeOrder(ctx context.Context, conn *pgx.Conn, customer, total string) (id int64, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO orders (customer, total) VALUES ($1, $2::text::numeric) RETURNING id`,
			customer, total).Scan(&id)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO outbox (type, key, payload)
			VALUES ('order.created', 'order-' || $1::bigint, jsonb_build_object('id', $1::bigint, 'total', $2::text::numeric))`, id, total)
		return err
	})
	return id, err
}
