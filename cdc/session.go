package cdc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// session is one replication connection. All of it belongs to the goroutine in Stream.Run: it alone reads and writes the
// socket. A second writer breaks TLS connections, and a reader that cannot write leaves the server without an answer.
type session struct {
	*Stream
	conn  *pgconn.PgConn
	net   net.Conn
	front *pgproto3.Frontend
	ear   *ear
	waker *waker

	decoder  *decoder
	change   change
	skipping bool // the transaction at hand was handed over on an earlier connection

	retry *backoff
	began Place // least place that was not handed over before

	standby
}

func newSession(s *Stream, conn *pgconn.PgConn, start, end LSN) *session {
	now := time.Now()
	return &session{
		Stream: s, conn: conn, net: conn.Conn(), front: conn.Frontend(), waker: newWaker(conn.Conn()),
		decoder: newDecoder(s.cfg.Messages, s.history.tables),
		standby: standby{received: start, serverEnd: end, heard: now, asked: now},
	}
}

// prove tells the back-off whether this connection is of use.
func (n *session) prove(now time.Time) { n.retry.proven(now, n.history.next() != n.began) }

// errBatch ends a batch of reads early: something else is due.
var errBatch = errors.New("batch ends")

// run streams until the connection fails, or ctx is done, when it closes in good order.
func (n *session) run(ctx context.Context) error {
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		n.waker.watch(ctx, over, n.paused, n.mark.Moved())
	}()
	err := n.loop(ctx)
	close(over)
	<-gone
	if ctx.Err() != nil || isFault(err, FaultShutdown) || errors.As(err, new(*refusal)) {
		if bye := n.finish(); err == nil {
			err = bye
		}
	}
	closeConn(n.conn)
	// What came since the last status says how far the next server may differ; so does a transaction whose end is yet to come.
	received := n.received
	if open := n.history.open; open != nil {
		received = max(received, open.commit+1)
	}
	n.progress(received, n.serverEnd, n.heard)
	return err
}

// loop returns nil when ctx is done.
func (n *session) loop(ctx context.Context) error {
	// A commit that races START_REPLICATION can sleep on the server until it hears from us.
	if err := n.sendStatus(time.Now(), false); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := n.tend(time.Now()); err != nil {
			return err
		}
		if n.isPaused() {
			n.enter(StatePaused)
			n.rest(nil)
			n.heard = time.Now() // its silence is of our making
			continue
		}
		if room := n.consumer.Room(); room != nil {
			if err := n.waitRoom(ctx, room); err != nil {
				return err
			}
			continue
		}
		if err := n.read(); err != nil {
			if errors.As(err, new(*refusal)) && n.isPaused() {
				continue // it was on its way, and is not read; the connection is needed for what becomes durable
			}
			return err
		}
	}
	return nil
}

// rest waits until room is closed, the owner is woken, or a status is due.
func (n *session) rest(room <-chan struct{}) {
	timer := time.NewTimer(time.Until(n.due()))
	defer timer.Stop()
	select {
	case <-room:
	case <-n.waker.token:
	case <-timer.C:
	}
}

// read takes messages until the consumer is full, a status is due, or the owner is woken: the deadline and the waker end
// a wait for data as well as a flow of it, so that the messages of a busy stream cost no look at the clock.
func (n *session) read() error {
	armed, err := n.waker.arm(n.due())
	if err != nil || !armed {
		return err
	}
	for n.consumer.Room() == nil {
		msg, err := n.front.Receive()
		if err != nil {
			if isTimeout(err) {
				return nil
			}
			return fmt.Errorf("read from the server: %w", err)
		}
		n.fresh = true
		if data, ok := msg.(*pgproto3.CopyData); ok {
			err = n.take(data.Data)
		} else {
			err = streamError(&n.cfg, msg)
		}
		switch {
		case errors.Is(err, errBatch):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

const (
	walDataHeader   = 1 + 8 + 8 + 8
	keepaliveLength = 1 + 8 + 8 + 1
)

// take reads one message of the replication protocol.
func (n *session) take(data []byte) error {
	switch {
	case len(data) >= walDataHeader && data[0] == 'w':
		// Only an upper bound for confirmations: what lies before it is not all received.
		n.serverEnd = max(n.serverEnd, LSN(binary.BigEndian.Uint64(data[9:])))
		if err := n.decoder.decode(data[walDataHeader:], &n.change); err != nil {
			return err
		}
		return n.apply(&n.change)
	case len(data) == keepaliveLength && data[0] == 'k':
		return n.keepalive(LSN(binary.BigEndian.Uint64(data[1:])), data[17] != 0)
	}
	return fmt.Errorf("replication message of %d bytes cannot be read", len(data))
}

// apply hands a change over and tells the watermark.
func (n *session) apply(c *change) error {
	switch c.kind {
	case changeBegin:
		return n.begin(c)
	case changeRow:
		return n.row(c.row)
	case changeCommit:
		n.commit(c)
	}
	return nil
}

func (n *session) begin(c *change) error {
	h := &n.history
	n.skipping = c.commit <= h.done
	if n.skipping || h.open == nil || h.open.commit == c.commit {
		return nil
	}
	if c.commit < h.open.commit {
		return fmt.Errorf("transaction %s comes after the first part of %s, which committed later", c.commit, h.open.commit)
	}
	// The server does not send the rest of what we hold in part, so there is none (its table left the publication).
	n.log.Warn("rest of a transaction did not come", "lsn", h.open.commit.String())
	n.mark.Commit(h.open.tx, h.open.commit)
	h.done, h.open = h.open.commit, nil
	return nil
}

func (n *session) row(row *Row) error {
	h := &n.history
	if n.skipping || h.open != nil && row.Place.Ordinal < h.open.next {
		return nil
	}
	if h.open == nil {
		h.open = &openTx{tx: n.mark.Begin(), commit: row.Place.Commit}
	}
	row.Tx = h.open.tx
	if err := n.consumer.Row(row); err != nil {
		return &refusal{row: row, err: err}
	}
	h.open.next = row.Place.Ordinal + 1
	return nil
}

func (n *session) commit(c *change) {
	h := &n.history
	n.received = max(n.received, c.end)
	if n.skipping {
		n.skipping = false
		return
	}
	h.done = c.commit
	if h.open == nil {
		// Empty for us. The consumer hears nothing of it: saving a position here would write WAL, which before
		// PostgreSQL 15 comes back as another empty transaction, for ever.
		n.mark.Keepalive(c.end)
		return
	}
	n.mark.Commit(h.open.tx, c.end)
	h.open = nil
	n.consumer.Commit(c.end)
}

// refusal is an error of the consumer about one row; the connection is sound.
type refusal struct {
	row *Row
	err error
}

func (r *refusal) Error() string {
	from := "logical message " + r.row.Prefix
	if r.row.Table != nil {
		from = "row of " + r.row.Table.String()
	}
	return fmt.Sprintf("hand over %s at %s: %s", from, r.row.Place, r.err)
}

func (r *refusal) Unwrap() error { return r.err }
