package cdc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// FaultPromoted says that the server is another than the one the stream began on: a standby that was promoted. Everything
// in memory speaks of the old one, and what is to be done is to start over from what is saved.
const FaultPromoted FaultKind = "promoted"

// FaultStandby says that the server is a standby, which nothing can be written to.
const FaultStandby FaultKind = "standby"

// Promoted reports whether err says that the stream has to start over, from what the new primary has saved.
func Promoted(err error) bool { return isFault(err, FaultPromoted) }

// identity is a history of a cluster. The system identifier tells a rebuilt cluster, whose LSNs start anew, from the one
// that was there before; the timeline tells a promoted standby from its primary.
//
// LSNs are never carried over from one identity to another. A promoted standby has the old primary's WAL up to some point X,
// and goes on from X with WAL of its own. Whatever a process knows of places after X is wrong there: a position beyond X
// would have new rows taken for settled ones as soon as the new WAL has grown past it, silently. What is saved in the database
// is right by construction: a position is saved by a transaction that comes after all that it speaks of, so a standby that
// has the one has the other, and a standby that was behind has an older position. Likewise the slot, which a standby
// synchronises only as far as it has the WAL. So after a promotion nothing in memory is used any more, and everything
// starts over from the position and the slot that the new primary has: at the position, or at the slot's if that is
// further, since the server sends nothing before it. Between the two lies only what was settled before the slot was
// confirmed.
type identity struct {
	system   string
	timeline int32
}

// Identify returns the system identifier of the cluster behind a URL. Like the stream, it wants a role that may replicate.
func Identify(ctx context.Context, url string) (string, error) {
	conn, err := connect(ctx, url, true)
	if err != nil {
		return "", err
	}
	defer closeConn(conn)
	if err := onStandby(ctx, conn); err != nil {
		return "", err
	}
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return "", fmt.Errorf("identify the server: %w", err)
	}
	return system.SystemID, nil
}

// onStandby returns a fault if the server is a standby.
func onStandby(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := query(ctx, conn, "SELECT pg_is_in_recovery()")
	if err != nil {
		return fmt.Errorf("ask whether the server is a standby: %w", err)
	}
	if len(rows) == 1 && rows[0][0] != "f" {
		return &Fault{
			Kind: FaultStandby, Problem: "the server is a standby",
			Remedy: "name the primary in source.url, or all of them with target_session_attrs=read-write: postgres://a,b/db?target_session_attrs=read-write",
		}
	}
	return nil
}

// recognise returns an error, from then on for ever, if the server is not the one that the stream began on.
func (s *Stream) recognise(ctx context.Context, conn *pgconn.PgConn, now identity) error {
	h := &s.history
	if h.ahead != nil {
		return h.ahead
	}
	was := h.server
	switch {
	case was.system != "" && was.system != now.system:
		h.ahead = diverged(fmt.Sprintf("this is another database cluster (%s) than before (%s)", now.system, was.system))
	case was.timeline != 0 && was.timeline != now.timeline:
		h.ahead = promotion(ctx, conn, was.timeline, now.timeline, s.Status().Received)
	}
	return h.ahead
}

// Promotion returns what Promoted reports for the server behind a URL, which was on another timeline before, when WAL was
// read up to an LSN.
func Promotion(ctx context.Context, url string, timeline int32, read LSN) error {
	conn, err := connect(ctx, url, true)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return fmt.Errorf("identify the server: %w", err)
	}
	return promotion(ctx, conn, timeline, system.Timeline, read)
}

// promotion says from where on the two timelines differ.
func promotion(ctx context.Context, conn *pgconn.PgConn, was, now int32, read LSN) error {
	fork, err := forkOf(ctx, conn, was, now)
	if err != nil {
		return &Fault{
			Kind: FaultPromoted, Err: err,
			Problem: fmt.Sprintf("the server was promoted or restored: it is on timeline %d, and was on %d", now, was),
		}
	}
	problem := fmt.Sprintf("the server was promoted: timeline %d went over to %d at %s", was, now, fork)
	if read > fork {
		problem += fmt.Sprintf("; relay had read up to %s, and what was committed in between exists on the old primary only, sent or not", read)
	}
	return &Fault{Kind: FaultPromoted, Problem: problem}
}

// forkOf asks where a timeline that is an ancestor of another ended: a line of its history is the number of an ancestor, where
// that ended, and why.
func forkOf(ctx context.Context, conn *pgconn.PgConn, ancestor, timeline int32) (LSN, error) {
	history, err := pglogrepl.TimelineHistory(ctx, conn, timeline)
	if err != nil {
		return 0, fmt.Errorf("ask for the history of timeline %d: %w", timeline, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(history.Content))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != strconv.Itoa(int(ancestor)) {
			continue
		}
		return pglogrepl.ParseLSN(fields[1])
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("timeline %d is none of the ancestors of %d", ancestor, timeline))
}

// missing adds to an error that says that the slot is lost what that means: which rows are not streamed any more.
func (s *Stream) missing(err error) error {
	var f *Fault
	at := max(s.mark.Durable(), s.cfg.Start)
	if at == 0 || !SlotLost(err) || !errors.As(err, &f) {
		return err
	}
	said := *f
	said.Problem += fmt.Sprintf("; rows committed after %s and before a new slot is made are not streamed", at)
	said.Remedy += "; source.on_slot_lost: recreate does it by itself, and sends again what is still in the outbox"
	return &said
}
