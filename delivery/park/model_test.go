package park

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/delivery"
	"relay/mapping"
)

// model is a lane that does as it likes, and what must hold of the table all the while.
type model struct {
	t     *testing.T
	s     *Store // the relay's
	other *Store // a command's
	now   time.Time

	clock int                      // the last event's number
	gaps  []int                    // numbers that were left out
	rows  map[int]*delivery.Parked // by number; settled ones are gone
	odd   map[int]bool             // retried by a person: their place in the order is their own
	taken map[int64]int            // number by ID
	sent  map[int]bool
}

var modelKeys = []string{"", "x", "y", "z"}

func number(p *delivery.Parked) (n int) {
	_, _ = fmt.Sscanf(p.Event.ID, "event-%d", &n)
	return n
}

// TestStore_KeepsTheOrderOfEveryKey fails when any of these is taken out: the blocked flag of new rows behind a stuck one
// (arrange), holdBack in Settle, release in Settle or after a resend, the rewind for given up rows (resume), the new turn in
// releaseSQL; or when the memory keeps what another process (check) or another call (take) has changed.
func TestStore_KeepsTheOrderOfEveryKey(t *testing.T) {
	t.Parallel()
	s := setup(t)
	lock(t, s)
	require.NoError(t, s.Reorder(t.Context(), "a", mapping.OrderKey))
	rapid.Check(t, func(r *rapid.T) {
		_, err := s.pool.Exec(t.Context(), "TRUNCATE relay.delivery")
		require.NoError(r, err)
		m := &model{
			t: t, now: time.Unix(1_700_000_000, 0).UTC(), rows: map[int]*delivery.Parked{}, odd: map[int]bool{},
			taken: map[int64]int{}, sent: map[int]bool{},
		}
		m.restart(s)
		r.Repeat(map[string]func(*rapid.T){
			"park": m.park, "resend": m.resend, "next": m.next, "settle": m.settle, "give up": m.giveUp,
			"time": m.time, "restart": func(*rapid.T) { m.restart(s) }, "retry": m.retry, "discard": m.discard,
			"late": m.late, "": m.unstuck,
		})
		m.drain(r)
	})
}

// restart is a new relay on the same tables.
func (m *model) restart(s *Store) {
	m.s, m.other = New(s.pool, "relay", s.logger), New(s.pool, "relay", s.logger)
	m.s.lease.Store(s.lease.Load())
	for _, store := range []*Store{m.s, m.other} {
		store.reach = 4
		store.now = func() time.Time { return m.now }
	}
	clear(m.taken)
}

// either is the relay, whose interface is asked, or a command.
func (m *model) either(r *rapid.T) *Store {
	return rapid.SampledFrom([]*Store{m.s, m.other}).Draw(r, "by")
}

func (m *model) park(r *rapid.T) {
	var batch []delivery.Parked
	var numbers []int
	for range rapid.IntRange(1, 12).Draw(r, "n") {
		m.clock++
		if rapid.IntRange(0, 9).Draw(r, "gap") == 0 {
			m.gaps = append(m.gaps, m.clock)
			m.clock++
		}
		key := rapid.SampledFrom(modelKeys).Draw(r, "key")
		p := item(m.clock, key)
		p.Ordered, p.Event.Keyed = key != "", key != ""
		switch rapid.IntRange(0, 9).Draw(r, "kind") {
		case 0:
			p.Due = m.now.Add(time.Duration(rapid.IntRange(1, 3).Draw(r, "due")) * time.Minute)
		case 1:
			p.State = delivery.Dead
		}
		batch, numbers = append(batch, p), append(numbers, m.clock)
	}
	ids, err := m.s.Park(m.t.Context(), batch)
	require.NoError(r, err)
	for i := range batch {
		require.NotZero(r, ids[i])
		batch[i].ID = ids[i]
		m.rows[numbers[i]] = &batch[i]
		if batch[i].State == delivery.Waiting {
			m.onlyFirstDue(batch[i].Lane, numbers[i])
		}
		if rapid.IntRange(0, 9).Draw(r, "keep") == 0 && m.mayTake(&batch[i]) { // a lane may keep what it parked
			m.taken[ids[i]] = numbers[i]
		}
	}
}

// mayTake reports whether a row is what its key waits for.
func (m *model) mayTake(p *delivery.Parked) bool {
	return p.State == delivery.Waiting && p.Due.IsZero() && m.overtaken(p) == nil
}

