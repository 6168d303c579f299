package cdc

import (
	"context"
	"fmt"
	"time"
)

// dislodgeAfter is how long a session that has our slot may say nothing. A relay that lives says something each second.
const dislodgeAfter = 4 * time.Second

// holder is a session that has the slot, and what it said last, as far as this stream has seen.
type holder struct {
	pid, reply string
	since      time.Time // when it was first seen to say no more
}

// dislodge ends the session that has the slot if it has been silent, where the slot is ours alone. It looks at whether the
// time of the last reply changes, not at the time itself, which is by another's clock.
func (s *Stream) dislodge(ctx context.Context, err error) {
	h := &s.history.holder
	if !s.cfg.Exclusive || !isFault(err, FaultSlotActive) {
		*h = holder{}
		return
	}
	pid, reply, err := s.slotHolder(ctx)
	if err != nil || pid == "" {
		return // it is tried again
	}
	if pid != h.pid || reply != h.reply {
		*h = holder{pid, reply, time.Now()}
		return
	}
	if time.Since(h.since) < dislodgeAfter {
		return
	}
	s.log.Warn("ending a session that has the slot and is silent: a relay that was stopped or cut off", "pid", pid)
	if err := s.terminate(ctx, pid); err != nil {
		s.log.Warn("session not ended, waiting until the server does", "pid", pid, "err", err)
	}
	*h = holder{}
}

// slotHolder returns the process that has the slot and when it last replied. A reply is only told of a session of our role.
func (s *Stream) slotHolder(ctx context.Context) (pid, reply string, err error) {
	conn, err := connect(ctx, s.cfg.URL, false)
	if err != nil {
		return "", "", err
	}
	defer closeConn(conn)
	rows, err := query(ctx, conn, `SELECT r.pid::text, r.reply_time::text FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
  WHERE r.reply_time IS NOT NULL AND r.application_name = current_setting('application_name') AND s.slot_name = `+quoteLiteral(s.cfg.Slot))
	if err != nil || len(rows) != 1 {
		return "", "", err
	}
	return rows[0][0], rows[0][1], nil
}

func (s *Stream) terminate(ctx context.Context, pid string) error {
	conn, err := connect(ctx, s.cfg.URL, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	// Asked with the slot again: the number may be another's by now.
	_, err = query(ctx, conn, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid = `+pid+` AND slot_name = `+quoteLiteral(s.cfg.Slot))
	if err != nil {
		return fmt.Errorf("end session %s: %w", pid, err)
	}
	return nil
}
