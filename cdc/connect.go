package cdc

import (
	"context"
	"io"
	"maps"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"relay/internal/libpq"
)

// pinned are the settings that the text form of values depends on, and that a database or role may have set otherwise.
var pinned = map[string]string{
	"timezone":                    "UTC",
	"datestyle":                   "ISO,YMD",
	"intervalstyle":               "iso_8601",
	"bytea_output":                "hex",
	"extra_float_digits":          "3",
	"client_encoding":             "UTF8",
	"standard_conforming_strings": "on",
	"search_path":                 "pg_catalog", // names in our queries mean the catalog's, whoever made others
	"client_min_messages":         "warning",    // PostgreSQL 18 says only in a warning that it leaves out our rows
}

// relaxed are settings the URL may override: none of the server's impatience for us.
var relaxed = map[string]string{
	"application_name":                    "relay",
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"idle_session_timeout":                "0",
	"wal_sender_timeout":                  "60s", // 0 would mean that the server never asks whether we live
}

// configure parses a libpq URL or keywords and pins what the meaning of our queries and rows depends on.
func configure(url string, replication bool) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, &Fault{Kind: FaultConnection, Problem: "source.url cannot be read", Remedy: "a libpq URL such as postgres://user@host:5432/database", Err: err}
	}
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = make(map[string]string)
	}
	libpq.DropClientSide(cfg.RuntimeParams)
	libpq.Bound(cfg)
	for name, value := range relaxed {
		if _, ok := cfg.RuntimeParams[name]; !ok {
			cfg.RuntimeParams[name] = value
		}
	}
	maps.Copy(cfg.RuntimeParams, pinned)
	if replication {
		cfg.RuntimeParams["replication"] = "database"
	}
	return cfg, nil
}

// connect opens a connection, for replication or for plain SQL.
func connect(ctx context.Context, url string, replication bool) (*pgconn.PgConn, error) {
	cfg, err := configure(url, replication)
	if err != nil {
		return nil, err
	}
	return connectTo(ctx, cfg)
}

func connectTo(ctx context.Context, cfg *pgconn.Config) (*pgconn.PgConn, error) {
	// pgconn gives each address its time, but not the look-up of its name, and a name may have several.
	ctx, cancel := context.WithTimeout(ctx, max(libpq.ConnectTimeout, time.Duration(libpq.Hosts(cfg)+1)*cfg.ConnectTimeout))
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, connectFault(cfg, err)
	}
	return conn, nil
}

// ear counts the bytes that come from the server, below the buffer in which they become messages: a large one is whole only after
// a long time on a slow wire. It belongs to the goroutine that reads.
type ear struct {
	bytes int64
	from  io.Reader
}

// Read implements io.Reader.
func (e *ear) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	e.bytes += int64(n)
	return n, err
}

// listenTo opens a connection for replication, with an ear in it.
func listenTo(ctx context.Context, url string) (*pgconn.PgConn, *ear, error) {
	cfg, err := configure(url, true)
	if err != nil {
		return nil, nil, err
	}
	e := &ear{}
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		e.from = r // of the last host tried, which is the one that is connected to
		return pgproto3.NewFrontend(e, w)
	}
	conn, err := connectTo(ctx, cfg)
	return conn, e, err
}

// closeTimeout bounds a polite goodbye.
const closeTimeout = 2 * time.Second

func closeConn(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // nothing more is wanted of it
}

// query runs one statement and returns its rows as text.
func query(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := make([]string, len(values))
			for i, v := range values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}
