package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/mapping"
)

// memoryParker is a Parker whose table is a slice: the model that the real store is held to as well, usable where time is
// simulated.
type memoryParker struct {
	mu      sync.Mutex
	rows    []Parked
	nextID  int64
	parks   int          // calls
	settles int          // calls
	fail    func() error // asked before every call
	lost    func() error // asked after what Park and Settle do is done: the answer does not arrive
	slow    time.Duration
	reach   int // most rows of a key that Next returns before one is settled; 0: any number
	gone    bool
	trace   func(string, ...any)
	seen    time.Time // when Next was last called
	breaker BreakerStatus
}

func (m *memoryParker) note(format string, args ...any) {
	if m.trace != nil {
		m.trace(format, args...)
	}
}

func (m *memoryParker) enter() error {
	m.mu.Lock()
	slow := m.slow
	m.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow) // simulated time
	}
	m.mu.Lock()
	if m.fail != nil {
		return m.fail()
	}
	return nil
}

// answer is under the mutex.
func (m *memoryParker) answer() error {
	if m.lost == nil {
		return nil
	}
	err := m.lost()
	if err != nil {
		m.note("the answer is lost")
	}
	return err
}

// delay has every later call take a time.
func (m *memoryParker) delay(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slow = d
}

func (m *memoryParker) Park(_ context.Context, items []Parked) ([]int64, error) {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return nil, err
	}
	m.parks++
	ids := make([]int64, len(items))
	for _, it := range items {
		m.note("park %s %s attempts %d due %s", it.Event.ID, it.State, it.Attempts, it.Due.Format("04:05.000"))
	}
	for i, it := range items {
		if there := slices.IndexFunc(m.rows, func(r Parked) bool { return r.Event.Place == it.Event.Place }); there >= 0 {
			ids[i] = m.rows[there].ID
			continue
		}
		m.nextID++
		it.ID = m.nextID
		ids[i] = it.ID
		m.rows = append(m.rows, it)
	}
	m.sort()
	return ids, m.answer()
}

// put has the table hold a row from before the process started, whose first letter is its key.
func (m *memoryParker) put(id string, place mapping.Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nextID++
	m.rows = append(m.rows, Parked{
		ID: m.nextID, Endpoint: "e", Lane: id[:1], Ordered: true, State: Waiting,
		Event: &mapping.Event{ID: id, Type: "t", Key: id[:1], Keyed: true, CommitTime: time.Now(), Place: place},
	})
}

// reconcile is what park.Store.Reconcile does.
func (m *memoryParker) reconcile(p mapping.Position) mapping.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	var places []mapping.Place
	for _, r := range m.rows {
		places = append(places, r.Event.Place)
	}
	return p.With(places)
}

// sort has the rows of a key follow each other by place.
func (m *memoryParker) sort() {
	slices.SortStableFunc(m.rows, func(a, b Parked) int { return a.Event.Place.Compare(b.Event.Place) })
}

func (m *memoryParker) blocked(i int, now time.Time) bool {
	r := m.rows[i]
	if r.Due.After(now) {
		return true
	}
	if m.outOfReach(i) {
		return true
	}
	return r.Ordered && slices.ContainsFunc(m.rows[:i], func(o Parked) bool {
		return o.State == Waiting && o.Ordered && o.Lane == r.Lane && o.Due.After(now)
	})
}

// outOfReach reports whether a row is held back until one before it is settled.
func (m *memoryParker) outOfReach(i int) bool {
	r := m.rows[i]
	if !r.Ordered || m.reach == 0 {
		return false
	}
	ahead := 0
	for _, o := range m.rows[:i] {
		if o.State == Waiting && o.Ordered && o.Lane == r.Lane {
			ahead++
			if !o.Due.IsZero() {
				return true
			}
		}
	}
	return ahead >= m.reach
}

func (m *memoryParker) Next(_ context.Context, _ string, taken []int64, limit int, size int64) ([]Parked, bool, error) {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return nil, false, err
	}
	m.seen = time.Now()
	var out []Parked
	var total int64
	for i, r := range m.rows {
		if len(out) == limit || total >= size {
			break
		}
		if r.State == Waiting && !slices.Contains(taken, r.ID) && !m.blocked(i, time.Now()) {
			r.Size = int64(len(r.Event.Payload))
			total += r.Size
			out = append(out, r)
			m.note("next %d %s", r.ID, r.Event.ID)
		}
	}
	return out, len(out) == limit || total >= size, nil
}

func (m *memoryParker) Settle(_ context.Context, _ string, delivered []int64, changed []Parked) error {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return err
	}
	m.settles++
	m.note("settle delivered %v", delivered)
	for _, c := range changed {
		m.note("settle %d %s %s attempts %d due %s", c.ID, c.Event.ID, c.State, c.Attempts, c.Due.Format("04:05.000"))
	}
	m.rows = slices.DeleteFunc(m.rows, func(r Parked) bool { return slices.Contains(delivered, r.ID) })
	for _, c := range changed {
		if i := slices.IndexFunc(m.rows, func(r Parked) bool { return r.ID == c.ID }); i >= 0 {
			m.rows[i].State, m.rows[i].Due, m.rows[i].Attempts = c.State, c.Due, c.Attempts
			m.rows[i].Err, m.rows[i].Status = c.Err, c.Status
		}
	}
	return m.answer()
}

func (m *memoryParker) Review(_ context.Context, _ string, ids []int64) ([]Parked, error) {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return nil, err
	}
	var out []Parked
	for _, r := range m.rows {
		if r.State == Waiting && slices.Contains(ids, r.ID) {
			out = append(out, Parked{ID: r.ID, Attempts: r.Attempts, Since: r.Since})
		}
	}
	return out, nil
}

