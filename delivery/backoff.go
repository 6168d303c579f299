package delivery

import (
	"time"

	"relay/mapping"
)

// Jitter is the most that a delay is lengthened, as a share of it. It only ever lengthens: a retry is never early.
const Jitter = 0.2

// Delay returns how long to wait after the given number of attempts, the last of which just failed, and false when the
// schedule has no further attempt. It is the schedule's delay with up to 20 % jitter on top, or the endpoint's own
// Retry-After where that is longer. random returns numbers in [0,1), as rand.Float64 does.
func Delay(r mapping.Retry, attempts int, hint time.Duration, random func() float64) (time.Duration, bool) {
	if attempts < 1 || attempts > len(r.Delays) {
		return 0, false
	}
	d := r.Delays[attempts-1]
	d += time.Duration(float64(d) * Jitter * random())
	return max(d, hint), true
}
