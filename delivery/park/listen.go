package park

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// channel is the name that commands notify.
func (s *Store) channel() string { return "relay_" + s.name }

// notify tells a running relay, once the transaction commits, that something of the endpoints was changed.
func (s *Store) notify(ctx context.Context, tx pgx.Tx, endpoints ...string) error {
	if _, err := tx.Exec(ctx, `SELECT pg_notify($1, e) FROM unnest($2::text[]) e`, s.channel(), endpoints); err != nil {
		return fmt.Errorf("tell the running relay: %w", err)
	}
	return nil
}

// Listen calls changed with the name of each endpoint that a command changed, and with "" (it may be any) whenever it has
// connected anew, the first time included. It reconnects until ctx is done, and then returns nil.
func (s *Store) Listen(ctx context.Context, changed func(endpoint string)) error {
	var last string
	for delay := minDelay; ; delay = min(2*delay, maxDelay) {
		err := s.listen(ctx, func(endpoint string) {
			delay = minDelay
			changed(endpoint)
		})
		if ctx.Err() != nil {
			return nil
		}
		if err.Error() != last {
			last = err.Error()
			s.logger.Warn("listening for commands interrupted", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay + rand.N(delay)):
		}
	}
}

// How long to wait before connecting again.
const (
	minDelay = 100 * time.Millisecond
	maxDelay = 10 * time.Second
)

func (s *Store) listen(ctx context.Context, changed func(string)) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, `LISTEN `+quote(s.channel())); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	changed("")
	for {
		wait, cancel := context.WithTimeout(ctx, silence)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			changed(n.Payload)
		case ctx.Err() != nil || !pgconn.Timeout(err):
			return fmt.Errorf("wait for a command: %w", err)
		default:
			if err := ping(ctx, conn); err != nil {
				return err
			}
		}
	}
}

// silence is after what time without a word the connection is tried, and patience how long that may take.
const (
	silence  = 15 * time.Second
	patience = 5 * time.Second
)

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("try the connection: %w", err)
	}
	return nil
}

// connect makes a connection of its own, for what lives longer than a statement. The server ends it soon after we are gone,
// cut off or stopped, so that a lock of ours is free for the next relay.
func (s *Store) connect(ctx context.Context) (*pgx.Conn, error) { return s.connectWith(ctx, nil) }

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing is lost with it
}
