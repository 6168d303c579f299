package campaign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Row is a committed row of the outbox.
type Row struct {
	ID    ID
	Type  string
	Key   string
	Keyed bool
}

// Interval is a time around something broken: what was delivered in it may come again once it broke, at Start.
type Interval struct {
	Start    time.Time
	From, To time.Time
	What     string
}

// explains reports whether an event taken at one time may come again at another.
func (i Interval) explains(taken, again time.Time) bool {
	return !taken.Before(i.From) && !taken.After(i.To) && !again.Before(i.Start)
}

// Slack of an Interval around a kill of the relay. Positions are saved each second and a save takes its time on a busy
// machine, so what was delivered in the two seconds before may come again; and a request that was in a socket when its
// sender died is still read by the endpoint.
const (
	slackBefore = 2 * time.Second
	slackAfter  = time.Second

	// After the database was away the relay needs its connections, the drain's lock and a save before it is as before.
	slackDatabase = 5 * time.Second
)

// Subscription is what an endpoint is to receive.
type Subscription struct {
	*Endpoint
	Match func(Row) bool // nil: everything
	May   func(Row) bool // what it may receive besides, because it was written while the configuration changed; nil: nothing
	Late  func(ID) bool  // was a dead letter once, and came when it was retried: out of order; nil: none

	Unordered bool // it asks for no order: any event may overtake any other
}

func (s *Subscription) must(r Row) bool { return s.Match == nil || s.Match(r) }
func (s *Subscription) may(r Row) bool  { return s.must(r) || s.May != nil && s.May(r) }

// Summary is what an oracle saw at one endpoint.
type Summary struct {
	Endpoint   string
	Committed  int // events it is subscribed to
	Received   int // of them, answered 2xx
	Waiting    int // parked
	Dead       int
	Requests   int
	Duplicates int // requests for an event that was answered 2xx before
}

// String returns one line.
func (s Summary) String() string {
	return fmt.Sprintf("%s: %d committed, %d received, %d waiting, %d dead, %d requests, %d duplicates",
		s.Endpoint, s.Committed, s.Received, s.Waiting, s.Dead, s.Requests, s.Duplicates)
}

// Truth is what the database says: the rows that were committed and what is parked.
type Truth struct {
	Rows   map[ID]Row
	Order  []ID // by writer and number
	Parked map[string]map[ID]string
}