// retry gives every waiting delivery its attempts back, as an operator does.
func (m *memoryParker) retry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note("retry all")
	for i := range m.rows {
		if m.rows[i].State == Waiting {
			m.rows[i].Attempts, m.rows[i].Due, m.rows[i].Since = 0, time.Time{}, time.Now()
		}
	}
}

// discard deletes deliveries that wait: those named, or every one.
func (m *memoryParker) discard(only ...string) (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = slices.DeleteFunc(m.rows, func(r Parked) bool {
		if r.State != Waiting || len(only) > 0 && !slices.Contains(only, r.Event.ID) {
			return false
		}
		ids = append(ids, r.Event.ID)
		return true
	})
	m.note("discard %v", ids)
	return ids
}

func (m *memoryParker) SetGone(context.Context, string) error {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return err
	}
	m.gone = true
	return nil
}

func (m *memoryParker) SaveBreaker(_ context.Context, _ string, until time.Time, open time.Duration) error {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return err
	}
	m.breaker = BreakerStatus{RetryAt: until, OpenFor: open}
	return nil
}

func (m *memoryParker) Reorder(_ context.Context, _ string, order mapping.Order) error {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return err
	}
	m.note("reorder %s", order)
	for i := range m.rows {
		m.rows[i].Lane, m.rows[i].Ordered = LaneKey(order, m.rows[i].Event)
	}
	return nil
}

func (m *memoryParker) Backlog(_ context.Context, _ string, limit int) (Backlog, error) {
	defer m.mu.Unlock()
	if err := m.enter(); err != nil {
		return Backlog{}, err
	}
	var b Backlog
	for i, r := range m.rows {
		if r.State != Waiting {
			continue
		}
		b.Waiting = true
		if r.Due.After(m.seen) && (b.Due.IsZero() || r.Due.Before(b.Due)) {
			b.Due = r.Due
		}
		if r.Due.After(m.seen) || m.outOfReach(i) {
			if r.Ordered && len(b.Blocked) <= limit && !slices.Contains(b.Blocked, r.Lane) {
				b.Blocked = append(b.Blocked, r.Lane)
			}
		}
	}
	m.note("backlog %+v", b)
	return b, nil
}

func (m *memoryParker) count(s State) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.rows {
		if r.State == s {
			n++
		}
	}
	return n
}

var _ Parker = (*memoryParker)(nil)

// scriptedSender answers as it is told and records what it was sent, watching that no key is in the air twice.
type scriptedSender struct {
	answer func(id string, attempt int) (Outcome, time.Duration)

	mu       sync.Mutex
	flying   map[string]bool
	attempts map[string]int
	got      []string // IDs, in the order of their first 2xx
	requests [][]string
	twice    int
	broken   []string
	most     int
	keyOf    func(id string) string
	trace    func(string, ...any)
}

func newSender(answer func(string, int) (Outcome, time.Duration)) *scriptedSender {
	return &scriptedSender{
		answer: answer, flying: map[string]bool{}, attempts: map[string]int{},
		keyOf: func(id string) string { return id[:1] },
	}
}

func (s *scriptedSender) Send(ctx context.Context, r *Request) Outcome {
	ids := idsOf(r)
	s.mu.Lock()
	s.requests = append(s.requests, ids)
	keys := map[string]bool{}
	for _, id := range ids {
		s.attempts[id]++
		keys[s.keyOf(id)] = true
	}
	for key := range keys {
		if key != "" && s.flying[key] {
			s.broken = append(s.broken, "two attempts of key "+key+" at once")
		}
		s.flying[key] = true
	}
	s.most = max(s.most, len(s.flying))
	out, delay := s.answer(ids[0], s.attempts[ids[0]])
	if s.trace != nil {
		s.trace("send %v attempt %d: %s after %s", ids, s.attempts[ids[0]], out.Verdict, delay)
	}
	s.mu.Unlock()
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			out = Outcome{Verdict: Aborted, Reason: ReasonAborted}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range keys {
		delete(s.flying, key)
	}
	if out.Verdict == Delivered {
		for _, id := range ids {
			if slices.Contains(s.got, id) {
				s.twice++
			} else {
				s.got = append(s.got, id)
			}
		}
	}
	return out
}

// tried returns how many attempts there were.
func (s *scriptedSender) tried(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts[id]
}

