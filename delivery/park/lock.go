package park

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// heartbeat is how often a relay that has the lock makes sure of it, and one that has not tries again.
const heartbeat = time.Second

// Lock waits until this process alone may drain, and returns a channel that is closed when it may no longer (the
// connection is lost: at most heartbeat and patience after), and what gives the lock up. It waits by trying, not in the server, where the wait
// would keep vacuum from cleaning up.
func (s *Store) Lock(ctx context.Context) (lost <-chan struct{}, release func(), err error) {
	for {
		conn, ok, err := s.tryLock(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("lock the parked deliveries: %w", err)
		}
		if ok {
			lost, release := guard(ctx, conn)
			return lost, release, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(heartbeat):
		}
	}
}

func (s *Store) tryLock(ctx context.Context) (*pgx.Conn, bool, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, false, err
	}
	var ok bool
	err = conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, "relay drain "+s.name).Scan(&ok)
	if err != nil || !ok {
		closeConn(ctx, conn)
		return nil, false, err
	}
	return conn, true, nil
}

// guard pings the connection that holds the lock until it is lost or released.
func guard(ctx context.Context, conn *pgx.Conn) (<-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	lost, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer closeConn(ctx, conn)
		defer close(lost) // before the connection is closed: nobody drains after another may
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(heartbeat):
			}
			if ping(ctx, conn) != nil {
				return
			}
		}
	}()
	return lost, sync.OnceFunc(func() {
		cancel()
		<-done
	})
}