// onlyFirstDue: of a key only the first that waits for a time does, and what is parked behind anything else does not.
func (m *model) onlyFirstDue(key string, parked int) {
	behind := false
	for _, n := range m.numbers() {
		p := m.rows[n]
		if !p.Ordered || p.Lane != key || p.State != delivery.Waiting {
			continue
		}
		if behind && (parked == 0 || n == parked) {
			p.Due = time.Time{}
		}
		behind = behind || !p.Due.IsZero() || parked > n
		if n == parked {
			return
		}
	}
}

// overtaken returns a row that must go before p and that the lane has not.
func (m *model) overtaken(p *delivery.Parked) *delivery.Parked {
	for n, o := range m.rows {
		_, has := m.taken[o.ID]
		if p.Ordered && o.Ordered && o.Lane == p.Lane && o.State == delivery.Waiting && !has && !m.odd[n] && n < number(p) {
			return o
		}
	}
	return nil
}

func (m *model) resend(r *rapid.T) {
	if len(m.rows) == 0 {
		return
	}
	again := *m.rows[rapid.SampledFrom(m.numbers()).Draw(r, "again")]
	again.Due, again.State = m.now.Add(time.Minute), delivery.Waiting // as it was once, or might have been
	m.clock++
	p := item(m.clock, again.Lane)
	p.Ordered, p.Event.Keyed = again.Ordered, again.Ordered
	ids, err := m.s.Park(m.t.Context(), []delivery.Parked{again, p})
	require.NoError(r, err)
	require.Equal(r, again.ID, ids[0])
	p.ID = ids[1]
	m.rows[m.clock] = &p
}

// late parks a delivery that is older than others of its key: a resend of what was delivered just before a crash, a replay.
func (m *model) late(r *rapid.T) {
	if len(m.gaps) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.gaps)-1).Draw(r, "which")
	n, key := m.gaps[i], rapid.SampledFrom(modelKeys[1:]).Draw(r, "key")
	for _, o := range m.taken {
		if m.rows[o].Lane == key {
			return // what a lane holds it does not park behind
		}
	}
	m.gaps = slices.Delete(m.gaps, i, i+1)
	p := item(n, key)
	ids, err := m.either(r).Park(m.t.Context(), []delivery.Parked{p})
	require.NoError(r, err)
	require.NotZero(r, ids[0])
	p.ID = ids[0]
	m.rows[n] = &p
	for o, row := range m.rows { // they wait for this one now
		if o > n && row.Ordered && row.Lane == key && row.State == delivery.Waiting {
			row.Due = time.Time{}
		}
	}
}

// unstuck checks that no queue waits for nothing.
func (m *model) unstuck(r *rapid.T) {
	var queues []string
	err := m.s.pool.QueryRow(m.t.Context(), m.s.sql(`
SELECT coalesce(array_agg(DISTINCT d.queue), '{}') FROM {{schema}}.delivery d WHERE d.state = 'waiting' AND d.blocked
AND NOT EXISTS (SELECT FROM {{schema}}.delivery o
  WHERE o.endpoint = d.endpoint AND o.queue = d.queue AND o.state = 'waiting' AND NOT o.blocked)`)).Scan(&queues)
	require.NoError(r, err)
	require.Empty(r, queues, "all of them blocked, for ever")
}