// sent returns the events of each request.
func (s *scriptedSender) sent() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// idsOf returns the events in a request: one, or those of a batch.
func idsOf(r *Request) []string {
	if !strings.HasPrefix(r.ID, "batch_") {
		return []string{r.ID}
	}
	var events []struct{ ID string }
	if err := json.Unmarshal(r.Body.Bytes, &events); err != nil {
		panic(err)
	}
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

func (s *scriptedSender) Close() {}

func (s *scriptedSender) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// account is the Settler of a test: it counts.
type account struct {
	mu           sync.Mutex
	open, closed int
}

func (a *account) Add(n int) { a.mu.Lock(); a.open += n; a.mu.Unlock() }
func (a *account) Settle()   { a.mu.Lock(); a.closed++; a.mu.Unlock() }
func (a *account) left() int { a.mu.Lock(); defer a.mu.Unlock(); return a.open - a.closed }

type bench struct {
	*Dispatcher
	ep     *mapping.Endpoint
	parker *memoryParker
	sender *scriptedSender
	acct   *account
	places uint32
}

func testEndpoint() *mapping.Endpoint {
	return &mapping.Endpoint{
		Name: "e", URL: "http://e.test/", Format: mapping.FormatRaw, Timeout: 15 * time.Second, Concurrency: 4,
		Order: mapping.OrderKey, Batch: mapping.Batch{Events: 1},
		Retry: mapping.Retry{
			Delays: []time.Duration{500 * time.Millisecond, 5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute},
			MaxAge: 96 * time.Hour, Rejected: 3,
		},
		Breaker: mapping.Breaker{
			Failures: 5, Ratio: 0.5, Requests: 20, Window: time.Minute, Open: 15 * time.Second, MaxOpen: 15 * time.Minute, Probes: 1,
		},
	}
}

func startLane(t require.TestingT, ep *mapping.Endpoint, parker *memoryParker, sender *scriptedSender, saved EndpointState) *bench {
	saved.Position = parker.reconcile(saved.Position)
	d, err := NewDispatcher(Config{
		Parker: parker, Window: mapping.Window{Events: 1000, Bytes: 1 << 20}, Hold: 5 * time.Second,
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
		NewSender: func(*mapping.Endpoint) (Sender, error) { return sender, nil },
		Random:    func() float64 { return 0 },
	}, []*mapping.Endpoint{ep}, map[string]EndpointState{ep.Name: saved})
	require.NoError(t, err)
	return &bench{Dispatcher: d, ep: ep, parker: parker, sender: sender, acct: &account{}}
}

// streamed is where the transaction of all events commits that a bench sends: a place as the WAL has them.
const streamed = 0x16B3748

// send dispatches events whose first letter is their key; "-" is no key.
func (b *bench) send(ids ...string) {
	for _, id := range ids {
		b.places++
		ev := &mapping.Event{
			ID: id, Type: "t", Key: id[:1], Keyed: id[0] != '-', Payload: []byte(`{}`), CommitTime: time.Now(),
			Place: mapping.Place{Commit: streamed, Ordinal: b.places},
		}
		b.Dispatch(ev, []mapping.Target{{Endpoint: b.ep}}, 2, b.acct)
	}
}

func (b *bench) stop(t require.TestingT) {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	require.NoError(t, b.Stop(ctx))
	require.Zero(t, b.acct.left(), "settled")
	require.Empty(t, b.sender.broken)
}

var (
	delivered = Outcome{Verdict: Delivered, Reason: ReasonOK, Status: 200}
	failed    = Outcome{Verdict: Failed, Reason: ReasonServer, Status: 503, Err: "503"}
	rejected  = Outcome{Verdict: Rejected, Reason: ReasonRejected, Status: 400, Err: "400"}
)

func always(o Outcome, d time.Duration) func(string, int) (Outcome, time.Duration) {
	return func(string, int) (Outcome, time.Duration) { return o, d }
}

func TestLane_DeliversKeysInOrderAndInParallel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startLane(t, testEndpoint(), &memoryParker{}, newSender(always(delivered, 100*time.Millisecond)), EndpointState{})
		start := time.Now()
		b.send("a1", "a2", "b1", "c1", "a3", "d1", "b2")
		synctest.Wait()
		time.Sleep(310 * time.Millisecond)
		require.Len(t, b.sender.received(), 7)
		requireKeyOrder(t, b.sender.received())
		require.Zero(t, b.parker.nextID, "nothing was parked")
		require.Less(t, time.Since(start), time.Second)
		b.stop(t)
	})
}

func TestLane_BlipStaysInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt == 1 {
				return failed, 0
			}
			return delivered, 0
		})
		b := startLane(t, testEndpoint(), &memoryParker{}, s, EndpointState{})
		b.send("a1", "a2", "b1")
		time.Sleep(time.Second)
		require.Equal(t, []string{"b1", "a1", "a2"}, s.received())
		require.Zero(t, b.parker.nextID, "nothing was parked")
		b.stop(t)
	})
}

func TestLane_ParksAKeyThatWaitsLongAndLetsOthersFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		retry := Outcome{Verdict: Retry, Reason: ReasonClient, Status: 404, Err: "404"}
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt < 4 {
				return retry, 0
			}
			return delivered, 0
		})
		b := startLane(t, testEndpoint(), &memoryParker{}, s, EndpointState{})
		b.send("a1", "a2", "b1")
		time.Sleep(10 * time.Second) // 0, 0.5 s, 5.5 s; the next is in 30 s
		require.Equal(t, 2, b.parker.count(Waiting))
		require.Zero(t, b.acct.left(), "the slot is not held")
		b.send("a3", "b2")
		time.Sleep(time.Second)
		require.Equal(t, []string{"b1", "b2"}, s.received())
		time.Sleep(30 * time.Second)
		require.Equal(t, []string{"b1", "b2", "a1", "a2", "a3"}, s.received())
		require.Zero(t, b.parker.count(Waiting))
		parked := b.parker.nextID
		b.send("a4")
		time.Sleep(time.Second)
		require.Equal(t, "a4", s.received()[5])
		require.Equal(t, parked, b.parker.nextID, "the key is live again")
		b.stop(t)
	})
}

func TestLane_ParksWhenBreakerOpensAndDrainsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(2 * time.Minute)
		s := newSender(func(string, int) (Outcome, time.Duration) {
			if time.Now().Before(up) {
				return failed, time.Millisecond
			}
			return delivered, time.Millisecond
		})
		b := startLane(t, testEndpoint(), &memoryParker{slow: time.Millisecond}, s, EndpointState{})
		var want []string
		for i := range 600 {
			id := fmt.Sprintf("%c%03d", 'a'+i%7, i)
			want = append(want, id)
			b.send(id)
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
		got := s.received()
		require.Len(t, got, len(want))
		requireKeyOrder(t, got)
		require.Zero(t, s.twice)
		require.Less(t, len(s.sent()), len(want)+20, "an open breaker lets only probes through")
		parked := b.parker.nextID
		b.send("a999")
		time.Sleep(time.Second)
		require.Equal(t, parked, b.parker.nextID, "live again")
		b.stop(t)
	})
}

func TestLane_GathersWhatItParksWhileNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(string, int) (Outcome, time.Duration) { return delivered, time.Millisecond })
		ep := testEndpoint()
		ep.Paused = true
		b := startLane(t, ep, &memoryParker{}, s, EndpointState{})
		for i := range 500 {
			b.send(fmt.Sprintf("%c%03d", 'a'+i%7, i))
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(parkLinger)
		require.Equal(t, 500, b.parker.count(Waiting))
		require.LessOrEqual(t, b.parker.parks, 11, "one transaction in a tenth of a second")
		require.Zero(t, b.acct.left(), "parked is settled")
		for i := range 1000/16 + 1 {
			b.send(fmt.Sprintf("%c%03d", 'a'+i%7, 500+i))
		}
		synctest.Wait()
		require.Zero(t, b.acct.left(), "a good part of the window does not wait for company")
		b.stop(t)
	})
}

func TestLane_GathersWhatItParksWhileTheEndpointHangsToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hanging := Outcome{Verdict: Failed, Reason: ReasonTimeout, Err: "timeout"}
		s := newSender(func(string, int) (Outcome, time.Duration) { return hanging, time.Hour }) // no breaker opens meanwhile
		b := startLane(t, testEndpoint(), &memoryParker{}, s, EndpointState{})
		const before = drainAhead + 100 // more than it takes back into memory
		for i := range before {
			b.send(fmt.Sprintf("%c%03d", 'a'+i%7, i))
		}
		time.Sleep(6 * time.Second) // longer than hold
		parks := b.parker.parks
		for i := range 500 {
			b.send(fmt.Sprintf("%c%03d", 'a'+i%7, before+i))
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(parkLinger)
		require.Equal(t, before+500, b.parker.count(Waiting))
		require.LessOrEqual(t, b.parker.parks-parks, 11, "one transaction in a tenth of a second")
		require.Zero(t, b.acct.left(), "parked is settled")
		b.Abandon()
	})
}

// A key that waits for the row of its dead letter is not kept waiting for company.
func TestLane_WritesAtOnceWhatAKeyWaitsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(id string, _ int) (Outcome, time.Duration) {
			if strings.HasSuffix(id, "0") {
				return rejected, 0
			}
			return delivered, 0
		})
		ep := testEndpoint()
		ep.Retry.Rejected = 1
		b := startLane(t, ep, &memoryParker{}, s, EndpointState{})
		began := time.Now()
		b.send("a0", "a1")
		synctest.Wait()
		require.Equal(t, []string{"a1"}, s.received())
		require.Zero(t, time.Since(began))
		require.Equal(t, 1, b.parker.count(Dead))
		b.stop(t)
	})
}

// heldUp is a Parker that writes nothing for one endpoint, whose rows an operator's command has locked.
type heldUp struct{ *memoryParker }

func (h heldUp) Park(ctx context.Context, items []Parked) ([]int64, error) {
	if items[0].Endpoint == "locked" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.memoryParker.Park(ctx, items)
}

func TestLane_ThatCannotWriteKeepsNoOtherFromWriting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender := newSender(always(delivered, 0))
		locked, other := testEndpoint(), testEndpoint()
		locked.Name, locked.Paused, other.Paused, other.Index = "locked", true, true, 1
		d, err := NewDispatcher(Config{
			Parker: heldUp{&memoryParker{}}, Window: mapping.Window{Events: 1000, Bytes: 1 << 20}, Hold: 5 * time.Second,
			Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
			NewSender: func(*mapping.Endpoint) (Sender, error) { return sender, nil },
		}, []*mapping.Endpoint{locked, other}, nil)
		require.NoError(t, err)
		send := func(ep *mapping.Endpoint, n uint32, acct *account) {
			ev := &mapping.Event{ID: fmt.Sprint(n), Type: "t", Payload: []byte(`{}`), CommitTime: time.Now(), Place: mapping.Place{Commit: 1, Ordinal: n}}
			d.Dispatch(ev, []mapping.Target{{Endpoint: ep}}, 2, acct)
		}
		stuck, free := &account{}, &account{}
		send(locked, 1, stuck)
		time.Sleep(time.Second)
		send(other, 2, free)
		time.Sleep(3 * time.Second)
		require.Zero(t, free.left(), "the slot is held no longer than source.hold")
		require.Equal(t, 1, stuck.left())
		d.Abandon()
	})
}

// TestLane_SaysWhenItHasAllTheWorkItCanUse is about the reader's rest: it ends before the window is full, and is over in time.
func TestLane_SaysWhenItHasAllTheWorkItCanUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*mapping.Endpoint)
		keys   int
		size   int
		want   int // events after which the reader rests; 0: it does not
	}{
		"many keys":           {keys: 26, want: satedQueue},
		"few keys":            {keys: 3},
		"much concurrency":    {change: func(e *mapping.Endpoint) { e.Concurrency = 24 }, keys: 26},
		"strict order":        {change: func(e *mapping.Endpoint) { e.Order = mapping.OrderStrict }, keys: 3, want: satedQueue},
		"large events":        {keys: 26, size: 64 << 10, want: satedBytes / (64 << 10)},
		"all goes to a table": {change: func(e *mapping.Endpoint) { e.Paused = true }, keys: 3, want: satedQueue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ep, sender := testEndpoint(), newSender(always(delivered, time.Second))
				if c.change != nil {
					c.change(ep)
				}
				d, err := NewDispatcher(Config{
					Parker: &memoryParker{slow: time.Second}, Window: mapping.Window{Events: 20000, Bytes: 1 << 30}, Hold: time.Hour,
					Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
					NewSender: func(*mapping.Endpoint) (Sender, error) { return sender, nil },
				}, []*mapping.Endpoint{ep}, nil)
				require.NoError(t, err)
				time.Sleep(5 * time.Second) // it looks at its table
				acct, rest := &account{}, 0
				for i := range 6000 {
					ev := &mapping.Event{
						ID: fmt.Sprintf("%c%d", 'a'+i%c.keys, i), Type: "t", Key: string(rune('a' + i%c.keys)), Keyed: true,
						Payload: make([]byte, c.size), CommitTime: time.Now(), Place: mapping.Place{Commit: 1, Ordinal: uint32(i + 1)},
					}
					d.Dispatch(ev, []mapping.Target{{Endpoint: ep}}, c.size, acct)
					if d.Room() != nil {
						rest = i + 1
						break
					}
				}
				require.InDelta(t, c.want, rest, 0.02*float64(c.want)+1)
				if room := d.Room(); room != nil {
					<-room
					require.LessOrEqual(t, d.Window(), int64(c.want*3/4+1))
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_ = d.Stop(ctx)
			})
		})
	}
}

