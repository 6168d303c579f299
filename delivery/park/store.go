// Package park is the relay's own tables, in a schema of the database that holds the outbox: deliveries that wait or are
// dead, how far each endpoint is settled, and what is known of each endpoint over a restart.
package park

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"relay/delivery"
	"relay/internal/libpq"
)

var _ delivery.Parker = (*Store)(nil)

// DefaultSchema is the schema when none is given.
const DefaultSchema = "relay"

// maxConnections is for lanes that park and drain at once, and the saved positions beside them; more would only wait for
// the same disk.
const maxConnections = 4

// Store is the relay's own tables. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	name   string // of the schema
	schema string // the same, quoted
	logger *slog.Logger
	reach  int              // the constant, but in tests
	now    func() time.Time // the relay's clock, which set the due times

	lease  atomic.Pointer[Lease]  // that writes depend on; nil: on none
	server atomic.Pointer[Server] // of the last lease there was

	mu      sync.Mutex
	cursors map[string]*cursor // by endpoint

	memory  memory
	counter counter
}

// New returns the store in a schema, over a pool made from PoolConfig. It does not connect. A nil logger logs nothing.
func New(pool *pgxpool.Pool, schema string, logger *slog.Logger) *Store {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if schema == "" {
		schema = DefaultSchema
	}
	return &Store{
		pool: pool, name: schema, schema: quote(schema), logger: logger, reach: reach, now: time.Now,
		cursors: map[string]*cursor{},
	}
}

// Open returns the store in a schema of the database at url, a libpq URL or keywords. It connects when first used; Close
// it in the end.
func Open(ctx context.Context, url, schema string, logger *slog.Logger) (*Store, error) {
	cfg, err := PoolConfig(url)
	if err != nil {
		return nil, err
	}
	s := New(nil, schema, logger)
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// The pool's context outlives who asked for a connection: a server that falls silent now would keep its place for ever.
		ctx, cancel := context.WithTimeout(ctx, libpq.ConnectTimeout)
		defer cancel()
		return s.admit(ctx, conn)
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open the relay's own tables: %w", err)
	}
	return s, nil
}

// Close closes the pool; it waits for statements under way.
func (s *Store) Close() { s.pool.Close() }

// PoolConfig is a pool for a Store. It pins what a database or role may have set otherwise: no time limit of theirs ends
// a statement of ours, and text forms are the same everywhere. Plans are pinned to indexes, because a table that fills
// within a minute is planned by the statistics of when it was empty.
func PoolConfig(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	cfg.MaxConns = maxConnections
	libpq.DropClientSide(cfg.ConnConfig.RuntimeParams)
	libpq.Bound(&cfg.ConnConfig.Config)
	pin(cfg.ConnConfig)
	switch cfg.ConnConfig.DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol: // they have results come as text, whatever is asked for
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	}
	for _, name := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"} {
		cfg.ConnConfig.RuntimeParams[name] = "off"
	}
	return cfg, nil
}

func pin(cfg *pgx.ConnConfig) {
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"application_name":                    "relay",
		"timezone":                            "UTC",
		"datestyle":                           "ISO,YMD",
		"intervalstyle":                       "iso_8601",
		"bytea_output":                        "hex",
		"extra_float_digits":                  "3",
		"client_encoding":                     "UTF8",
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"idle_in_transaction_session_timeout": "0",
		"idle_session_timeout":                "0",
		// What is decided after a lock was waited for has to be decided from what is there then; and what is committed must
		// be on disk before it is settled.
		"default_transaction_isolation": "read committed",
		"synchronous_commit":            "on",
	})
}

// sql fills the schema in.
func (s *Store) sql(text string) string { return strings.ReplaceAll(text, "{{schema}}", s.schema) }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// write runs fn in a transaction that owns the order of the endpoints' rows: whoever adds, settles, retries or discards
// holds the same lock until it commits. So a turn that is newer is never visible before one that is older, and what is
// decided from the rows of a queue still holds when it is written. It fails if a lease is armed and was lost.
func (s *Store) write(ctx context.Context, endpoints []string, fn func(pgx.Tx) error) error {
	_, err := s.locked(ctx, endpoints, func(tx pgx.Tx, _ map[string]*remembered) error { return fn(tx) })
	return err
}

// locked is write for a call that goes on with what is remembered of the endpoints. It returns that, to be given back.
func (s *Store) locked(ctx context.Context, endpoints []string, fn func(pgx.Tx, map[string]*remembered) error) (map[string]*remembered, error) {
	known := make(map[string]*remembered, len(endpoints))
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		lease := s.lease.Load()
		s.fence(batch, lease)
		if len(endpoints) > 0 {
			batch.Queue(`SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || e, 0)) FROM unnest($2::text[]) e`, "relay "+s.name, endpoints)
		}
		if batch.Len() > 0 {
			if err := tx.SendBatch(ctx, batch).Close(); err != nil {
				return fmt.Errorf("lock the endpoint: %w", err)
			}
		}
		for _, name := range endpoints {
			known[name] = new(s.memory.take(name, lease))
		}
		if err := fn(tx, known); err != nil || lease != nil || len(endpoints) == 0 {
			return err
		}
		_, err := tx.Exec(ctx, s.sql(`UPDATE {{schema}}.endpoint SET changes = changes + 1 WHERE name = ANY ($1)`), endpoints)
		return err
	})
	return known, err
}