// ReadTruth reads the outbox, from which nothing was deleted, and what is parked.
func ReadTruth(ctx context.Context, url string) (*Truth, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	t := &Truth{Rows: map[ID]Row{}, Parked: map[string]map[ID]string{}}
	found, err := conn.Query(ctx, `SELECT id::text, type, key FROM outbox ORDER BY id`)
	if err != nil {
		return nil, err
	}
	var text, kind string
	var key *string
	_, err = pgx.ForEachRow(found, []any{&text, &kind, &key}, func() error {
		id, err := ParseID(text)
		r := Row{ID: id, Type: kind, Keyed: key != nil}
		if r.Keyed {
			r.Key = *key
		}
		t.Rows[id] = r
		t.Order = append(t.Order, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	found, err = conn.Query(ctx, `SELECT endpoint, event_id, state FROM relay.parked`)
	if err != nil {
		return nil, err
	}
	var endpoint, state string
	_, err = pgx.ForEachRow(found, []any{&endpoint, &text, &state}, func() error {
		id, err := ParseID(text)
		if t.Parked[endpoint] == nil {
			t.Parked[endpoint] = map[ID]string{}
		}
		if was, twice := t.Parked[endpoint][id]; twice {
			return fmt.Errorf("event %s is parked twice for endpoint %s, %s and %s", id, endpoint, was, state)
		}
		t.Parked[endpoint][id] = state
		return err
	})
	return t, err
}

// when tells of an event that came, or did not.
func when(j *journal) string {
	if j == nil {
		return ", which never came"
	}
	return fmt.Sprintf(", which first came at %s, and was last taken at %s", j.came.Format(stamp), j.at.Format(stamp))
}

// journal is what happened to one event at one endpoint.
type journal struct {
	arrived  int64     // first
	came     time.Time // first
	batch    int64     // in which it first arrived
	answered int64     // first 2xx; 0: none
	at       time.Time // of the last 2xx

	batches map[int64]int64 // when it arrived in each
}

// ahead reports whether the event stood before another in the batch in which that first arrived.
func (j *journal) ahead(other *journal) bool {
	at, together := j.batches[other.batch]
	return together && at < other.arrived
}

// findings collects what is wrong, and not more of it than one can read.
type findings struct {
	errs []error
	more int
}

func (f *findings) add(format string, args ...any) {
	if len(f.errs) == 20 {
		f.more++
		return
	}
	f.errs = append(f.errs, fmt.Errorf(format, args...))
}

func (f *findings) err() error {
	if f.more > 0 {
		f.errs = append(f.errs, fmt.Errorf("and %d more", f.more))
	}
	return errors.Join(f.errs...)
}

// Judge compares an endpoint's receipts with the truth. broken are the times in which delivering an event and forgetting
// about it was permitted.
func (t *Truth) Judge(s *Subscription, broken []Interval) (Summary, error) {
	receipts, err := s.Receipts()
	if err != nil {
		return Summary{Endpoint: s.Name}, fmt.Errorf("endpoint %s was sent something odd: %w", s.Name, err)
	}
	var f findings
	sum := Summary{Endpoint: s.Name, Requests: len(receipts)}
	journals := make(map[ID]*journal, len(t.Rows))
	slices.SortFunc(receipts, func(a, b Receipt) int { return int(a.Arrived - b.Arrived) })
	for _, r := range receipts {
		t.enter(s, r, journals, broken, &sum, &f)
	}
	t.complete(s, journals, &sum, &f)
	t.ordered(s, journals, &f)
	return sum, f.err()
}

// enter takes one receipt down: of a committed row, for this endpoint, and not delivered before.
func (t *Truth) enter(s *Subscription, r Receipt, journals map[ID]*journal, broken []Interval, sum *Summary, f *findings) {
	row, committed := t.Rows[r.ID]
	switch {
	case !committed:
		f.add("endpoint %s got event %s, which was never committed", s.Name, r.ID)
		return
	case !s.may(row):
		f.add("endpoint %s got event %s (%s), to which it is not subscribed", s.Name, r.ID, row.Type)
		return
	}
	j := journals[r.ID]
	if j == nil {
		j = &journal{arrived: r.Arrived, batch: r.Batch, came: r.At}
		journals[r.ID] = j
	}
	if r.Batch != 0 {
		if j.batches == nil {
			j.batches = make(map[int64]int64)
		}
		j.batches[r.Batch] = r.Arrived
	}
	if j.answered != 0 && j.answered < r.Arrived {
		sum.Duplicates++
		if !slices.ContainsFunc(broken, func(i Interval) bool { return i.explains(j.at, r.At) }) {
			f.add("endpoint %s got event %s again at %s, which it took at %s, when nothing was broken",
				s.Name, r.ID, r.At.Format(stamp), j.at.Format(stamp))
		}
	}
	if r.Answered != 0 {
		j.at = r.At
		if j.answered == 0 || r.Answered < j.answered {
			j.answered = r.Answered
		}
	}
}

const stamp = "15:04:05.000"

// complete checks that each event was taken or is parked.
func (t *Truth) complete(s *Subscription, journals map[ID]*journal, sum *Summary, f *findings) {
	for id, state := range t.Parked[s.Name] {
		if _, committed := t.Rows[id]; !committed {
			f.add("event %s is parked for endpoint %s and was never committed", id, s.Name)
		}
		if state == "dead" {
			sum.Dead++
		} else {
			sum.Waiting++
		}
	}
	for _, id := range t.Order {
		if !s.must(t.Rows[id]) {
			continue
		}
		sum.Committed++
		if j := journals[id]; j != nil && j.answered != 0 {
			sum.Received++
		} else if _, parked := t.Parked[s.Name][id]; !parked {
			f.add("event %s (%s, key %s) is lost: endpoint %s did not take it and it is not parked",
				id, t.Rows[id].Type, t.Rows[id].Key, s.Name)
		}
	}
}

// ordered checks that no event of a key was sent before the earlier ones were taken, or dead.
func (t *Truth) ordered(s *Subscription, journals map[ID]*journal, f *findings) {
	if s.Unordered {
		return
	}
	type last struct {
		id       ID
		answered int64
	}
	keys := map[string]last{}
	for _, id := range t.Order {
		row := t.Rows[id]
		if !row.Keyed || !s.may(row) || s.Late != nil && s.Late(id) {
			continue
		}
		j := journals[id]
		if j != nil {
			before := keys[row.Key]
			if earlier := journals[before.id]; before.answered > j.arrived && (earlier == nil || !earlier.ahead(j)) {
				f.add("endpoint %s got event %s of key %s at %s, before it took the earlier %s%s",
					s.Name, id, row.Key, j.came.Format(stamp), before.id, when(journals[before.id]))
			}
		}
		switch {
		case t.Parked[s.Name][id] == "dead":
		case j != nil && j.answered != 0:
			if j.answered > keys[row.Key].answered {
				keys[row.Key] = last{id, j.answered}
			}
		case s.must(row):
			keys[row.Key] = last{id, 1 << 62} // not taken yet: nothing later may have come
		}
	}
}