func requireKeyOrder(t require.TestingT, got []string) {
	last := map[byte]string{}
	for _, id := range got {
		require.Less(t, last[id[0]], id, "order of key %c", id[0])
		last[id[0]] = id
	}
}

func TestLane_HangingEndpointHoldsTheSlotNoLongerThanHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		timeout := Outcome{Verdict: Failed, Reason: ReasonTimeout, Err: "timeout"}
		hang := true
		s := newSender(func(string, int) (Outcome, time.Duration) {
			if hang {
				return timeout, 15 * time.Second
			}
			return delivered, 0
		})
		b := startLane(t, testEndpoint(), &memoryParker{}, s, EndpointState{})
		for i := range 40 {
			b.send(fmt.Sprintf("%c%03d", 'a'+i%9, i))
		}
		time.Sleep(6 * time.Second)
		require.Zero(t, b.acct.left(), "hold is over, the slot is free")
		s.mu.Lock()
		hang = false
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		require.Len(t, s.received(), 40)
		requireKeyOrder(t, s.received())
		require.Zero(t, b.parker.count(Waiting))
		b.stop(t)
	})
}

func TestLane_RejectedDeliveriesBecomeDeadLettersAndTheKeyGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(id string, _ int) (Outcome, time.Duration) {
			if id == "a1" {
				return rejected, 0
			}
			return delivered, 0
		})
		b := startLane(t, testEndpoint(), &memoryParker{}, s, EndpointState{})
		b.send("a1", "a2")
		time.Sleep(time.Minute)
		require.Equal(t, 3, s.tried("a1"))
		require.Equal(t, []string{"a2"}, s.received())
		require.Equal(t, 1, b.parker.count(Dead))
		require.Zero(t, b.parker.count(Waiting))
		b.stop(t)
	})
}

func TestLane_EventWithAProblemIsDeadAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startLane(t, testEndpoint(), &memoryParker{}, newSender(always(delivered, 0)), EndpointState{})
		b.Dispatch(&mapping.Event{ID: "a.1", Problem: "id has a dot", CommitTime: time.Now(), Place: mapping.Place{Commit: 1}},
			[]mapping.Target{{Endpoint: b.ep}}, 2, b.acct)
		b.Dispatch(&mapping.Event{ID: "a2", CommitTime: time.Now(), Place: mapping.Place{Commit: 1, Ordinal: 1}},
			[]mapping.Target{{Endpoint: b.ep, Err: errors.New("where: no such key")}}, 2, b.acct)
		time.Sleep(time.Second)
		require.Equal(t, 2, b.parker.count(Dead))
		require.Empty(t, b.sender.received())
		b.stop(t)
	})
}

func TestLane_GoneEndpointIsPausedUntilResumed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := true
		s := newSender(func(string, int) (Outcome, time.Duration) {
			if gone {
				return Outcome{Verdict: Gone, Reason: ReasonGone, Status: 410, Err: "410"}, 0
			}
			return delivered, 0
		})
		b := startLane(t, testEndpoint(), &memoryParker{}, s, EndpointState{})
		b.send("a1")
		time.Sleep(time.Second)
		b.send("a2", "b1")
		time.Sleep(time.Hour)
		require.True(t, b.parker.gone)
		require.Equal(t, 3, b.parker.count(Waiting))
		require.Equal(t, 1, s.tried("a1"))
		s.mu.Lock()
		gone = false
		s.mu.Unlock()
		b.Notify("e", EndpointState{})
		time.Sleep(time.Second)
		require.Len(t, s.received(), 3)
		requireKeyOrder(t, s.received())
		b.stop(t)
	})
}

func TestLane_ThrottledEndpointRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rest time.Time
		s := newSender(nil)
		s.answer = func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt == 1 {
				rest = time.Now().Add(3 * time.Second)
				return Outcome{Verdict: Throttled, Reason: ReasonThrottled, Status: 429, RetryAfter: 3 * time.Second}, 0
			}
			if time.Now().Before(rest) {
				s.broken = append(s.broken, "attempt while throttled")
			}
			return delivered, 0
		}
		b := startLane(t, testEndpoint(), &memoryParker{}, s, EndpointState{})
		b.send("a1")
		time.Sleep(10 * time.Millisecond)
		b.send("b1", "a2")
		time.Sleep(4 * time.Second)
		require.Len(t, s.received(), 3)
		require.Zero(t, b.parker.nextID)
		b.stop(t)
	})
}

func TestLane_DrainsOnceWhatTheStreamBringsAgainAfterACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker := &memoryParker{}
		s := newSender(always(delivered, 0))
		ids := []string{"a1", "b1", "a2", "a3"}
		for i, id := range ids { // committed to the table, and then the process was killed before it saved a position
			parker.put(id, mapping.Place{Commit: streamed, Ordinal: uint32(i + 1)})
		}
		b := startLane(t, testEndpoint(), parker, s, EndpointState{})
		time.Sleep(time.Second)
		require.Len(t, s.received(), 4)
		b.send(append(ids, "a4")...)
		time.Sleep(time.Second)
		require.Len(t, s.received(), 5)
		require.Zero(t, s.twice)
		b.stop(t)
	})
}

