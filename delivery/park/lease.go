package park

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// The lease and its server's side. The server ends the session that holds the lock when it has heard nothing for serverLease,
// counted from its last answer. This process begins nothing once leaseTerm has passed since it asked the question that was
// answered last: earlier by more than the difference, whatever became of process or network in between, as long as the two
// clocks run equally fast. What was begun before, an attempt under way, may still arrive.
const (
	heartbeat   = time.Second     // how often a relay that has the lock makes sure of it, and one that has not tries again
	leaseTerm   = 5 * time.Second // after the last question that was answered
	freshTerm   = 2 * time.Second // after it, too: see Fresh
	serverLease = 8 * time.Second // after the last answer
	writersWait = 3 * time.Second // for the transactions of who had the lock before
	lockTimeout = 30 * time.Second
)

// Lease is the right to be the only process that delivers: a lock that a session of the server holds.
type Lease struct {
	Server Server // of which it is

	store *Store
	conn  *pgx.Conn
	pid   uint32
	token int32 // whose lock only its session has

	began  time.Time
	until  atomic.Int64 // since began
	over   atomic.Bool  // never again valid
	lost   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

func newLease(s *Store, conn *pgx.Conn, server Server, token int32, asked time.Time) *Lease {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Lease{
		Server: server, store: s, conn: conn, pid: conn.PgConn().PID(), token: token, began: asked,
		lost: make(chan struct{}), cancel: cancel, done: make(chan struct{}),
	}
	l.until.Store(int64(leaseTerm))
	go l.guard(ctx)
	return l
}

// Arm has everything that the store writes from now on depend on the lease, and go to its server only. It refuses another
// cluster than that of an earlier lease.
func (l *Lease) Arm() error {
	s := l.store
	before := s.server.Load()
	if before != nil && before.System != l.Server.System {
		return fmt.Errorf("%w answers: %s, and before it was %s. Point source.url at the right one; if this is the right one, restart relay: "+
			"nothing that is known of the other is applied to it", ErrOtherCluster, l.Server.System, before.System)
	}
	s.server.Store(&l.Server)
	s.lease.Store(l)
	if before == nil || *before != l.Server {
		s.pool.Reset()    // connections from before may lead elsewhere
		s.forgetCursors() // and what was read there may be readable here again
	}
	return nil
}

// Lost returns a channel that is closed when the lease has ended.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Valid reports whether an attempt may begin. Once it was false it stays so: whoever delivers on looks at another lease.
func (l *Lease) Valid() bool { return l.validAt(time.Now()) }

func (l *Lease) validAt(now time.Time) bool {
	if l.over.Load() {
		return false
	}
	until := time.Duration(l.until.Load())
	// The monotonic clock, which nobody sets, and the other one, which goes on while a machine sleeps.
	if now.Sub(l.began) < until && now.Round(0).Sub(l.began.Round(0)) < until {
		return true
	}
	l.over.Store(true)
	return false
}

// Fresh reports whether an attempt should begin: the lease is valid, and the server has answered a moment ago. Without the
// database no position is saved, and what is delivered meanwhile would be delivered again by whoever takes over.
func (l *Lease) Fresh() bool {
	now := time.Now()
	return l.validAt(now) && now.Sub(l.began) < time.Duration(l.until.Load())-leaseTerm+freshTerm
}

// Release gives the lock up. Nothing that was armed by the lease may still be at work.
func (l *Lease) Release() {
	l.cancel()
	<-l.done
	l.store.lease.CompareAndSwap(l, nil)
}

// guard renews the lease until it is lost or released.
func (l *Lease) guard(ctx context.Context) {
	defer close(l.done)
	defer closeConn(ctx, l.conn)
	defer close(l.lost) // before the connection is closed: nobody delivers after another may
	defer l.over.Store(true)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(heartbeat):
		}
		if !l.renew(ctx) {
			return
		}
	}
}

// renew asks the server whether the session lives. It stores the new term before it looks whether somebody found the old one
// over, and Valid does it the other way round: so nobody waits for a lease that goes on.
func (l *Lease) renew(ctx context.Context) bool {
	asked := time.Now()
	ctx, cancel := context.WithDeadline(ctx, l.began.Add(time.Duration(l.until.Load())))
	defer cancel()
	if l.conn.Ping(ctx) != nil || !l.Valid() {
		return false
	}
	l.until.Store(int64(asked.Sub(l.began) + leaseTerm))
	return !l.over.Load()
}
