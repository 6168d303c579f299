package delivery

import "time"

// fetch brings parked deliveries that may be attempted into memory.
func (l *lane) fetch() error {
	t := &l.table
	limit, size := max(1, l.ahead()-len(t.taken)), max(1, l.aheadBytes()-t.held)
	taken := make([]int64, 0, len(t.taken)+len(t.delivered))
	for id := range t.taken {
		taken = append(taken, id)
	}
	taken = append(taken, t.delivered...)
	t.more = false // what is parked from here on sets it again
	t.fetching = true
	clear(t.left)
	l.mu.Unlock()
	rows, more, err := l.env.parker.Next(l.env.write, l.name, taken, limit, size)
	l.mu.Lock()
	if err != nil {
		t.fetching, t.more = false, true
		return err
	}
	now := time.Now()
	for i := range rows {
		if l.breathe(i); !t.ordered {
			break
		}
		l.drain(&rows[i], now)
	}
	t.fetching = false
	if !t.ordered { // the rest is anything but what comes first under the order that came meanwhile
		t.more = true
		return nil
	}
	if more {
		t.more = true
	} else if !t.more {
		t.exhausted, t.check = true, true
	}
	return nil
}

// drain puts a parked delivery where its key's deliveries are.
func (l *lane) drain(p *Parked, now time.Time) {
	if _, there := l.table.taken[p.ID]; there {
		return
	}
	it := &item{event: p.Event, id: p.ID, attempts: p.Attempts, status: p.Status, err: p.Err, since: now, born: p.Since}
	if it.born.IsZero() {
		it.born = p.Event.CommitTime
	}
	if p.Event.Problem != "" {
		it.dead, it.err = true, p.Event.Problem
	}
	key, keyed := l.laneKey(p.Event)
	if _, left := l.table.left[key]; left && keyed {
		l.table.more = true
		return
	}
	l.table.take(it, p.Size)
	q := l.queue(key, keyed)
	q.push(it)
	if q.stage != idle {
		return
	}
	if it.dead {
		q.stage = held
		l.table.change(it, false)
		return
	}
	l.ready.push(q)
}

// look asks what is in the table, and goes back to live delivery when nothing there could be overtaken.
func (l *lane) look() error {
	t := &l.table
	t.check = false
	l.mu.Unlock()
	b, err := l.env.parker.Backlog(l.env.write, l.name, maxBlocked)
	l.mu.Lock()
	if err != nil {
		t.check = true
		return err
	}
	if !t.ordered { // what it says is of another order
		t.check = true
		return nil
	}
	if !b.Due.IsZero() {
		l.later(b.Due)
	}
	if b.Waiting && (!t.exhausted || t.more) {
		t.more = true
		return nil
	}
	if len(b.Blocked) > maxBlocked || l.paused != "" || l.state != BreakerClosed || l.stopping {
		return nil
	}
	t.diverted = false
	clear(t.blocked)
	for _, key := range b.Blocked {
		t.blocked[key] = struct{}{}
	}
	l.takeBack()
	return nil
}

// takeBack makes what was about to be parked live again, unless its key is held back. What stays in the buffer has waited there
// already: looks may follow each other faster than it is due.
func (l *lane) takeBack() {
	t := &l.table
	now, due := time.Now(), t.parks.due
	defer func() { t.parks.due = due }()
	for _, it := range t.parks.empty() {
		if it.write != buffered {
			continue
		}
		key, keyed := l.laneKey(it.event)
		switch {
		case it.dead || l.behind(key, keyed):
			l.park(it)
		case it.queue != nil:
			it.write = unwritten
		case it.due.After(now):
			l.park(it)
			if keyed {
				t.blocked[key] = struct{}{}
			}
		default:
			it.write = unwritten
			q := l.queue(key, keyed)
			q.push(it)
			if q.stage == idle {
				l.ready.push(q)
			}
		}
	}
}
