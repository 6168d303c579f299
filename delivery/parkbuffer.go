package delivery

import "time"

// Limits of a lane's work with the table.
const (
	parkBatch  = 1000 // deliveries in one Park
	parkBytes  = 16 << 20
	parkLinger = 100 * time.Millisecond // longest that deliveries wait for company on their way into the table
)

// parkBuffer holds what is to become rows, in order. A transaction costs the database many times what a row does, and its
// cores are the application's: rows are gathered, unless a key cannot go on before one of them is there.
type parkBuffer struct {
	items []*item
	bytes int       // of all that was put in since it was empty
	due   time.Time // when they are to be written
}

func (b *parkBuffer) put(it *item, linger time.Duration) {
	if len(b.items) == 0 {
		b.bytes, b.due = 0, time.Now().Add(linger)
	}
	b.items = append(b.items, it)
	b.bytes += len(it.event.Payload)
}

// take takes out the next batch, all of which is then under way. What was delivered meanwhile is left out.
func (b *parkBuffer) take() []*item {
	batch := make([]*item, 0, min(len(b.items), parkBatch))
	n, size := 0, 0
	for _, it := range b.items {
		if len(batch) == parkBatch || size >= parkBytes {
			break
		}
		n++
		if it.write != buffered {
			continue
		}
		it.write = underway
		size += len(it.event.Payload)
		batch = append(batch, it)
	}
	b.items = b.items[n:]
	if len(b.items) == 0 {
		b.items = nil
	}
	return batch
}

// hasten has everything written now.
func (b *parkBuffer) hasten() { b.due = time.Time{} }

// empty takes out everything.
func (b *parkBuffer) empty() []*item {
	items := b.items
	b.items = nil
	return items
}

// wantsPark reports whether the buffer is to be written now: it has waited long enough, or somebody waits for it.
func (l *lane) wantsPark(now time.Time) bool {
	b := &l.table.parks
	return len(l.table.unsure) > 0 || len(b.items) > 0 && (!l.gathers() || !now.Before(b.due))
}

// gathers reports whether what is in the buffer may wait for company. A reader that rests because the window is full must
// not rest on account of a buffer.
func (l *lane) gathers() bool {
	b, w := &l.table.parks, l.env.window
	return !l.stopping && len(b.items) < min(parkBatch, int(w.maxEvents/16)) && b.bytes < min(parkBytes, int(w.maxBytes/16))
}

// linger is how long what is parked now may wait for company.
func (l *lane) linger() time.Duration { return min(parkLinger, l.env.hold/8) }

// down reports whether the endpoint is sent nothing, or no more than a probe.
func (l *lane) down() bool { return l.paused != "" || l.state != BreakerClosed }

// takeTurn waits, unlocked, until no other lane that is down writes what it gathered. Endpoints that are down together would else have
// the database work for all of them at the same moment, and with many of them in many small transactions; while one waits
// for its turn, its buffer grows. It waits no longer than the slot may bear: what holds the other up, perhaps an operator's command
// for that endpoint, is not to hold this one.
func (l *lane) takeTurn() (done func()) {
	if !l.gathers() || !l.down() {
		return func() {}
	}
	l.mu.Unlock()
	defer l.mu.Lock()
	limit := time.NewTimer(min(l.env.hold/4, time.Second))
	defer limit.Stop()
	select {
	case l.env.turn <- struct{}{}:
		return func() { <-l.env.turn }
	case <-limit.C:
	case <-l.env.write.Done():
	}
	return func() {}
}
