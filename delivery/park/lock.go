package park

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrOtherCluster says that the database belongs to another cluster than the one this process worked on before.
var ErrOtherCluster = errors.New("another database cluster")

// Server is one history of one cluster: what is true of it holds as long as both stay the same.
type Server struct {
	System   string // the cluster's system identifier
	Timeline int32  // rises with each promotion
}

// serverSQL says which server this is, for a primary; a standby has no timeline of its own.
const serverSQL = `(SELECT system_identifier::text FROM pg_control_system()),
  CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END`

func serverOf(system, timeline string) (Server, error) {
	if timeline == "" {
		return Server{}, errors.New("the server is a standby, which nothing can be written to: " +
			"name the primary in source.url, or add target_session_attrs=read-write to it")
	}
	n, err := strconv.ParseInt(timeline, 16, 32)
	if err != nil {
		return Server{}, fmt.Errorf("timeline %q: %w", timeline, err)
	}
	return Server{system, int32(n)}, nil
}

// The keys of the advisory locks: delivering is the lease itself, writing is held by each transaction of the one that has it,
// and a lease's session holds one more, of a token, by which others of its process see that it lives.
const (
	deliveringKey = "relay drain "
	writingKey    = "relay write "
)

// Lock waits until this process alone may deliver. It waits by trying, not in the server, where the wait would keep vacuum
// from cleaning up. Once it is known that another has the lock it calls waiting, if that is not nil. The lease that it
// returns is not armed.
func (s *Store) Lock(ctx context.Context, waiting func()) (*Lease, error) {
	for {
		lease, err := s.tryLock(ctx, 0)
		if err != nil || lease != nil {
			return lease, err
		}
		if waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(heartbeat):
		}
	}
}

// Relock tries once to have the lock again after a lease was lost. It returns no lease and no error if another process
// has it. A session of the lost lease that the server still keeps is ended: its other end is us.
func (s *Store) Relock(ctx context.Context, old *Lease) (*Lease, error) {
	return s.tryLock(ctx, old.pid)
}

// tryLock returns nil if another session has the lock, and an error if that is the stale one, whose end it asks for.
func (s *Store) tryLock(ctx context.Context, stale uint32) (*Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	conn, err := s.connectWith(ctx, map[string]string{"idle_session_timeout": strconv.FormatInt(serverLease.Milliseconds(), 10)})
	if err != nil {
		return nil, fmt.Errorf("lock the parked deliveries: %w", err)
	}
	lease, err := s.take(ctx, conn, stale)
	if err != nil || lease == nil {
		closeConn(ctx, conn)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the parked deliveries: %w", err)
	}
	return lease, nil
}

func (s *Store) take(ctx context.Context, conn *pgx.Conn, stale uint32) (*Lease, error) {
	var ok bool
	var system, timeline string
	err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0)), `+serverSQL, deliveringKey+s.name).Scan(&ok, &system, &timeline)
	if err != nil {
		return nil, err
	}
	server, err := serverOf(system, timeline)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, s.evict(ctx, conn, stale)
	}
	// Whoever had the lease before may have a transaction under way. It ends here, and none that begins later passes the
	// fence: what is read from now on stays as it is.
	if err := s.awaitWriters(ctx, conn); err != nil {
		return nil, err
	}
	token := rand.Int32()
	if err := s.mark(ctx, conn, token); err != nil {
		return nil, err
	}
	asked := time.Now()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_unlock(hashtextextended($1, 0))`, writingKey+s.name); err != nil {
		return nil, err
	}
	return newLease(s, conn, server, token, asked), nil
}

// awaitWriters waits until no transaction is under way that another lease let through, and has the session hold the writing
// lock. One that takes longer than writersWait is ended: its process was stopped, or cut off, while it sent rows, and no timeout of
// the server's ends a COPY that waits for the rest of them.
func (s *Store) awaitWriters(ctx context.Context, conn *pgx.Conn) error {
	if err := setLockTimeout(ctx, conn, writersWait); err != nil {
		return err
	}
	for {
		_, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended($1, 0))`, writingKey+s.name)
		if err == nil {
			return setLockTimeout(ctx, conn, 0)
		}
		if sqlState(err) != "55P03" {
			return err
		}
		if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend(l.pid)`+heldSQL+` AND l.mode = 'ShareLock'`, writingKey+s.name); err != nil {
			return fmt.Errorf("end a transaction that a relay without the lock keeps open: %w", err)
		}
	}
}

