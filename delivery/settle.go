package delivery

import (
	"time"

	"relay/internal/failpoint"
)

// While a lane drains, what was delivered is removed from the table in so many rows at a time, or after so long. A transaction costs
// what some hundred rows do, and a lane that begins one after each delivery has no time left to fetch.
const (
	settleBatch  = 1024
	settleLinger = 50 * time.Millisecond
)

// delivers notes that the row of a parked delivery is to be removed.
func (t *tableWork) delivers(id int64) {
	if len(t.delivered) == 0 {
		t.settleDue = time.Now().Add(settleLinger)
	}
	t.delivered = append(t.delivered, id)
}

// wantsSettle reports whether rows are to be brought up to date now: all that were delivered may wait for company while the lane has others
// to send.
func (l *lane) wantsSettle(now time.Time) bool {
	t := &l.table
	switch {
	case len(t.changed) > 0, t.gone, t.breaker:
		return true
	case len(t.delivered) == 0:
		return false
	}
	return l.stopping || len(t.delivered) >= settleBatch || len(t.taken) == 0 || !now.Before(t.settleDue)
}

// settleRows writes what became of parked deliveries.
func (l *lane) settleRows() error {
	t := &l.table
	delivered, changed := t.delivered, t.changed
	if len(delivered)+len(changed) == 0 {
		return nil
	}
	t.delivered, t.changed = nil, nil
	rows := make([]Parked, len(changed))
	for i, it := range changed {
		it.noted = false
		rows[i] = l.row(it)
	}
	for _, id := range delivered {
		t.taken[id] = nil // not to be fetched again before it is removed
	}
	l.mu.Unlock()
	failpoint.Hit("drained")
	err := l.env.parker.Settle(l.env.write, l.name, delivered, rows)
	l.mu.Lock()
	if err != nil {
		t.delivered = append(delivered, t.delivered...)
		for _, it := range changed {
			t.change(it, it.keep)
		}
		return err
	}
	for _, id := range delivered {
		delete(t.taken, id)
	}
	if len(delivered) > 0 {
		l.freed()
	}
	for i, it := range changed {
		l.rewritten(it, rows[i])
	}
	return nil
}

// freed looks for what the rows may have held back that are no longer in the way. It comes after the commit: a look before it finds
// nothing.
func (l *lane) freed() {
	if t := &l.table; t.diverted || len(t.blocked) > 0 {
		t.more = true
	}
}

// rewritten takes in that the row of an item was changed.
func (l *lane) rewritten(it *item, row Parked) {
	switch {
	case row.State == Dead:
		l.metrics.dead.Inc()
		l.release(it)
		l.freed()
	case !it.keep:
		l.table.drop(it)
		l.later(row.Due)
	}
}