func (m *model) numbers() []int {
	var all []int
	for n := range m.rows {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

func (m *model) ids() []int64 {
	var ids []int64
	for id := range m.taken {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (m *model) next(r *rapid.T) {
	m.fetch(r, rapid.IntRange(1, 8).Draw(r, "limit"), rapid.SampledFrom([]int64{1, 300, 1000, 1 << 20}).Draw(r, "size"))
}

func (m *model) fetch(r *rapid.T, limit int, size int64) int {
	rows, more, err := m.s.Next(m.t.Context(), "a", m.ids(), limit, size)
	require.NoError(r, err)
	require.LessOrEqual(r, len(rows), limit)
	for i := range rows {
		n := number(&rows[i])
		want := m.rows[n]
		require.NotNil(r, want, "event %d was settled", n)
		require.NotContains(r, m.taken, want.ID)
		require.Equal(r, delivery.Waiting, want.State)
		require.False(r, want.Due.After(m.now), "event %d is not due", n)
		require.Nil(r, m.overtaken(want), "event %d overtakes", n)
		require.Equal(r, want.ID, rows[i].ID)
		require.Equal(r, want.Attempts, rows[i].Attempts)
		m.taken[want.ID] = n
	}
	if !more {
		m.exhausted(r)
	}
	return len(rows)
}

// exhausted checks that what Next did not return waits for something, and that Backlog says so.
func (m *model) exhausted(r *rapid.T) {
	b, err := m.s.Backlog(m.t.Context(), "a", 10)
	require.NoError(r, err)
	waiting := false
	for _, n := range m.numbers() {
		p := m.rows[n]
		if p.State != delivery.Waiting {
			continue
		}
		waiting = true
		if _, has := m.taken[p.ID]; has {
			continue
		}
		if p.Ordered {
			require.Contains(r, b.Blocked, p.Lane, "event %d is neither in memory nor held back", n)
		} else {
			require.True(r, p.Due.After(m.now), "event %d is forgotten", n)
		}
		if !p.Due.IsZero() {
			require.False(r, b.Due.IsZero() || b.Due.After(p.Due))
		}
	}
	require.Equal(r, waiting, b.Waiting)
}

// heads returns what the lane may attempt: of each key the first it has.
func (m *model) heads() []*delivery.Parked {
	seen := map[string]bool{}
	var heads []*delivery.Parked
	taken := make([]int, 0, len(m.taken))
	for _, n := range m.taken {
		taken = append(taken, n)
	}
	slices.SortFunc(taken, cmp.Compare)
	for _, n := range taken {
		p := m.rows[n]
		if !p.Ordered || !seen[p.Lane] {
			heads = append(heads, p)
		}
		seen[p.Lane] = true
	}
	return heads
}

func (m *model) settle(r *rapid.T) {
	var delivered []int64
	var changed []delivery.Parked
	for _, p := range m.heads() {
		switch rapid.IntRange(0, 5).Draw(r, "outcome") {
		case 0: // still under way
		case 1:
			p.State, p.Due, p.Err = delivery.Dead, time.Time{}, "gave up"
			changed = append(changed, *p)
			delete(m.taken, p.ID)
		case 2:
			p.Due, p.Status = m.now.Add(time.Duration(rapid.IntRange(1, 3).Draw(r, "due"))*time.Minute), 500
			p.Attempts++
			changed = append(changed, *p)
			m.drop(p)
			if p.Ordered {
				m.onlyFirstDue(p.Lane, 0)
			}
		case 3: // kept for its next attempt
			p.Attempts++
			p.Due = time.Time{}
			changed = append(changed, *p)
		default:
			delivered = append(delivered, p.ID)
			delete(m.rows, number(p))
			delete(m.taken, p.ID)
		}
	}
	require.NoError(r, m.s.Settle(m.t.Context(), "a", delivered, changed))
}

// drop forgets a row and those of its key behind it.
func (m *model) drop(p *delivery.Parked) {
	delete(m.taken, p.ID)
	for id, n := range m.taken {
		if o := m.rows[n]; p.Ordered && o.Ordered && o.Lane == p.Lane {
			delete(m.taken, id)
		}
	}
}

func (m *model) giveUp(r *rapid.T) {
	if heads := m.heads(); len(heads) > 0 {
		m.drop(rapid.SampledFrom(heads).Draw(r, "head"))
	}
}

func (m *model) time(r *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(r, "seconds")) * time.Second)
}

func (m *model) retry(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "rare") > 0 {
		return
	}
	_, err := m.either(r).Retry(m.t.Context(), Filter{State: delivery.Dead})
	require.NoError(r, err)
	for n, p := range m.rows {
		if p.State == delivery.Dead {
			p.State, p.Attempts, p.Due, m.odd[n] = delivery.Waiting, 0, time.Time{}, true
		}
	}
}

func (m *model) discard(r *rapid.T) {
	if len(m.rows) == 0 {
		return
	}
	n := rapid.SampledFrom(m.numbers()).Draw(r, "discard")
	id := m.rows[n].ID
	if _, has := m.taken[id]; has {
		return
	}
	count, err := m.either(r).Discard(m.t.Context(), Filter{IDs: []int64{id}})
	require.NoError(r, err)
	require.EqualValues(r, 1, count)
	delete(m.rows, n)
}

// drain delivers everything: nothing may be left behind.
func (m *model) drain(r *rapid.T) {
	m.now = m.now.Add(time.Hour)
	for range 10_000 {
		n := m.fetch(r, 50, 1<<20)
		var delivered []int64
		for _, p := range m.heads() {
			delivered = append(delivered, p.ID)
			delete(m.rows, number(p))
			delete(m.taken, p.ID)
		}
		require.NoError(r, m.s.Settle(m.t.Context(), "a", delivered, nil))
		if n+len(delivered) == 0 {
			break
		}
	}
	for _, p := range m.rows {
		require.Equal(r, delivery.Dead, p.State, "event %s is left", p.Event.ID)
	}
	counts, err := m.s.count(m.t.Context())
	require.NoError(r, err)
	require.Equal(r, Count{Dead: int64(len(m.rows))}, counts["a"])
}
