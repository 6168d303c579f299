package park

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// benchmarkStore is on a cluster that syncs, as a real one does.
func benchmarkStore(b *testing.B) *Store {
	b.Helper()
	c := pgtest.Cluster(b, pgtemp.Options{Settings: map[string]string{"fsync": "on"}})
	url, err := c.CreateDatabase(b.Context(), "bench")
	require.NoError(b, err)
	return open(b, url)
}

// load is n events of 300 bytes, in turn of so many keys.
func load(from, n, keys int) []delivery.Parked {
	out := make([]delivery.Parked, n)
	for i := range out {
		out[i] = item(from+i, fmt.Sprint("customer-", (from+i)%keys))
		out[i].Event.Payload = fmt.Appendf(nil, `{"n": %d, "text": "%0280d"}`, from+i, 0)
		out[i].Event.Values[3] = out[i].Event.Payload
	}
	return out
}

func BenchmarkPark(b *testing.B) {
	for _, keys := range []int{1, 1000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s := benchmarkStore(b)
			n := 0
			for b.Loop() {
				b.StopTimer()
				rows := load(n+1, 1000, keys)
				n += len(rows)
				b.StartTimer()
				park(b, s, rows...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkDrain reads and settles as a lane does: half of what it may hold at a time.
func BenchmarkDrain(b *testing.B) {
	const total, ahead = 50_000, 512
	for _, keys := range []int{1, 1000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s := benchmarkStore(b)
			drained := 0
			var busy time.Duration
			for b.Loop() {
				b.StopTimer()
				for from := 0; from < total; from += 1000 {
					park(b, s, load(1+drained+from, 1000, keys)...)
				}
				b.StartTimer()
				start := time.Now()
				var taken []int64
				for left := total; left > 0; {
					_, rows := next(b, s, taken, ahead-len(taken))
					taken = append(taken, idsOf(rows)...)
					n := min(len(taken), ahead/2)
					require.NotZero(b, n)
					settle(b, s, taken[:n])
					taken, left = taken[n:], left-n
				}
				busy += time.Since(start)
				drained += total
			}
			b.ReportMetric(float64(drained)/busy.Seconds(), "events/s")
		})
	}
}
