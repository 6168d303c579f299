package mapping_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// byTheLibrary is what the standard library makes of Postgres's form, and the commit time where it makes nothing of it.
func byTheLibrary(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05.999999999Z07", text)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return commit
	}
	return t.UTC()
}

func TestEventTime_IsWhatTheStandardLibraryReads(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", "  a: {url: http://h}")
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	rapid.Check(t, func(rt *rapid.T) {
		at := time.Unix(rapid.Int64Range(first.Unix(), last.Unix()).Draw(rt, "seconds"), 0).UTC()
		at = at.Add(time.Duration(rapid.IntRange(0, 999_999).Draw(rt, "micros")) * time.Microsecond)
		text := []byte(at.Format("2006-01-02 15:04:05.999999") + "+00")
		if rapid.Bool().Draw(rt, "damaged") {
			// Only characters with which no other of the accepted forms can come about.
			text[rapid.IntRange(0, len(text)-4).Draw(rt, "place")] = rapid.SampledFrom([]byte("0123456789.x;/")).Draw(rt, "character")
		}

		ev := event(t, r, row(outbox(), "1", "t", null, "{}", null, string(text), null))

		require.Equal(rt, byTheLibrary(string(text)), ev.Time, "%s", text)
	})
}
