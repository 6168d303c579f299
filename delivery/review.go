package delivery

import "time"

// wantsReview reports whether what the lane has read ahead of the table is to be compared with it.
func (l *lane) wantsReview() bool { return l.table.review && !l.stopping }

// review compares the parked deliveries that are in memory with their rows, which an operator has changed: what was
// discarded is not sent, and what is to be retried does not wait for its time. What is in the air is left alone.
func (l *lane) review() error {
	t := &l.table
	t.review = false
	asked := make(map[int64]*item, len(t.taken))
	ids := make([]int64, 0, len(t.taken))
	for id, it := range t.taken {
		if it.idles() {
			asked[id] = it
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	l.mu.Unlock()
	rows, err := l.env.parker.Review(l.env.write, l.name, ids)
	l.mu.Lock()
	if err != nil {
		t.review = true
		return err
	}
	for i := range rows {
		if it := asked[rows[i].ID]; it.idles() && t.taken[it.id] == it {
			l.hasten(it, &rows[i])
		}
		delete(asked, rows[i].ID)
	}
	for id, it := range asked {
		if it.idles() && t.taken[id] == it {
			l.discard(it)
		}
	}
	return nil
}

// idles reports whether an item is a row's, and waits for its turn or its time with nothing under way that changes it.
func (it *item) idles() bool {
	return it != nil && it.queue != nil && !it.live() && !it.flying && !it.noted && !it.dead && it.result == nil && it.write == unwritten
}

// hasten lets a delivery go at once whose attempts somebody has given back to it.
func (l *lane) hasten(it *item, row *Parked) {
	if row.Attempts >= it.attempts {
		return
	}
	it.attempts, it.born, it.due = row.Attempts, row.Since, time.Time{}
	q := it.queue
	if q.head != it {
		return
	}
	l.loosen(q)
	if q.stage == waiting {
		l.wait.remove(q)
		l.ready.push(q)
	}
}

// discard takes a delivery out of memory whose row somebody has deleted. What was behind it goes on.
func (l *lane) discard(it *item) {
	q, first := it.queue, it.queue.head == it
	l.loosen(q)
	if first {
		switch q.stage {
		case waiting:
			l.wait.remove(q)
		case ready:
			l.ready.filter(func(r *keyQueue) bool { return r != q })
		default: // decided already
			return
		}
	}
	l.table.drop(it)
	l.table.more = true
	q.unlink(it)
	if first {
		l.proceed(q)
	}
}

// loosen takes a queue out of the batch that it waits with.
func (l *lane) loosen(q *keyQueue) {
	if q.batch != nil {
		l.untie(q.batch)
	}
}
