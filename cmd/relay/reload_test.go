package main

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

// reload asks for one and returns the status and what is said.
func (r *running) reload() (int, string) {
	r.t.Helper()
	resp, err := http.Post(r.Admin()+"/-/reload", "", nil)
	require.NoError(r.t, err)
	defer resp.Body.Close() //nolint:errcheck // a test's answer
	body, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, string(body)
}

func TestReload_IsRefusedOnceRelayStopsSoThatNothingBeginsThen(t *testing.T) {
	t.Parallel()
	slow := deliverytest.New(t, func(deliverytest.Receipt) deliverytest.Answer { return deliverytest.Answer{Delay: 3 * time.Second} })
	other := deliverytest.New(t, nil)
	r := startRelay(t, "  slow: {url: \""+slow.URL+"\"}\n")
	r.exec(r.Conn, `INSERT INTO outbox (type, payload) VALUES ('t', '1')`)
	slow.Wait(t, 1) // an attempt is under way, for which relay waits
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	r.logs("msg=stopping")
	r.amend("  slow:", "  other: {url: \""+other.URL+"\"}\n  slow:")
	r.eventually(func() bool { return !strings.Contains(r.get("/readyz"), "streaming") }, "it stops reading")
	status, said := r.reload()
	require.Equal(t, http.StatusUnprocessableEntity, status, said)
	require.Contains(t, said, "the relay is stopping")
	<-r.done
	require.Zero(t, r.cmd.ProcessState.ExitCode())
	require.NotContains(t, r.Log(), "endpoint other added")
}

// inside is a sidecar in this process, for what happens between two steps of it. Nothing runs yet.
func (r *running) inside() *sidecar {
	r.t.Helper()
	cfg, err := mapping.Load(r.Config)
	require.NoError(r.t, err)
	s, err := newSidecar(cfg, r.Config, newLogger("text", slog.LevelDebug, &r.log))
	require.NoError(r.t, err)
	s.level = new(slog.LevelVar)
	r.t.Cleanup(s.store.Close)
	return s
}

// begun is a tenure that was prepared, or why it was not.
type begun struct {
	*tenure
	err error
}

// beginning begins a tenure of the sidecar.
func (r *running) beginning(s *sidecar) <-chan begun {
	r.t.Helper()
	done := make(chan begun, 1) // 1: its only value
	go func() {
		t, err := s.begin(r.t.Context())
		done <- begun{t, err}
	}()
	return done
}

// end gives up what a tenure that does not run has begun.
func (b *begun) end() {
	_ = b.abandon(nil) // its error is for the next tenure
	b.lease.Load().Release()
}

func lanesOf(t *tenure) (names []string) {
	for _, l := range t.dispatcher.Status() {
		names = append(names, l.Name)
	}
	return names
}

func TestReload_IsTakenInByATenureThatIsBeingPrepared(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  one: {url: \"http://127.0.0.1:1\"}\n")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	s := r.inside()
	conn := r.connect()
	r.exec(conn, `BEGIN`)
	r.exec(conn, `LOCK TABLE relay.endpoint`)
	done := r.beginning(s)
	r.eventually(func() bool { _, why := s.ready(); return why == "beginning" }, "it has the lock, and is not ready")
	ok, _ := s.ready()
	require.False(t, ok)
	r.eventually(func() bool {
		return r.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
	}, "it waits for the table")
	r.amend("  one:", "  two: {url: \"http://127.0.0.1:2\"}\n  one:")
	require.NoError(t, s.reload(t.Context()))
	r.exec(conn, `ROLLBACK`)
	b := <-done
	require.NoError(t, b.err)
	defer b.end()
	require.Equal(t, []string{"two", "one"}, lanesOf(b.tenure))

	// And between the preparing and the moment when reloads go to the tenure.
	r.amend("  one:", "  three: {url: \"http://127.0.0.1:3\"}\n  one:")
	require.NoError(t, s.reload(t.Context()))
	s.enter(b.tenure)
	require.Equal(t, []string{"two", "three", "one"}, lanesOf(b.tenure))
	require.Empty(t, s.refusal())
}

func TestReload_ThatATenureCannotTakeInIsToldAsRefusedAndTriedAgain(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  one: {url: \"http://127.0.0.1:1\"}\n")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	s := r.inside()
	b := <-r.beginning(s)
	require.NoError(t, b.err)
	defer b.end()
	was := s.cfg.Load()
	r.amend("  one:", "  two: {url: \"http://127.0.0.1:2\"}\n  one:")
	require.NoError(t, s.reload(t.Context()))
	r.exec(r.Conn, `ALTER TABLE relay.endpoint RENAME TO away`)
	s.enter(b.tenure)
	require.Contains(t, s.refusal(), "endpoint", "the watcher reads the file again until it is taken")
	require.Same(t, was, s.cfg.Load(), "what is in use")
	r.exec(r.Conn, `ALTER TABLE relay.away RENAME TO endpoint`)
	require.NoError(t, s.reload(t.Context()))
	require.Equal(t, []string{"two", "one"}, lanesOf(b.tenure))
	require.Empty(t, s.refusal())
}

func TestWatch_NoticesAnEditFromBeforeItBegan(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  one: {url: \"http://127.0.0.1:1\"}\n")
	s := r.inside()
	r.amend("127.0.0.1:1\"", "127.0.0.1:2\"")
	go s.watch(t.Context())
	r.eventually(func() bool { return strings.HasSuffix(s.cfg.Load().Endpoint("one").URL, ":2") }, "the edit is taken")
}
