package delivery

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/mapping"
)

func TestDelay_LengthensTheScheduleOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := mapping.Retry{Delays: rapid.SliceOfN(rapid.Map(rapid.Int64Range(1e8, 1e15), func(n int64) time.Duration {
			return time.Duration(n)
		}), 0, 12).Draw(t, "delays")}
		attempts := rapid.IntRange(0, 14).Draw(t, "attempts")
		hint := time.Duration(rapid.Int64Range(0, int64(MaxRetryAfter)).Draw(t, "hint"))
		random := rapid.Float64Range(0, 0.999999).Draw(t, "random")
		d, ok := Delay(r, attempts, hint, func() float64 { return random })
		require.Equal(t, attempts >= 1 && attempts <= len(r.Delays), ok)
		if !ok {
			return
		}
		scheduled := r.Delays[attempts-1]
		require.GreaterOrEqual(t, d, max(scheduled, hint))
		require.LessOrEqual(t, float64(d), max(float64(scheduled)*(1+Jitter), float64(hint)))
	})
}
