package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"relay/cdc"
)

// Rhythm of a lookout.
const (
	lookEvery   = 5 * time.Second
	lookTimeout = 15 * time.Second // source.url may name hosts that say nothing
)

// lookout watches slot and publication while a tenure lasts, and tells the log what changes, each change once. What it saw
// last is for /readyz, status and metrics.
type lookout struct {
	cdc *cdc.Lookout
	log *slog.Logger

	mu      sync.Mutex
	wal     *cdc.SlotWAL // nil: not known
	why     string       // why rows do not come through the publication; empty: they do
	filters string       // as they were at the first look
	renamed string       // tables that were, as last told
	looked  bool
	risk    cdc.SlotRisk
	good    cdc.Moment // when they last did; zero: not in this tenure
}

func newLookout(src cdc.Source, log *slog.Logger) *lookout {
	return &lookout{cdc: cdc.NewLookout(src), log: log}
}

// run looks until ctx is done. A database that is away is for the stream to tell.
func (l *lookout) run(ctx context.Context) {
	defer l.cdc.Close()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, lookTimeout)
		sight, err := l.cdc.Look(asking)
		cancel()
		if err != nil {
			l.blind()
		} else {
			l.note(sight)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *lookout) blind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wal = nil
}

func (l *lookout) note(s *cdc.Sight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wal = s.WAL
	if s.WAL != nil {
		l.noteRisk(s.WAL)
	}
	if !l.looked {
		l.looked, l.filters = true, s.Filters
	}
	l.notePublication(s)
	l.noteRenamed(s.Renamed)
}

// noteRenamed tells of it when it happens: it costs nothing yet, and the next connection waits.
func (l *lookout) noteRenamed(renamed string) {
	switch {
	case renamed == l.renamed:
	case renamed == "":
		l.log.Info("tables have the names of source.tables again")
	default:
		l.log.Warn("a table was renamed; its rows are sent until relay connects anew, and then wait, unless source.tables has the new name by then",
			"renamed", renamed)
	}
	l.renamed = renamed
}

// noteRisk tells of a change. That the slot is lost is for the stream to tell.
func (l *lookout) noteRisk(w *cdc.SlotWAL) {
	was := l.risk
	l.risk = w.Risk()
	if l.risk == was || l.risk == cdc.RiskLost {
		return
	}
	log := l.log.With("retained_bytes", w.Retained, "wal_status", w.Status)
	if w.Limited {
		log = log.With("safe_bytes", max(0, w.Safe), "limit_bytes", w.Limit)
	}
	switch {
	case l.risk == cdc.RiskNone:
		log.Info("slot is no longer at risk")
	case l.risk < was:
		log.Info("slot is less at risk")
	case l.risk == cdc.RiskUnreserved:
		log.Warn("slot is about to be lost at the next checkpoint, raise max_slot_wal_keep_size now")
	case l.risk == cdc.RiskClose && w.Idle > 0 && w.IdleTimeout > 0:
		log.Warn("slot is about to be lost, nobody streams from it", "idle", w.Idle.String(), "idle_replication_slot_timeout", w.IdleTimeout.String())
	case l.risk == cdc.RiskClose:
		log.Warn("slot has used up three quarters of the WAL that it may keep (max_slot_wal_keep_size)")
	default:
		log.Warn("slot keeps more WAL than max_wal_size")
	}
}

// notePublication tells when rows stop to come through, and which ones are missing when they come again: Postgres decides
// by the publication as it was when a row was committed, so they do not come later.
func (l *lookout) notePublication(s *cdc.Sight) {
	why := ""
	switch {
	case s.Publication != nil:
		why = s.Publication.Error()
	case s.Filters != l.filters:
		why = fmt.Sprintf("the publication was altered while relay ran and sends %s; before: %s (remedy: alter it back, or restart relay if this is meant)",
			orAll(s.Filters), orAll(l.filters))
	}
	switch {
	case why != "" && why != l.why:
		l.log.Error("rows do not come through the publication, and those committed meanwhile are not sent", "err", why,
			"since", l.since(), "since_lsn", l.good.LSN.String())
	case why == "" && l.why != "":
		l.log.Warn("rows come through the publication again; those committed in between were not sent: relay replay --since … --until …",
			"since", l.since(), "until", s.After.Time.Truncate(time.Second).Add(time.Second).Format(time.RFC3339),
			"since_lsn", l.good.LSN.String(), "until_lsn", s.After.LSN.String())
	}
	l.why = why
	if why == "" {
		l.good = s.Before
	}
}

// since is when rows last came through for certain.
func (l *lookout) since() string {
	if l.good.Time.IsZero() {
		return "before relay started"
	}
	return l.good.Time.Truncate(time.Second).Format(time.RFC3339)
}

func orAll(filters string) string {
	if filters == "" {
		return "all rows and columns"
	}
	return filters
}

// problem is why rows do not come through the publication, empty if they do.
func (l *lookout) problem() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// slot is what was last seen of the slot, nil while that is not known.
func (l *lookout) slot() *cdc.SlotWAL {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wal
}

// known reports whether the lookout has seen anything yet.
func (l *lookout) known() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.looked
}
