package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminConfig is what the admin HTTP server shows and does. Every function may be called from several goroutines.
type adminConfig struct {
	Token  string                            // wanted as bearer token, except for the two probes; empty: none
	Ready  func() (ok bool, why string)      // for /readyz; why is shown in both cases, may be empty
	Status func(context.Context) relayStatus // for /api/v1
	Reload func(context.Context) error       // reads relay.yaml again; the error is shown to the caller
	Gather prometheus.Gatherer               // for /metrics
	Routes map[string]adminRoute             // further routes by mux pattern, answering JSON
	Logger *slog.Logger
}

// adminRoute answers a request with what is sent as JSON.
type adminRoute = func(*http.Request) (any, error)

// admin is the HTTP server for probes, metrics and operators.
type admin struct {
	cfg      adminConfig
	listener net.Listener
	loopback bool // only reachable from this host, so only its names may be asked for
}

// adminStopTimeout bounds the answers under way when the admin server stops.
const adminStopTimeout = 2 * time.Second

// listenAdmin opens the address at once, so that a port that is taken ends the start rather than a goroutine.
func listenAdmin(address string, cfg adminConfig) (*admin, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for admin HTTP: %w", err)
	}
	return &admin{cfg: cfg, listener: l, loopback: isLoopback(l.Addr())}, nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Addr is the address listened at.
func (a *admin) Addr() string { return a.listener.Addr().String() }

// Run serves until ctx is done.
func (a *admin) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.cfg.Logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1) // 1: Serve's end, whether or not anyone still waits
	go func() { stopped <- server.Serve(a.listener) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("serve admin HTTP: %w", err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminStopTimeout)
	defer cancel()
	if err := server.Shutdown(limit); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop admin HTTP: %w", err)
	}
	return nil
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, "ok") })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", a.guard(promhttp.HandlerFor(a.cfg.Gather, promhttp.HandlerOpts{})))
	mux.Handle("GET /api/v1/status", a.answer(func(r *http.Request) (any, error) {
		return a.cfg.Status(r.Context()), nil
	}))
	mux.Handle("GET /api/v1/endpoints", a.answer(func(r *http.Request) (any, error) {
		return a.cfg.Status(r.Context()).Endpoints, nil
	}))
	mux.Handle("POST /-/reload", a.answer(a.reload))
	for pattern, route := range a.cfg.Routes {
		mux.Handle(pattern, a.answer(route))
	}
	// A browser on this host must not be talked into a POST by some page it shows.
	return a.ownHost(http.NewCrossOriginProtection().Handler(mux))
}

func (a *admin) readyz(w http.ResponseWriter, _ *http.Request) {
	ok, why := a.cfg.Ready()
	if !ok {
		http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
		return
	}
	plain(w, strings.TrimSuffix("ready: "+why, ": "))
}

func plain(w http.ResponseWriter, line string) {
	_, _ = io.WriteString(w, line+"\n") // whoever asked may have gone
}

func (a *admin) reload(r *http.Request) (any, error) {
	if err := a.cfg.Reload(r.Context()); err != nil {
		return nil, httpError{http.StatusUnprocessableEntity, err}
	}
	return map[string]bool{"reloaded": true}, nil
}

// httpError is an error with the status that tells it.
type httpError struct {
	status int
	error
}

// answer makes a handler, behind the token, of a function that returns what is sent as JSON.
func (a *admin) answer(f adminRoute) http.Handler {
	return a.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		v, err := f(r)
		status := http.StatusOK
		if err != nil {
			status = http.StatusInternalServerError
			if he, ok := errors.AsType[httpError](err); ok {
				status = he.status
			}
			v = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			a.cfg.Logger.Debug("admin answer cut off", "err", err)
		}
	}))
}

// guard wants the token, if one is configured. Digests are compared, so neither time nor length tells about it.
func (a *admin) guard(next http.Handler) http.Handler {
	if a.cfg.Token == "" {
		return next
	}
	want := sha256.Sum256([]byte(a.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "wants the header: Authorization: Bearer <admin.token>", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost refuses foreign host names while listening on loopback: a page whose name was made to resolve to 127.0.0.1
// (DNS rebinding) is same-origin for the browser, but cannot help naming itself.
func (a *admin) ownHost(next http.Handler) http.Handler {
	if !a.loopback {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackHost(r.Host) {
			http.Error(w, "ask for localhost, 127.0.0.1 or [::1]", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}
