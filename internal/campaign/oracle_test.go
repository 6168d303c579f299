package campaign

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The oracle has to see each kind of breach, or its silence means nothing.
func TestOracle_SeesEveryKindOfBreach(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, b, c := NewID(1, 1), NewID(1, 2), NewID(1, 3)
	truth := func() *Truth {
		return &Truth{
			Rows: map[ID]Row{
				a: {ID: a, Type: "t", Key: "k", Keyed: true}, b: {ID: b, Type: "t", Key: "k", Keyed: true}, c: {ID: c, Type: "t"},
			},
			Order: []ID{a, b, c}, Parked: map[string]map[ID]string{"e": {}},
		}
	}
	took := func(id ID, arrived, answered int64) Receipt {
		return Receipt{ID: id, Arrived: arrived, Answered: answered, At: now}
	}
	batched := func(batch int64, r Receipt) Receipt {
		r.Batch = batch
		return r
	}
	cases := map[string]struct {
		receipts []Receipt
		parked   map[ID]string
		broken   []Interval
		want     string
	}{
		"all is well":          {receipts: []Receipt{took(a, 1, 2), took(b, 3, 4), took(c, 5, 6)}},
		"retried, then taken":  {receipts: []Receipt{took(a, 1, 0), took(a, 2, 3), took(b, 4, 5), took(c, 6, 7)}},
		"parked":               {receipts: []Receipt{took(a, 1, 2), took(c, 5, 6)}, parked: map[ID]string{b: "waiting"}},
		"dead, then the later": {receipts: []Receipt{took(a, 1, 0), took(b, 3, 4), took(c, 5, 6)}, parked: map[ID]string{a: "dead"}},
		"lost":                 {receipts: []Receipt{took(a, 1, 2), took(b, 3, 0), took(c, 5, 6)}, want: "is lost"},
		"reordered":            {receipts: []Receipt{took(b, 1, 2), took(a, 3, 4), took(c, 5, 6)}, want: "before it took the earlier"},
		"sent too early":       {receipts: []Receipt{took(a, 1, 4), took(b, 3, 5), took(c, 6, 7)}, want: "before it took the earlier"},
		"overtook a parked one": {
			receipts: []Receipt{took(b, 1, 2), took(c, 5, 6)}, parked: map[ID]string{a: "waiting"}, want: "before it took the earlier",
		},
		"a batch": {receipts: []Receipt{
			batched(1, took(a, 2, 0)), batched(1, took(b, 3, 0)), batched(4, took(a, 5, 7)), batched(4, took(b, 6, 8)), took(c, 9, 10),
		}},
		"a batch reordered": {
			receipts: []Receipt{batched(1, took(b, 2, 4)), batched(1, took(a, 3, 5)), took(c, 6, 7)}, want: "before it took the earlier",
		},
		"a batch sent too early": {
			receipts: []Receipt{batched(1, took(a, 2, 5)), batched(3, took(b, 4, 6)), took(c, 7, 8)}, want: "before it took the earlier",
		},
		"rolled back": {receipts: []Receipt{took(a, 1, 2), took(b, 3, 4), took(c, 5, 6), took(NewID(2, 1), 7, 8)}, want: "never committed"},
		"duplicate":   {receipts: []Receipt{took(a, 1, 2), took(a, 3, 4), took(b, 5, 6), took(c, 7, 8)}, want: "when nothing was broken"},
		"duplicate after a crash": {
			receipts: []Receipt{took(a, 1, 2), took(a, 3, 4), took(b, 5, 6), took(c, 7, 8)},
			broken:   []Interval{{From: now.Add(-time.Second), To: now.Add(time.Second)}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			truth := truth()
			if c.parked != nil {
				truth.Parked["e"] = c.parked
			}
			s := &Subscription{Endpoint: &Endpoint{Name: "e", receipts: c.receipts}}
			_, err := truth.Judge(s, c.broken)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}
