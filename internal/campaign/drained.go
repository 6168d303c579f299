package campaign

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Drained waits until every subscribed event was taken or is dead, as far as counting tells: Verdict judges then.
func (s *System) Drained(limit time.Duration) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		began := time.Now()
		why := s.undrained()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("not drained after %s: %s; the end of the relay's log:\n%s", limit, why, tail(s.Relay.Log()))
			status, err := s.Relay.Status()
			s.t.Logf("status %+v, %v", status, err)
			s.t.Logf("rows:\n%s", s.rows())
			return
		}
		time.Sleep(max(100*time.Millisecond, 5*time.Since(began))) // there is no event for it, and a look is not for free
	}
}

// rows says of each endpoint's rows what decides when they are read.
func (s *System) rows() string {
	found, err := s.Connect().Query(s.t.Context(), `SELECT format('%s %s blocked %s due %s: %s rows of %s queues, turns %s to %s, parked %s to %s',
  endpoint, state, blocked, CASE WHEN due IS NULL THEN 'now' WHEN due > now() THEN 'later' ELSE 'since' END, count(*), count(DISTINCT queue),
  min(turn), max(turn), min(parked_at), max(parked_at)) FROM relay.delivery GROUP BY endpoint, state, blocked,
  CASE WHEN due IS NULL THEN 'now' WHEN due > now() THEN 'later' ELSE 'since' END`)
	if err != nil {
		return err.Error()
	}
	lines, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return err.Error()
	}
	return strings.Join(lines, "\n")
}

func (s *System) undrained() string {
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	truth, err := ReadTruth(ctx, s.URL)
	if err != nil {
		return err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if sub.removed {
			continue
		}
		if why := truth.undrained(sub.Subscription); why != "" {
			return why
		}
	}
	return ""
}

func (t *Truth) undrained(s *Subscription) string {
	receipts, _ := s.Receipts()
	taken := make(map[ID]bool, len(receipts))
	for _, r := range receipts {
		if r.Answered != 0 {
			taken[r.ID] = true
		}
	}
	missing, waiting := 0, 0
	for _, id := range t.Order {
		if state := t.Parked[s.Name][id]; state == "waiting" {
			waiting++
		} else if s.must(t.Rows[id]) && !taken[id] && state == "" {
			missing++
		}
	}
	if missing+waiting == 0 {
		return ""
	}
	return fmt.Sprintf("endpoint %s misses %d and has %d waiting", s.Name, missing, waiting)
}
