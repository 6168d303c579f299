package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// The outbox of the default configuration, with the index that a polling relay needs.
const createOutbox = `CREATE TABLE outbox (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(), type text NOT NULL, key text, payload jsonb NOT NULL, headers jsonb,
	created_at timestamptz NOT NULL DEFAULT now());
	CREATE INDEX ON outbox (created_at)`

const publication = "bench"

// The event's number is in its id and decides its key. A large payload is digits that do not compress to nothing.
const insertEvents = `INSERT INTO outbox (id, type, key, payload)
	SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'order.created', 'order-' || n % $3::int,
		jsonb_build_object('order', n, 'customer', 'c-' || n % $3::int, 'note', CASE WHEN $4::int < 2000
			THEN repeat('x', $4::int - 60)
			ELSE (SELECT string_agg(md5((n + i)::text), '') FROM generate_series(1, $4::int / 32) AS i) END)
	FROM generate_series($1::int, $2::int - 1) AS n`

// One transaction per row, at the server's pace.
const createWriteEach = `CREATE PROCEDURE write_each(integer, integer, integer, integer) LANGUAGE plpgsql AS $$
	BEGIN
		FOR at IN $1 .. $2 - 1 LOOP
			EXECUTE $q$` + insertEvents + `$q$ USING at, at + 1, $3, $4;
			COMMIT;
		END LOOP;
	END $$`

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
	return conn, prepareOutbox(ctx, conn)
}

func prepareOutbox(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range []string{
		createOutbox, createWriteEach, "CREATE PUBLICATION " + publication + " FOR TABLE outbox WITH (publish = 'insert')",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("prepare the outbox: %w", err)
		}
	}
	return nil
}

// drop removes a database, so that neither its files nor its slots burden what is measured next.
func (b *bench) drop(ctx context.Context, conn *pgx.Conn) error {
	name := conn.Config().Database
	if err := conn.Close(ctx); err != nil {
		return err
	}
	admin, err := pgx.Connect(ctx, b.cluster.URL("postgres"))
	if err != nil {
		return err
	}
	defer admin.Close(ctx) //nolint:errcheck // the statement's answer is all that counts
	_, err = admin.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	return err
}

// write commits the scenario's rows. The checkpoint makes them durable, and is not left to fall into a measurement.
func write(ctx context.Context, conn *pgx.Conn, s scenario) (err error) {
	if _, err := conn.Exec(ctx, "SET synchronous_commit = off"); err != nil {
		return err
	}
	if s.tx == 1 {
		_, err = conn.Exec(ctx, "CALL write_each($1, $2, $3, $4)", 0, s.rows(), s.keys, s.payload)
	} else {
		err = writeBatches(ctx, conn, s)
	}
	if err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return err
}

func writeBatches(ctx context.Context, conn *pgx.Conn, s scenario) error {
	size := s.tx
	if size == wholeBacklog {
		size = s.rows()
	}
	for n := 0; n < s.rows(); n += size {
		if _, err := conn.Exec(ctx, insertEvents, n, min(n+size, s.rows()), s.keys, s.payload); err != nil {
			return err
		}
	}
	return nil
}
