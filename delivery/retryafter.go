package delivery

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest an endpoint can ask for with Retry-After; longer ones are cut to it.
const MaxRetryAfter = time.Hour

// absurdRetryAfter is what nobody can mean; a longer wait is ignored as a mistake.
const absurdRetryAfter = 366 * 24 * time.Hour

// parseRetryAfter returns the wait that a Retry-After header asks for: whole seconds, or a date in any of HTTP's three
// forms. It is 0 when the header asks for nothing, for the past, or for nonsense.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return sensibleWait(time.Duration(seconds) * time.Second)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return sensibleWait(at.Sub(now))
}

func sensibleWait(d time.Duration) time.Duration {
	if d <= 0 || d > absurdRetryAfter {
		return 0
	}
	return min(d, MaxRetryAfter)
}
