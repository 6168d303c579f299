package cdc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/internal/pgtemp/pgtest"
)

const patience = 30 * time.Second

// recorder is a consumer that keeps what it is handed. Unless it holds, each row is settled at once.
type recorder struct {
	mu       sync.Mutex
	rows     []*cdc.Row
	commits  []cdc.LSN
	hold     bool
	held     []*cdc.Tx
	room     chan struct{}     // not nil: full
	fullAt   int               // full once this many rows came; 0: never
	refusals int               // rows still to be refused
	before   func(n int) error // not nil: may refuse row n, counted from 1
	changed  chan struct{}     // capacity 1
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{}, 1)} }

func (r *recorder) Room() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fullAt > 0 && len(r.rows) >= r.fullAt && r.room == nil {
		r.room = make(chan struct{})
	}
	return r.room
}

func (r *recorder) Row(row *cdc.Row) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusals > 0 {
		r.refusals--
		return fmt.Errorf("not this one")
	}
	if r.before != nil {
		if err := r.before(len(r.rows) + 1); err != nil {
			return err
		}
	}
	row.Tx.Add(1)
	if r.hold {
		r.held = append(r.held, row.Tx)
	} else {
		row.Tx.Settle()
	}
	r.rows = append(r.rows, row)
	r.signal()
	return nil
}

func (r *recorder) Commit(end cdc.LSN) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits = append(r.commits, end)
	r.signal()
}

func (r *recorder) signal() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// release settles what is held, and holds no more.
func (r *recorder) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tx := range r.held {
		tx.Settle()
	}
	r.held, r.hold = nil, false
}

// makeRoom takes the limit away.
func (r *recorder) makeRoom() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fullAt = 0
	if r.room != nil {
		close(r.room)
		r.room = nil
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rows)
}

// wait returns the rows when there are n of them.
func (r *recorder) wait(t *testing.T, n int) []*cdc.Row {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		rows := slices.Clone(r.rows)
		r.mu.Unlock()
		if len(rows) >= n {
			return rows
		}
		select {
		case <-r.changed:
		case <-deadline:
			require.FailNow(t, "rows missing", "got %d, want %d", len(rows), n)
		}
	}
}

// waitCommits waits until the end of n transactions was read too, which comes after their rows.
func (r *recorder) waitCommits(t *testing.T, n int) {
	t.Helper()
	eventually(t, "commits", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.commits) >= n
	})
}

// column returns the text of a column of each row.
func column(t *testing.T, rows []*cdc.Row, name string) []string {
	t.Helper()
	values := make([]string, len(rows))
	for i, row := range rows {
		at := row.Table.Column(name)
		require.GreaterOrEqual(t, at, 0, "column %s of %s", name, row.Table)
		values[i] = string(row.Values[at])
	}
	return values
}

// requireOnceInOrder is the invariant check: the keys 1 to n came once each, in commit order.
func requireOnceInOrder(t *testing.T, rows []*cdc.Row, n int) {
	t.Helper()
	got := column(t, rows, "key")
	require.Len(t, got, n)
	for i, key := range got {
		require.Equal(t, fmt.Sprint(i+1), key, "row %d", i)
		if i > 0 {
			require.True(t, rows[i-1].Place.Before(rows[i].Place), "%s before %s", rows[i-1].Place, rows[i].Place)
		}
	}
}

var slots atomic.Int64

// system is a database with an outbox, a publication and a slot.
type system struct {
	t    *testing.T
	src  cdc.Source
	conn *pgx.Conn // the application's
}

func setup(t *testing.T, url string) *system {
	t.Helper()
	src := cdc.Source{
		URL: url, Slot: fmt.Sprintf("slot_%d_%d", os.Getpid(), slots.Add(1)), Publication: "relay", Schema: "relay",
		Tables: []cdc.SourceTable{{Name: "public.outbox"}},
	}
	_, err := cdc.Setup(t.Context(), src)
	require.NoError(t, err)
	return &system{t: t, src: src, conn: dial(t, url)}
}

func fresh(t *testing.T) *system {
	t.Helper()
	return setup(t, pgtest.Database(t))
}

func dial(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (s *system) exec(sql string, args ...any) {
	s.t.Helper()
	_, err := s.conn.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
}

// write inserts the keys from to to, in one transaction.
func (s *system) write(from, to int) {
	s.t.Helper()
	s.exec(`INSERT INTO outbox (type, key, payload) SELECT 'order.created', n, '{}' FROM generate_series($1::int, $2::int) n`, from, to)
}

func (s *system) lsn(sql string) cdc.LSN {
	s.t.Helper()
	var text string
	require.NoError(s.t, s.conn.QueryRow(s.t.Context(), sql).Scan(&text))
	lsn, err := pglogrepl.ParseLSN(text)
	require.NoError(s.t, err)
	return lsn
}

func (s *system) confirmed() cdc.LSN {
	s.t.Helper()
	return s.lsn(`SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '` + s.src.Slot + `'`)
}

func (s *system) walEnd() cdc.LSN {
	s.t.Helper()
	return s.lsn(`SELECT pg_current_wal_lsn()::text`)
}

// seen is what the server knows of the session that streams from the slot.
type seen struct {
	sent, written cdc.LSN
	replied       time.Time // by the stream's clock
}

func (s *system) seen() (now seen) {
	s.t.Helper()
	err := s.conn.QueryRow(s.t.Context(), `SELECT coalesce(sent_lsn, '0/0')::text, coalesce(write_lsn, '0/0')::text, coalesce(reply_time, 'epoch')
	  FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE slot_name = $1`, s.src.Slot).Scan(&now.sent, &now.written, &now.replied)
	if !errors.Is(err, pgx.ErrNoRows) { // the zero value, while nobody streams
		require.NoError(s.t, err)
	}
	return now
}

// repliedFor waits until the session that streams from the slot has replied for so long.
func (s *system) repliedFor(d time.Duration) {
	s.t.Helper()
	began := time.Now()
	eventually(s.t, "replies", func() bool { return s.seen().replied.Sub(began) > d })
}

// streaming is a stream that runs.
type streaming struct {
	*cdc.Stream
	*recorder
	t    *testing.T
	mark *cdc.Watermark
	stop func() error // ends the stream and returns what Run returned; may be called more than once
}

func (s *system) config() cdc.StreamConfig {
	return cdc.StreamConfig{
		URL: s.src.URL, Slot: s.src.Slot, Publication: s.src.Publication, Tables: []string{"public.outbox"}, Messages: s.src.Messages,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func (s *system) stream(change func(*cdc.StreamConfig, *recorder)) *streaming {
	s.t.Helper()
	cfg, rec, mark := s.config(), newRecorder(), cdc.NewWatermark(0)
	if change != nil {
		change(&cfg, rec)
	}
	stream := cdc.NewStream(cfg, mark, rec)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- stream.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	s.t.Cleanup(func() { _ = stop() })
	return &streaming{Stream: stream, recorder: rec, t: s.t, mark: mark, stop: stop}
}

// logbook is what a stream has logged.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// lines returns those with the text.
func (b *logbook) lines(text string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// until waits for the state.
func (s *streaming) until(state cdc.StreamState) cdc.StreamStatus {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.Status().State == state }, patience, 5*time.Millisecond, "state %s", state)
	return s.Status()
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, 10*time.Millisecond, what)
}