// A soft stop knows of what was parked before a kill, is drained and has yet to come again, also if the stream brought nothing
// before it, so that a kill before a soft stop repeats no more than a kill alone.
func TestLane_StopRemembersWhatTheStreamHasYetToBringAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker := &memoryParker{}
		s := newSender(always(delivered, 0))
		ids := []string{"a1", "b1", "a2", "a3", "c1"}
		for i, id := range ids { // committed to the table, and then the process was killed before it saved a position
			parker.put(id, mapping.Place{Commit: streamed, Ordinal: uint32(i + 1)})
		}
		state := EndpointState{}
		for brought := range 3 {
			b := startLane(t, testEndpoint(), parker, s, state)
			time.Sleep(time.Second)
			b.send(ids[:brought]...)
			b.stop(t)
			state.Position = b.Positions()["e"]
			require.Len(t, state.Position.Beyond, len(ids)-brought)
		}
		require.Len(t, s.received(), len(ids))
		b := startLane(t, testEndpoint(), parker, s, state)
		b.send(append(ids, "a4")...)
		time.Sleep(time.Second)
		require.Len(t, s.received(), len(ids)+1)
		require.Zero(t, s.twice)
		require.Empty(t, b.Positions()["e"].Beyond)
		require.Empty(t, b.beyond())
		b.stop(t)
	})
}

// Of the places that were open when the process before was killed, those that are settled now are not open any more, although
// the stream is not past the position yet.
func TestLane_StopsBeforeItIsPastThePositionItBeganWith(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := func(n uint32) mapping.Place { return mapping.Place{Commit: streamed, Ordinal: n} }
		parker := &memoryParker{}
		parker.put("d1", at(4))
		s := newSender(always(delivered, 0))
		began := mapping.Position{Mark: at(6), Open: []mapping.Place{at(1), at(3), at(4), at(5)}}
		b := startLane(t, testEndpoint(), parker, s, EndpointState{Position: began})
		time.Sleep(time.Second)
		b.send("a1", "b1")
		time.Sleep(time.Second)
		b.stop(t)
		saved := b.Positions()["e"]
		require.Equal(t, mapping.Position{Mark: at(6), Open: []mapping.Place{at(3), at(5)}}, saved)
		require.ElementsMatch(t, []string{"d1", "a1"}, s.received())

		b = startLane(t, testEndpoint(), parker, s, EndpointState{Position: saved})
		b.send("a1", "b1", "c1", "d1", "e1", "f1")
		time.Sleep(time.Second)
		require.ElementsMatch(t, []string{"d1", "a1", "c1", "e1", "f1"}, s.received())
		require.Zero(t, s.twice)
		b.stop(t)
	})
}

// What an endpoint no longer subscribes to is never brought to its lane, and not remembered for ever.
func TestLane_ForgetsWhatTheStreamHasPassedWithoutBringingIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker := &memoryParker{}
		for n := range uint32(3) {
			parker.put("a1", mapping.Place{Commit: streamed, Ordinal: n + 1})
		}
		b := startLane(t, testEndpoint(), parker, newSender(always(delivered, 0)), EndpointState{})
		time.Sleep(time.Second)
		b.Passed(mapping.Place{Commit: streamed, Ordinal: 3})
		require.Equal(t, []mapping.Place{{Commit: streamed, Ordinal: 3}}, b.Positions()["e"].Beyond)
		require.Len(t, b.beyond(), 1)
		b.stop(t)
	})
}

// An endpoint that comes back has what was parked when it was taken out.
func TestLane_OfAnEndpointThatComesBackTakesOnceWhatTheStreamHasYetToBring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker := &memoryParker{}
		s := newSender(always(delivered, 0))
		b := startLane(t, testEndpoint(), parker, s, EndpointState{})
		b.send("a001")
		time.Sleep(time.Second)
		_, err := b.Reload(nil, nil)
		require.NoError(t, err)
		time.Sleep(time.Second)
		for n := range uint32(10) {
			parker.put(fmt.Sprintf("b%03d", n), mapping.Place{Commit: streamed, Ordinal: 2 + n})
		}
		b.Passed(mapping.Place{Commit: streamed, Ordinal: 10})
		_, err = b.Reload([]*mapping.Endpoint{b.ep}, map[string]EndpointState{"e": {Position: parker.reconcile(mapping.Position{})}})
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Len(t, s.received(), 11)
		require.Len(t, b.Positions()["e"].Beyond, 2, "of those the stream has yet to bring")
		b.places = 9
		b.send("b008", "b009", "b010")
		time.Sleep(time.Second)
		require.Len(t, s.received(), 12)
		require.Zero(t, s.twice)
		b.stop(t)
	})
}

// beyond returns what the lane of the endpoint still remembers from before it.
func (b *bench) beyond() []mapping.Place {
	l := (*b.lanes.Load())[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.earlier.Beyond
}

// An endpoint whose breaker was open when the relay was stopped, and would have let a probe go meanwhile, is probed with what is
// parked: perhaps nothing new comes for days.
func TestLane_ProbesWithWhatIsParkedWhereTheBreakerIsDueAtTheStart(t *testing.T) {
	t.Parallel()
	parker := &memoryParker{}
	parker.put("a1", mapping.Place{Commit: streamed, Ordinal: 1})
	saved := BreakerStatus{State: BreakerOpen, RetryAt: time.Now().Add(-time.Hour), OpenFor: time.Minute}
	b := startLane(t, testEndpoint(), parker, newSender(always(delivered, 0)), EndpointState{Breaker: saved})
	require.Eventually(t, func() bool { return len(b.sender.received()) == 1 }, 20*time.Second, time.Millisecond) // simulated time does not pass while a lane is made
	b.stop(t)
}

func TestLane_RateLimitsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		ep.Rate = 10
		b := startLane(t, ep, &memoryParker{}, newSender(always(delivered, 300*time.Millisecond)), EndpointState{})
		for i := range 20 {
			b.send(fmt.Sprintf("%c1", 'a'+i))
		}
		time.Sleep(1050 * time.Millisecond)
		n := len(b.sender.sent())
		require.InDelta(t, 11, n, 1)
		time.Sleep(2 * time.Second)
		require.Len(t, b.sender.received(), 20)
		b.stop(t)
	})
}

func TestLane_StopParksWhatIsLeftAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parker := &memoryParker{}
		s := newSender(always(delivered, 10*time.Second))
		b := startLane(t, testEndpoint(), parker, s, EndpointState{})
		b.send("a1", "a2", "b1", "c1", "d1", "e1")
		time.Sleep(time.Second)
		pos := b.Positions()["e"]
		require.Len(t, pos.Open, 6)
		b.stop(t)
		require.Len(t, s.received(), 4, "what was in the air has landed")
		require.Equal(t, 2, parker.count(Waiting))
		require.Empty(t, b.Positions()["e"].Open)

		again := startLane(t, testEndpoint(), parker, s, EndpointState{Position: b.Positions()["e"]})
		again.send("a1", "a2", "b1", "c1", "d1", "e1", "a3") // the slot fell back
		time.Sleep(time.Minute)
		require.Len(t, s.received(), 7)
		require.Zero(t, s.twice)
		requireKeyOrder(t, s.received())
		again.stop(t)
	})
}

func inBatches(ep *mapping.Endpoint, n int) {
	ep.Format = mapping.FormatCloudEventsBatch
	ep.Batch = mapping.Batch{Events: n, Bytes: 1 << 20}
}

func TestLane_FillsBatchesInOrderAndResendsAFailedOneWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		inBatches(ep, 3)
		ep.Concurrency = 1
		ep.Batch.Wait = 100 * time.Millisecond
		s := newSender(func(id string, attempt int) (Outcome, time.Duration) {
			if id == "a1" && attempt == 1 {
				return failed, 0
			}
			return delivered, time.Millisecond
		})
		b := startLane(t, ep, &memoryParker{}, s, EndpointState{})
		b.send("a1", "a2")
		time.Sleep(50 * time.Millisecond)
		require.Empty(t, s.sent(), "a batch waits to fill")
		b.send("b1", "a3", "b2")
		time.Sleep(2 * time.Second)
		require.Equal(t, [][]string{{"a1", "a2", "a3"}, {"b1", "b2"}, {"a1", "a2", "a3"}}, s.sent())
		require.Zero(t, b.parker.nextID)
		b.stop(t)
	})
}

func TestLane_ParksAllOfABatchThatFailsDuringTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		inBatches(ep, 4)
		ep.Concurrency, ep.Batch.Wait = 1, time.Millisecond
		parker := &memoryParker{}
		b := startLane(t, ep, parker, newSender(always(failed, 50*time.Millisecond)), EndpointState{})
		b.send("a1", "a2", "a3", "a4")
		time.Sleep(10 * time.Millisecond)
		b.stop(t)
		require.Equal(t, 4, parker.count(Waiting))
	})
}

func TestLane_KeepsBatchesToTheirBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		inBatches(ep, 100)
		ep.Batch.Bytes = 500
		ep.Batch.Wait = time.Millisecond
		s := newSender(always(delivered, 0))
		b := startLane(t, ep, &memoryParker{}, s, EndpointState{})
		for i := range 20 {
			b.send(fmt.Sprintf("%c%03d", 'a'+i%3, i))
		}
		time.Sleep(time.Second)
		require.Len(t, s.received(), 20)
		requireKeyOrder(t, s.received())
		require.Greater(t, len(s.sent()), 5)
		require.Less(t, len(s.sent()), 20)
		b.stop(t)
	})
}

func TestLane_RejectedBatchLeavesADeadLetterForEachEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := testEndpoint()
		inBatches(ep, 10)
		ep.Batch.Wait = 10 * time.Millisecond
		s := newSender(always(rejected, 0))
		b := startLane(t, ep, &memoryParker{}, s, EndpointState{})
		b.send("a1", "a2", "b1", "-1", "-2")
		time.Sleep(time.Minute)
		require.Equal(t, 5, b.parker.count(Dead))
		require.Equal(t, 3, len(s.sent()))
		b.stop(t)
	})
}

// TestLane_KeepsItsPromiseUnderRandomSchedules throws random outcomes, delays, table failures, pauses and restarts at
// a lane and holds it to the contract: nothing lost, order per key, nothing twice, the slot never held long, settled once.
func TestLane_KeepsItsPromiseUnderRandomSchedules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		runSchedule(t, rt)
	})
}

