package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	db, err := pgx.Connect(t.Context(), pgtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(context.Background())) })
	return db
}

func TestConfigure_WritesWhatRelayLoads(t *testing.T) {
	t.Parallel()
	b := &bench{options: &options{format: "standard", sign: true}, dir: t.TempDir()}
	c := &contender{system: "relay", slot: "s", db: connect(t), scenario: scenario{concurrency: 64, endpoints: 2}}

	path, err := b.configure(c, []string{"http://127.0.0.1:9/0", "http://127.0.0.1:9/1"})
	require.NoError(t, err)
	cfg, err := mapping.Load(path)

	require.NoError(t, err)
	require.Len(t, cfg.Endpoints, 2)
	require.Equal(t, 64, cfg.Endpoints[1].Concurrency)
}

func TestReceiver_TellsRepeatedAndDisorderedEvents(t *testing.T) {
	t.Parallel()
	r, err := receive(0, 1, 2*keys)
	require.NoError(t, err)
	defer r.close()

	for _, n := range []int{keys, 0, 0} { // both of one key
		r.note(0, n)
	}

	require.EqualError(t, r.verdict(), "1998 events missing, 1 repeated, 1 out of order")
}

func TestReceiver_TakesRequestsOfNetHTTP(t *testing.T) {
	t.Parallel()
	r, err := receive(0, 2, 2)
	require.NoError(t, err)
	defer r.close()
	for _, id := range []string{"00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000001"} {
		for endpoint := range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url(endpoint), strings.NewReader(`{"a":1}`))
			require.NoError(t, err)
			req.Header.Set("Webhook-Id", id)
			resp, err := http.DefaultTransport.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, drainBody(resp.Body))
		}
	}

	<-r.done
	require.NoError(t, r.verdict())
	first, last := r.span()
	require.True(t, first.Before(last))
}

func TestPipe_DeliversEveryEventOnceAndInKeyOrder(t *testing.T) {
	t.Parallel()
	const events = 3 * keys
	db := connect(t)
	_, err := db.Exec(t.Context(), createOutbox+"; CREATE PUBLICATION "+publication+" FOR TABLE outbox WITH (publish = 'insert')")
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), "SELECT pg_create_logical_replication_slot('pipe', 'pgoutput')")
	require.NoError(t, err)
	require.NoError(t, write(t.Context(), db, 0, events, 100))
	r, err := receive(0, 2, events)
	require.NoError(t, err)
	defer r.close()
	config, err := json.Marshal(&pipeConfig{
		URL: db.Config().ConnString(), Slot: "pipe", Endpoints: []string{r.url(0), r.url(1)}, Concurrency: 8, Format: "standard",
	})
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1) // so that the pipe may end when nobody waits
	go func() { ended <- runPipe(ctx, string(config)) }()
	select {
	case <-r.done:
	case err := <-ended:
		t.Fatalf("the pipe ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatalf("got %d deliveries, want %d", r.received(), 2*events)
	}
	stop()

	require.NoError(t, <-ended)
	require.NoError(t, r.verdict())
}
