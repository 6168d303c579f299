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

// listen returns receivers that are closed with the test.
func listen(t *testing.T, cfg receiverConfig) *receiver {
	t.Helper()
	r, err := receive(cfg)
	require.NoError(t, err)
	t.Cleanup(r.close)
	return r
}

func TestConfigure_WritesWhatRelayLoads(t *testing.T) {
	t.Parallel()
	certified, err := newAuthority(t.TempDir())
	require.NoError(t, err)
	b := &bench{options: &options{format: "standard", sign: true}, dir: t.TempDir(), authority: certified}
	c := &contender{system: sysRelay, slot: "s", db: connect(t), scenario: scenario{concurrency: 64, endpoints: 2, tls: true, down: true}}

	path, err := b.configure(c, c.urls("https://127.0.0.1:9"), "127.0.0.1:9187")
	require.NoError(t, err)
	cfg, err := mapping.Load(path)

	require.NoError(t, err)
	require.Len(t, cfg.Endpoints, 3)
	require.Equal(t, 64, cfg.Endpoints[1].Concurrency)
	require.Equal(t, certified.file, cfg.Endpoints[2].TLS.CAFile)
}

func TestReceiver_TellsRepeatedAndDisorderedEvents(t *testing.T) {
	t.Parallel()
	r := listen(t, receiverConfig{endpoints: 1, events: 2000, keys: 1000})

	for _, n := range []int{1000, 0, 0} { // both of one key
		r.note(0, n)
	}

	require.EqualError(t, r.verdict(), "1998 events missing, 1 repeated, 1 out of order")
}

func TestReceiver_TakesRequestsOfNetHTTPAndRefusesThoseOfAnEndpointThatIsDown(t *testing.T) {
	t.Parallel()
	r := listen(t, receiverConfig{endpoints: 2, events: 2, keys: 1})
	post := func(endpoint, event string) int {
		url := r.base() + "/" + endpoint
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"a":1}`))
		require.NoError(t, err)
		req.Header.Set("Webhook-Id", "00000000-0000-4000-8000-00000000000"+event)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}

	for _, event := range []string{"0", "1"} {
		require.Equal(t, http.StatusOK, post("0", event))
		require.Equal(t, http.StatusOK, post("1", event))
		require.Equal(t, http.StatusInternalServerError, post("2", event))
	}

	<-r.done
	require.NoError(t, r.verdict())
	require.Positive(t, elapsed(r.all()))
}

func TestShares_TellWhoWasServedLate(t *testing.T) {
	t.Parallel()
	even := []receipt{{1, 0}, {2, 1}, {3, 0}, {4, 1}, {5, 0}, {6, 1}, {7, 0}, {8, 1}}
	late := []receipt{{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 1}, {6, 1}, {7, 1}, {8, 1}}

	least, most := shares(even, 2)
	require.Equal(t, []float64{1, 1}, []float64{least, most})
	least, most = shares(late, 2)
	require.Equal(t, []float64{0, 2}, []float64{least, most})
}

// TestSystems_DeliverEveryEventOnce runs each system that is part of this program, in clear and over TLS.
func TestSystems_DeliverEveryEventOnce(t *testing.T) {
	t.Parallel()
	certified, err := newAuthority(t.TempDir())
	require.NoError(t, err)
	for name, system := range map[string]struct {
		run    func(context.Context, string) error
		direct bool
		tls    bool
	}{
		"pipe":           {run: runPipe},
		"pipe, https":    {run: runPipe, tls: true},
		"direct":         {run: runPipe, direct: true},
		"direct, https":  {run: runPipe, direct: true, tls: true},
		"polling relay":  {run: runPoller},
		"polling, https": {run: runPoller, tls: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := connect(t)
			require.NoError(t, prepareOutbox(t.Context(), db))
			_, err := db.Exec(t.Context(), "SELECT pg_create_logical_replication_slot(current_database() || '_pipe', 'pgoutput')")
			require.NoError(t, err)
			s := scenario{deliveries: 6000, endpoints: 2, tx: 100, keys: 100, payload: smallPayload}
			require.NoError(t, write(t.Context(), db, s))
			cfg := receiverConfig{endpoints: 2, events: s.rows(), keys: s.keys}
			if system.tls {
				cfg.tls = certified.server
			}
			r := listen(t, cfg)
			r.receipts.disorderly = name[:4] == "poll"
			config, err := json.Marshal(&pipeConfig{
				URL: db.Config().ConnString(), Slot: db.Config().Database + "_pipe", Endpoints: []string{r.base() + "/0", r.base() + "/1"},
				Concurrency: 8, Format: "standard", Direct: system.direct, CA: certified.file,
			})
			require.NoError(t, err)

			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1) // so that it may end when nobody waits
			go func() { ended <- system.run(ctx, string(config)) }()
			select {
			case <-r.done:
			case err := <-ended:
				t.Fatalf("it ended: %v", err)
			case <-time.After(30 * time.Second):
				t.Fatalf("got %d deliveries, want %d", r.received(), s.deliveries)
			}
			stop()

			require.NoError(t, <-ended)
			require.NoError(t, r.verdict())
		})
	}
}
