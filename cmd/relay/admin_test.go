package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/delivery/park"
	"relay/mapping"
)

func adminHandler(t *testing.T, change func(*adminConfig)) http.Handler {
	t.Helper()
	registry := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_up", Help: "Up."})
	registry.MustRegister(up)
	cfg := adminConfig{
		Ready: func() (bool, string) { return true, "streaming" },
		Status: func(context.Context) relayStatus {
			return relayStatus{Version: "1", Ready: true, Endpoints: []endpointStatus{{Name: "billing"}}}
		},
		Reload: func(context.Context) error { return nil },
		Gather: registry,
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	a := &admin{cfg: cfg, loopback: true}
	return a.handler()
}

func ask(h http.Handler, method, path string, set ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:9187"
	for _, f := range set {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func body(text string) func(*http.Request) {
	return func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(text)) }
}

func TestAdmin_AnswersProbesMetricsAndStatus(t *testing.T) {
	t.Parallel()
	h := adminHandler(t, nil)
	require.Equal(t, http.StatusOK, ask(h, "GET", "/healthz").Code)
	require.Equal(t, "ready: streaming\n", ask(h, "GET", "/readyz").Body.String())
	require.Contains(t, ask(h, "GET", "/metrics").Body.String(), "relay_up 0")
	var status relayStatus
	require.NoError(t, json.Unmarshal(ask(h, "GET", "/api/v1/status").Body.Bytes(), &status))
	require.Equal(t, "1", status.Version)
	var endpoints []endpointStatus
	require.NoError(t, json.Unmarshal(ask(h, "GET", "/api/v1/endpoints").Body.Bytes(), &endpoints))
	require.Equal(t, "billing", endpoints[0].Name)
	require.Equal(t, http.StatusMethodNotAllowed, ask(h, "GET", "/-/reload").Code)
	require.Equal(t, http.StatusNotFound, ask(h, "GET", "/").Code)
}

func TestAdmin_ReadyzSaysWhyNot(t *testing.T) {
	t.Parallel()
	h := adminHandler(t, func(cfg *adminConfig) {
		cfg.Ready = func() (bool, string) { return false, "the slot is gone" }
	})
	got := ask(h, "GET", "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, got.Code)
	require.Contains(t, got.Body.String(), "the slot is gone")
	require.Equal(t, http.StatusOK, ask(h, "GET", "/healthz").Code)
}

func TestAdmin_WantsTheTokenExceptForProbes(t *testing.T) {
	t.Parallel()
	h := adminHandler(t, func(cfg *adminConfig) { cfg.Token = "open sesame" })
	for _, path := range []string{"GET /metrics", "GET /api/v1/status", "GET /api/v1/endpoints", "POST /-/reload"} {
		method, path, _ := strings.Cut(path, " ")
		require.Equal(t, http.StatusUnauthorized, ask(h, method, path).Code, path)
		require.Equal(t, http.StatusUnauthorized, ask(h, method, path, bearer("open")).Code, path)
		require.Equal(t, http.StatusUnauthorized, ask(h, method, path, bearer("")).Code, path)
		require.Equal(t, http.StatusOK, ask(h, method, path, bearer("open sesame")).Code, path)
	}
	require.Equal(t, http.StatusOK, ask(h, "GET", "/healthz").Code)
	require.Equal(t, http.StatusOK, ask(h, "GET", "/readyz").Code)
}

func TestAdmin_RefusesForeignHostsOnLoopback(t *testing.T) {
	t.Parallel()
	h := adminHandler(t, nil)
	for _, name := range []string{"evil.example", "evil.example:9187", "127.0.0.1.evil.example", "localhost.evil.example", ""} {
		require.Equal(t, http.StatusMisdirectedRequest, ask(h, "POST", "/-/reload", host(name)).Code, name)
	}
	for _, name := range []string{"localhost", "LOCALHOST:9187", "127.0.0.1", "127.1.2.3:80", "[::1]:9187", "[::1]"} {
		require.Equal(t, http.StatusOK, ask(h, "POST", "/-/reload", host(name)).Code, name)
	}
}

func TestAdmin_RefusesPostsFromForeignPages(t *testing.T) {
	t.Parallel()
	got := ask(adminHandler(t, nil), "POST", "/-/reload", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	require.Equal(t, http.StatusForbidden, got.Code)
}

func TestAdmin_ReloadTellsTheError(t *testing.T) {
	t.Parallel()
	h := adminHandler(t, func(cfg *adminConfig) {
		cfg.Reload = func(context.Context) error { return errors.New("relay.yaml:3:1: sauce: unknown key") }
	})
	got := ask(h, "POST", "/-/reload")
	require.Equal(t, http.StatusUnprocessableEntity, got.Code)
	require.JSONEq(t, `{"error":"relay.yaml:3:1: sauce: unknown key"}`, got.Body.String())
}

func TestAdmin_ServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	a, err := listenAdmin("127.0.0.1:0", adminConfig{
		Ready: func() (bool, string) { return true, "" }, Gather: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	answer, err := http.Get("http://" + a.Addr() + "/readyz")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
	cancel()
	require.NoError(t, <-ended)
	_, err = net.DialTimeout("tcp", a.Addr(), time.Second)
	require.Error(t, err)
}

func TestAdmin_ATakenPortIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // a test's listener
	_, err = listenAdmin(l.Addr().String(), adminConfig{})
	require.ErrorContains(t, err, "listen for admin HTTP")
}

// fakeParked notes what the routes ask of the store; the store itself is tested against Postgres.
type fakeParked struct {
	parkedStore
	entries []park.Entry
	filter  park.Filter
	called  string
}

func (f *fakeParked) List(_ context.Context, filter park.Filter) ([]park.Entry, error) {
	f.filter, f.called = filter, "list"
	return f.entries, nil
}

func (f *fakeParked) Discard(_ context.Context, filter park.Filter) (int64, error) {
	f.filter, f.called = filter, "discard"
	return 3, nil
}

func (f *fakeParked) Pause(_ context.Context, endpoint string) error {
	f.called = "pause " + endpoint
	return nil
}

func TestAdmin_ParkedRoutesReadTheirFilters(t *testing.T) {
	t.Parallel()
	store := &fakeParked{}
	h := adminHandler(t, func(cfg *adminConfig) {
		cfg.Routes = parkedRoutes(store, func(name string) bool { return name == "billing" }, false)
	})
	require.JSONEq(t, `[]`, ask(h, "GET", "/api/v1/parked?endpoint=billing&state=dead&limit=5000&after=7").Body.String())
	require.Equal(t, park.Filter{Endpoint: "billing", State: "dead", After: 7, Limit: maxPage}, store.filter)

	got := ask(h, "POST", "/api/v1/parked/discard", body(`{"endpoint":"billing","state":"dead"}`))
	require.JSONEq(t, `{"discarded":3}`, got.Body.String())
	require.Equal(t, park.Filter{Endpoint: "billing", State: "dead"}, store.filter)

	require.Equal(t, http.StatusOK, ask(h, "POST", "/api/v1/endpoints/billing/pause").Code)
	require.Equal(t, "pause billing", store.called)
	require.Equal(t, http.StatusNotFound, ask(h, "POST", "/api/v1/endpoints/other/pause").Code)
}

func TestAdmin_ParkedRoutesRefuseWhatRestrictsNothing(t *testing.T) {
	t.Parallel()
	store := &fakeParked{}
	h := adminHandler(t, func(cfg *adminConfig) { cfg.Routes = parkedRoutes(store, func(string) bool { return true }, false) })
	for _, text := range []string{"", "{}", `{"ids":[]}`, `{"endpiont":"billing"}`, `{"state":"gone"}`, `{"ids":["x"]}`} {
		require.Equal(t, http.StatusBadRequest, ask(h, "POST", "/api/v1/parked/discard", body(text)).Code, text)
	}
	require.Equal(t, http.StatusBadRequest, ask(h, "GET", "/api/v1/parked?limit=many").Code)
	require.Empty(t, store.called)
}

func TestAdmin_ShowsPayloadsOnlyBehindAToken(t *testing.T) {
	t.Parallel()
	store := &fakeParked{entries: []park.Entry{{Parked: delivery.Parked{
		ID: 1, Event: &mapping.Event{ID: "e-1", Type: "t", Payload: []byte(`{"card": 4111}`), Headers: []byte(`{"who": "x"}`)},
	}}}}
	list := func(contents bool) string {
		h := adminHandler(t, func(cfg *adminConfig) { cfg.Routes = parkedRoutes(store, func(string) bool { return true }, contents) })
		return ask(h, "GET", "/api/v1/parked").Body.String()
	}
	require.Contains(t, list(true), `"payload":{"card":4111}`)
	require.Contains(t, list(false), `"event_id":"e-1"`)
	require.NotContains(t, list(false), "4111")
	require.NotContains(t, list(false), "headers")
}

func TestStatus_CutsThePathOfAURLThatMayHoldAToken(t *testing.T) {
	t.Parallel()
	const url = "https://me:secret@hooks.example.com/services/T0/B0/XXXX?token=secret#secret"
	require.Equal(t, "https://hooks.example.com/…", shownURL(url, false))
	require.Equal(t, "https://hooks.example.com/services/T0/B0/XXXX", shownURL(url, true))
	require.Equal(t, "https://hooks.example.com/", shownURL("https://hooks.example.com/", false))
}
