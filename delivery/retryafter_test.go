package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseRetryAfter_TakesSecondsAndAllThreeDateForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                0,
		"120":                             2 * time.Minute,
		" 120\t":                          2 * time.Minute,
		"0":                               0,
		"-1":                              0,
		"+5":                              0,
		"1.5":                             0,
		"1e3":                             0,
		"5s":                              0,
		"soon":                            0,
		"3600":                            time.Hour,
		"86400":                           MaxRetryAfter,
		"4294967295":                      0, // 136 years
		"99999999999999999999":            0,
		"Mon, 23 Nov 2026 20:01:00 GMT":   time.Minute,
		"Monday, 23-Nov-26 20:01:00 GMT":  time.Minute,
		"Mon Nov 23 20:01:00 2026":        time.Minute,
		"Mon, 23 Nov 2026 19:59:59 GMT":   0,
		"Tue, 24 Nov 2026 20:00:00 GMT":   MaxRetryAfter,
		"Thu, 01 Jan 9999 00:00:00 GMT":   0,
		"Mon, 23 Nov 2026 20:01:00 +0100": 0,
		"2026-11-23T20:01:00Z":            0,
	} {
		require.Equal(t, want, parseRetryAfter(value, now), "Retry-After: %s", value)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	for _, s := range []string{"1", "-1", "99999999999", now.Format(http.TimeFormat), now.Format(time.RFC850), now.Format(time.ANSIC)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		d := parseRetryAfter(value, now)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, MaxRetryAfter)
	})
}