func runSchedule(t *testing.T, rt *rapid.T) {
	n := rapid.IntRange(1, 60).Draw(rt, "events")
	keys := rapid.IntRange(1, 6).Draw(rt, "keys")
	order := rapid.SampledFrom([]mapping.Order{mapping.OrderKey, mapping.OrderKey, mapping.OrderStrict, mapping.OrderNone}).Draw(rt, "order")
	seed := rapid.Uint64().Draw(rt, "seed")
	badness := rapid.IntRange(0, 60).Draw(rt, "percent bad")
	tableBadness := rapid.IntRange(0, 30).Draw(rt, "percent table errors")
	tableLoss := rapid.SampledFrom([]int{0, 0, 15}).Draw(rt, "percent answers lost")
	slow := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 300 * time.Millisecond}).Draw(rt, "table latency")
	reach := rapid.SampledFrom([]int{0, 1, 3}).Draw(rt, "reach")
	gap := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 200 * time.Millisecond, 2 * time.Second}).Draw(rt, "gap")
	restarts := rapid.IntRange(0, 2).Draw(rt, "restarts")
	conc := rapid.IntRange(1, 5).Draw(rt, "concurrency")
	batch := rapid.SampledFrom([]int{1, 1, 4}).Draw(rt, "batch")
	operator := rapid.SampledFrom([]int{0, 0, 15}).Draw(rt, "percent operator")
	reloads := rapid.SampledFrom([]int{0, 0, 15}).Draw(rt, "percent reloads")
	var dice sync.Mutex // thrown by sender, table and test
	rnd := seed
	throw := func() int {
		dice.Lock()
		defer dice.Unlock()
		rnd = rnd*6364136223846793005 + 1442695040888963407
		return int(rnd >> 33)
	}
	roll := func(percent int) bool { return throw()%100 < percent }
	var mended atomic.Bool // the table
	var fault string
	synctest.Test(t, func(t *testing.T) {
		ft := &faults{}
		ep := testEndpoint()
		ep.Order, ep.Concurrency = order, conc
		if batch > 1 {
			inBatches(ep, batch)
		}
		parker := &memoryParker{slow: slow, reach: reach, fail: func() error {
			if !mended.Load() && roll(tableBadness) {
				return errors.New("table fault")
			}
			return nil
		}, lost: func() error {
			if !mended.Load() && roll(tableLoss) {
				return errors.New("lost answer")
			}
			return nil
		}}
		bad := []Outcome{failed, failed, {Verdict: Retry, Reason: ReasonClient, Status: 404}, {Verdict: Throttled, Reason: ReasonThrottled, RetryAfter: 2 * time.Second}, {Verdict: Failed, Reason: ReasonTimeout, Err: "timeout"}}
		s := newSender(nil)
		s.answer = func(_ string, attempt int) (Outcome, time.Duration) {
			d := time.Duration(0)
			if roll(30) {
				d = 50 * time.Millisecond
			}
			if roll(5) {
				d = 9 * time.Second
			}
			if attempt < 4 && roll(badness) {
				return bad[throw()%len(bad)], d
			}
			return delivered, d
		}
		parker.trace = ft.trace
		s.trace = ft.trace
		if order == mapping.OrderNone {
			s.keyOf = func(string) string { return "" }
		}
		b := startLane(ft, ep, parker, s, EndpointState{})
		var ids, discarded []string
		per := max(1, n/(restarts+1))
		for i := range n {
			id := fmt.Sprintf("%c%03d", 'a'+int(seed>>8+uint64(i)*7)%keys, i)
			ids = append(ids, id)
			ft.trace("event %s", id)
			b.send(id)
			if gap > 0 && roll(50) {
				time.Sleep(gap)
			}
			if roll(operator) {
				if roll(50) {
					parker.retry()
				} else {
					discarded = append(discarded, parker.discard()...)
				}
				b.Notify("e", EndpointState{})
			}
			if roll(reloads) {
				switch throw() % 4 {
				case 0:
					ft.trace("pause")
					b.Notify("e", EndpointState{Paused: true})
				case 1:
					ft.trace("resume")
					b.Notify("e", EndpointState{})
				default:
					if order != mapping.OrderNone {
						order = []mapping.Order{mapping.OrderKey, mapping.OrderStrict}[throw()%2]
						ft.trace("order %s", order)
						b.reorder(order)
						ep = b.ep
					}
				}
			}
			if restarts > 0 && i%per == per-1 {
				restarts--
				ft.trace("restart")
				b.stop(ft)
				saved := EndpointState{Position: b.Positions()["e"], Breaker: parker.breaker}
				if !saved.Breaker.RetryAt.IsZero() {
					saved.Breaker.State = BreakerOpen
				}
				last := b.places
				b = startLane(ft, ep, parker, s, saved)
				b.places = last
			}
		}
		mended.Store(true)
		b.Notify("e", EndpointState{})
		time.Sleep(40 * time.Second)
		if b.acct.left() > 0 && badness == 0 {
			ft.Errorf("%d events hold the slot", b.acct.left())
		}
		time.Sleep(6 * time.Hour)
		got := s.received()
		given := slices.DeleteFunc(discarded, func(id string) bool { return slices.Contains(got, id) }) // it was in the air
		if len(got)+parker.count(Dead)+len(given) < len(ids) {
			ft.Errorf("lost: %d of %d received, %d dead, %d waiting, %d discarded", len(got), len(ids), parker.count(Dead), parker.count(Waiting), len(given))
		}
		if parker.count(Waiting) > 0 {
			ft.Errorf("%d left waiting", parker.count(Waiting))
		}
		if s.twice > 0 {
			ft.Errorf("%d delivered twice", s.twice)
		}
		switch {
		case order == mapping.OrderNone:
		case order == mapping.OrderKey || reloads > 0:
			requireKeyOrder(ft, got)
		default:
			if s.most > 1 && batch == 1 || !slices.IsSortedFunc(got, func(a, b string) int { return slices.Index(ids, a) - slices.Index(ids, b) }) {
				ft.Errorf("strict order broken: %v", got)
			}
		}
		b.stop(ft)
		if fault = ft.text; fault != "" {
			fault += "\n" + strings.Join(ft.lines, "\n")
		}
	})
	if fault != "" {
		rt.Fatalf("%s", fault)
	}
}

// faults is a TestingT that collects, so that a bubble ends before rapid is told.
type faults struct {
	text string

	mu    sync.Mutex
	lines []string
}

func (f *faults) trace(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

func (f *faults) Errorf(format string, args ...any) {
	if f.text == "" {
		f.text = fmt.Sprintf(format, args...)
	}
}
func (f *faults) FailNow() {}
