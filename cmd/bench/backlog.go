package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// keys is how many ordering keys the events are spread over; the event's number decides its key.
const keys = 1000

// The outbox of the default configuration.
const createOutbox = `CREATE TABLE outbox (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(), type text NOT NULL, key text, payload jsonb NOT NULL, headers jsonb,
	created_at timestamptz NOT NULL DEFAULT now())`

const publication = "bench"

// The event's number is in its id, and a payload has about 300 bytes.
const insertEvents = `INSERT INTO outbox (id, type, key, payload)
	SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'order.created', 'order-' || n % $3,
		jsonb_build_object('order', n, 'customer', 'c-' || n % $3, 'note', repeat('x', 240))
	FROM generate_series($1::int, $2::int - 1) AS n`

// eventNumber reads the number back from an id.
func eventNumber(id []byte) (int, error) {
	if len(id) != 36 {
		return 0, fmt.Errorf("event id %q", id)
	}
	n, err := strconv.ParseInt(string(id[24:]), 16, 64)
	return int(n), err
}

// database makes a database with an outbox and a publication.
func (b *bench) database(ctx context.Context, name string) (*pgx.Conn, error) {
	url, err := b.cluster.CreateDatabase(ctx, name)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, createOutbox+"; CREATE PUBLICATION "+publication+" FOR TABLE outbox WITH (publish = 'insert')")
	return conn, err
}

// write commits the events from..to in batches, as an app that writes several events in a transaction.
func write(ctx context.Context, conn *pgx.Conn, from, to, batch int) error {
	for n := from; n < to; n += batch {
		if _, err := conn.Exec(ctx, insertEvents, n, min(n+batch, to), keys); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
	}
	return nil
}