func setLockTimeout(ctx context.Context, conn *pgx.Conn, d time.Duration) error {
	_, err := conn.Exec(ctx, `SELECT set_config('lock_timeout', $1, false)`, strconv.FormatInt(d.Milliseconds(), 10))
	return err
}

// mark has the session hold the lock of its lease's token, once no other session has such a lock: of one that is ending, the server may have
// given the lock of all away a moment before its token.
func (s *Store) mark(ctx context.Context, conn *pgx.Conn, token int32) error {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT pg_advisory_lock_shared($1::int, objid::int) FROM pg_locks WHERE locktype = 'advisory'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = $1::int::oid AND objsubid = 2 AND granted`, s.tokens())
	batch.Queue(`SELECT pg_advisory_lock($1::int, $2::int)`, s.tokens(), token)
	return conn.SendBatch(ctx, batch).Close()
}

// tokens is the first half of the keys of the tokens' locks.
func (s *Store) tokens() int32 {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte("relay lease " + s.name)) // a hash takes everything
	return int32(sum.Sum32() >> 1)
}

// evict ends the session that has the lock if it is the stale one.
func (s *Store) evict(ctx context.Context, conn *pgx.Conn, stale uint32) error {
	if stale == 0 {
		return nil
	}
	var holder int64
	if err := conn.QueryRow(ctx, `SELECT coalesce(max(l.pid), 0)`+heldSQL+` AND l.mode = 'ExclusiveLock'`, deliveringKey+s.name).Scan(&holder); err != nil {
		return err
	}
	switch uint32(holder) {
	case 0:
		return errors.New("it was given up this moment")
	case stale:
		if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend($1)`, holder); err != nil {
			return err
		}
		return errors.New("the server still keeps the session of the lost lock, it was told to end it")
	}
	return nil
}

// heldSQL finds the sessions that have the lock of a key.
const heldSQL = ` FROM pg_locks l, hashtextextended($1, 0) k
WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = (k >> 32) & 4294967295 AND l.objid::bigint = k & 4294967295 AND l.objsubid = 1
  AND l.granted`

// fence has a transaction fail unless this process still is the one that delivers, if it is meant to be. The writing lock,
// which it keeps until it ends, makes the next one wait for it; a process that is stopped in the middle of it is made to
// end by the server. That the lease's session still holds its token's lock is seen by not getting it: pg_locks would
// tell it too, but it walks the server's whole table of locks, half a millisecond in which nobody else gets at that.
func (s *Store) fence(batch *pgx.Batch, lease *Lease) {
	if lease == nil {
		return
	}
	batch.Queue(`SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0)), set_config('idle_in_transaction_session_timeout', $2, true)`,
		writingKey+s.name, strconv.FormatInt(serverLease.Milliseconds(), 10))
	batch.Queue(`SELECT pg_try_advisory_xact_lock_shared($1::int, $2::int)`, s.tokens(), lease.token).QueryRow(func(row pgx.Row) error {
		var free bool
		if err := row.Scan(&free); err != nil {
			return err
		}
		if free {
			return errFenced
		}
		return nil
	})
}

var errFenced = errors.New("this relay has lost the lock by which it alone delivers")

// admit keeps a connection out of the pool that leads to another server than the lease is of: one that was promoted
// meanwhile does not have all that the transactions of this process build on.
func (s *Store) admit(ctx context.Context, conn *pgx.Conn) error {
	lease := s.lease.Load()
	if lease == nil {
		return nil
	}
	var system, timeline string
	if err := conn.QueryRow(ctx, `SELECT `+serverSQL).Scan(&system, &timeline); err != nil {
		return err
	}
	server, err := serverOf(system, timeline)
	if err != nil {
		return err
	}
	if server != lease.Server {
		return fmt.Errorf("the server is on timeline %d of cluster %s, and this relay began on timeline %d of cluster %s",
			server.Timeline, server.System, lease.Server.Timeline, lease.Server.System)
	}
	return nil
}

// connectWith makes a connection of its own with further settings.
func (s *Store) connectWith(ctx context.Context, settings map[string]string) (*pgx.Conn, error) {
	cfg := s.pool.Config().ConnConfig.Copy()
	pin(cfg)
	maps.Copy(cfg.RuntimeParams, impatience)
	maps.Copy(cfg.RuntimeParams, settings)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// impatience has the server end a connection soon after its other end is gone.
var impatience = map[string]string{
	"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", "tcp_user_timeout": "10000",
}
