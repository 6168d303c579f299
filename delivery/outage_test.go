package delivery

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// logBook keeps what is logged, at info level, as a healthy relay is run.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSuffix(b.text.String(), "\n"), "\n")
}

// outageLog delivers an event of a new key each second for as long as given to an endpoint that answers as told, and returns
// what was logged.
func outageLog(t *testing.T, seconds int, breaker func(*mapping.Breaker), well func(second int) bool) []string {
	t.Helper()
	book, began := &logBook{}, time.Now()
	sender := newSender(func(string, int) (Outcome, time.Duration) {
		if well(int(time.Since(began) / time.Second)) {
			return delivered, 10 * time.Millisecond
		}
		return failed, 10 * time.Millisecond
	})
	ep, parker := testEndpoint(), &memoryParker{}
	breaker(&ep.Breaker)
	d, err := NewDispatcher(Config{
		Parker: parker, Window: mapping.Window{Events: 1000, Bytes: 1 << 20}, Hold: 5 * time.Second,
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(book, nil)),
		NewSender: func(*mapping.Endpoint) (Sender, error) { return sender, nil },
	}, []*mapping.Endpoint{ep}, nil)
	require.NoError(t, err)
	b := &bench{Dispatcher: d, ep: ep, parker: parker, sender: sender, acct: &account{}}
	for i := range seconds {
		b.send(fmt.Sprintf("%c%d", 'a'+i%26, i))
		time.Sleep(time.Second) // of the bubble
	}
	require.Greater(t, len(sender.received()), 10, "it was used")
	b.stop(t)
	return book.lines()
}

func TestLog_IsSilentWhileAnEndpointIsWell(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines := outageLog(t, 600, func(*mapping.Breaker) {}, func(int) bool { return true })
		require.Equal(t, []string{""}, lines)
	})
}

func TestLog_HasALineForTheBeginningAndOneForTheEndOfAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines := outageLog(t, 1500, func(b *mapping.Breaker) { b.MaxOpen = time.Minute },
			func(second int) bool { return second < 30 || second > 1200 })
		require.Len(t, lines, 2, strings.Join(lines, "\n"))
		require.Contains(t, lines[0], `level=WARN msg="endpoint breaker opened" endpoint=e reason=http_5xx err=503`)
		require.Contains(t, lines[1], `level=INFO msg="endpoint recovered" endpoint=e openings=1 duration=`)
	})
}

func TestLog_SaysOnceThatAnEndpointFlaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines := outageLog(t, 3600, func(b *mapping.Breaker) { b.Failures, b.Open, b.MaxOpen = 2, time.Second, 2*time.Second },
			func(second int) bool { return second/20%2 == 0 || second > 3000 })
		require.Len(t, lines, 4, strings.Join(lines, "\n"))
		require.Contains(t, lines[0], "endpoint breaker opened")
		require.Contains(t, lines[1], "endpoint recovered")
		require.Contains(t, lines[2], "endpoint breaker opened again, silent until it stays closed")
		require.Contains(t, lines[3], "endpoint recovered")
		require.NotContains(t, lines[3], "openings=1 ")
	})
}

func TestLog_SaysAtTheStartThatABreakerIsOpenFromBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		book := &logBook{}
		var o outage
		log := slog.New(slog.NewTextHandler(book, nil))
		o.opened(time.Now(), log, "e", lastError{}, time.Now().Add(time.Minute))
		require.Contains(t, book.lines()[0], "is open from before the start")
	})
}

func TestOutage_ThatBeganBeforeTheStartHasNoDuration(t *testing.T) {
	t.Parallel()
	book, o := &logBook{}, outage{}
	log := slog.New(slog.NewTextHandler(book, nil))
	o.recovered(time.Now(), log, "e")
	require.Len(t, book.lines(), 1)
	require.NotContains(t, book.lines()[0], "duration")
	o.opened(time.Now(), log, "e", lastError{at: time.Now()}, time.Time{})
	require.Contains(t, book.lines()[1], "opened again")
}
