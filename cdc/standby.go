package cdc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgproto3"
)

// standby is what a session tells the server, and what it knows of it, by the rules for standbys: write is what was
// received, flush and apply what is durable.
type standby struct {
	received  LSN // end of what was received: commits, and keepalives between them
	serverEnd LSN // end of the server's WAL as seen in this session
	sent      LSN // durable position the server knows

	reported time.Time // when the last status was sent
	heard    time.Time // when the server last sent something, to about StatusInterval
	asked    time.Time // when it was last asked to
	fresh    bool      // a message came since tend looked
	bytes    int64     // that had come when tend looked, those of a message that is not whole included
	reply    bool      // the server asks for a status

	pressedAt   LSN       // WAL end at which the server asks again and again
	pressed     time.Time // when it first did
	pressedLast time.Time // when it last did
}

const (
	replyEvery   = 10 * time.Millisecond // answers to a server that asks without pause
	writeTimeout = 10 * time.Second

	// A server that shuts down asks again after each answer, until everything is confirmed. Other requests come half a
	// wal_sender_timeout apart.
	pressGap      = 250 * time.Millisecond
	pressPatience = 1500 * time.Millisecond
)

// confirmable is what may be confirmed: durable, and never ahead of the WAL seen on this connection.
func (n *session) confirmable() LSN { return min(n.mark.Durable(), n.serverEnd) }

// due is when tend has something to do next.
func (n *session) due() time.Time {
	at := n.reported.Add(n.cfg.StatusInterval)
	if n.confirmable() > n.sent {
		at = earlier(at, n.reported.Add(confirmEvery))
	}
	if n.reply {
		at = earlier(at, n.reported.Add(replyEvery))
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// tend does what is due besides reading: statuses, telling a recovery, and giving up a server that is dead or going down.
func (n *session) tend(now time.Time) error {
	if n.fresh || n.ear.bytes != n.bytes {
		n.heard, n.fresh, n.bytes = now, false, n.ear.bytes
	}
	if silent := now.Sub(n.heard); silent > n.cfg.Silence {
		return fmt.Errorf("the server was silent for %s", silent.Round(time.Second))
	}
	if n.pressedLast.Sub(n.pressed) > pressPatience {
		return shuttingDown(nil)
	}
	if now.Before(n.due()) {
		return nil
	}
	n.prove(now)
	ask := now.Sub(n.heard) > n.cfg.Silence/6 && now.Sub(n.asked) > n.cfg.Silence/6
	return n.sendStatus(now, ask)
}

func shuttingDown(err error) error {
	return &Fault{Kind: FaultShutdown, Problem: "the server shuts down and cannot finish before this connection closes", Err: err}
}

// keepalive notes the server's position, which in the middle of a transaction says nothing.
func (n *session) keepalive(end LSN, reply bool) error {
	n.serverEnd = max(n.serverEnd, end)
	if !n.decoder.inside {
		n.mark.Keepalive(end)
		n.received = max(n.received, end)
	}
	if !reply {
		return nil
	}
	n.reply = true
	n.press(end, time.Now())
	return errBatch // to answer
}

// press notes that the server asks for a reply, and for how long it has done so without pause or progress.
func (n *session) press(end LSN, now time.Time) {
	if end != n.pressedAt || now.Sub(n.pressedLast) > pressGap {
		n.pressedAt, n.pressed = end, now
	}
	n.pressedLast = now
}

// sendStatus tells the server where we are. All three positions are explicit and not 0: pglogrepl sends the write
// position for a flush position of 0, which would confirm everything received.
func (n *session) sendStatus(now time.Time, ask bool) error {
	durable := n.confirmable()
	if err := n.net.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	if durable == 0 {
		return errors.New("send status: no durable position to confirm")
	}
	err := pglogrepl.SendStandbyStatusUpdate(context.Background(), n.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: max(n.received, durable),
		WALFlushPosition: durable,
		WALApplyPosition: durable,
		ClientTime:       now,
		ReplyRequested:   ask,
	})
	if err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	n.sent, n.reported, n.reply = durable, now, false
	n.history.told = max(n.history.told, durable)
	if ask {
		n.asked = now
	}
	n.progress(n.received, n.serverEnd, n.heard)
	return nil
}

// finish confirms for the last time and ends the stream, waiting for the server to have read it: a connection closed
// abruptly with unread data can lose the confirmation.
func (n *session) finish() error {
	if err := n.sendStatus(time.Now(), false); err != nil {
		return err
	}
	if err := n.net.SetDeadline(time.Now().Add(closeTimeout)); err != nil {
		return fmt.Errorf("end the stream: %w", err)
	}
	n.front.Send(&pgproto3.CopyDone{})
	if err := n.front.Flush(); err != nil {
		return fmt.Errorf("end the stream: %w", err)
	}
	for {
		msg, err := n.front.Receive()
		switch {
		case err != nil && isTimeout(err):
			return nil // still sending a large transaction: it has read our status long since, or will before our goodbye
		case err != nil:
			return fmt.Errorf("end the stream: %w", err)
		}
		switch msg.(type) {
		case *pgproto3.CopyDone, *pgproto3.CommandComplete, *pgproto3.ReadyForQuery, *pgproto3.ErrorResponse:
			return nil
		}
	}
}
