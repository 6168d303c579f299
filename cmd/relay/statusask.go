package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"relay/cdc"
	"relay/delivery/park"
	"relay/mapping"
)

// statusTimeout bounds what the relay, or the database, may take to answer.
const statusTimeout = 5 * time.Second

// askRelay returns the status of the relay that listens at the address, by default that of the configuration. The error is
// errNoRelay when nothing listens there.
func askRelay(ctx context.Context, cfg *mapping.Config, address string) (*relayStatus, error) {
	where, err := askedAt(cfg, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+where+"/api/v1/status", nil)
	if err != nil {
		return nil, usagef("--address %q: want host:port", address)
	}
	if cfg.Admin.Token != "" {
		req.Header.Set("Authorization", "Bearer "+cfg.Admin.Token)
	}
	// A transport of its own: a proxy of the environment is not meant for this, and would see the token.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nothing listens at %s", errNoRelay, where)
	case err != nil:
		return nil, fmt.Errorf("ask the relay at %s: %w", where, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	return readStatus(resp, where)
}

// askedAt is where the admin server is asked: at the address, by default that of the configuration.
func askedAt(cfg *mapping.Config, address string) (string, error) {
	address = cmp.Or(address, cfg.Admin.Listen)
	if address == "" {
		return "", fmt.Errorf("%w that could be asked: admin.listen is empty", errNoRelay)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", usagef("--address %q: want host:port", address)
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "localhost" // it listens everywhere
	}
	return net.JoinHostPort(host, port), nil
}

// maxStatus bounds what is read of an answer: thousands of endpoints.
const maxStatus = 64 << 20

func readStatus(resp *http.Response, where string) (*relayStatus, error) {
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, fmt.Errorf("the relay at %s wants another token than admin.token of this relay.yaml", where)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("what listens at %s answered %s: it is no relay, or one of another version", where, resp.Status)
	}
	var status relayStatus
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&status); err != nil || status.Version == "" {
		return nil, fmt.Errorf("what listens at %s is no relay, or one of another version", where)
	}
	return &status, nil
}

// askDatabase fills in what the database knows of a relay that does not run.
func askDatabase(ctx context.Context, cfg *mapping.Config, report *statusReport, why error) {
	report.Version, report.Reason = buildVersion().Version, why.Error()
	report.Source = sourceStatus{Slot: cfg.Source.Slot, State: "stopped"}
	report.Window = windowStatus{MaxEvents: cfg.Source.Window.Events, MaxBytes: cfg.Source.Window.Bytes}
	for _, ep := range cfg.Endpoints {
		e := endpointStatus{Name: ep.Name, URL: shownURL(ep.URL, false), State: "stopped"}
		if ep.Paused {
			e.State, e.Paused = "paused", "paused in the configuration"
		}
		report.Endpoints = append(report.Endpoints, e)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if err := report.readSlot(ctx, cfg); err != nil {
		report.Problems = append(report.Problems, oneLine(err))
		report.Source.LastError = err.Error()
		return
	}
	if err := report.readTables(ctx, cfg); err != nil {
		report.Problems = append(report.Problems, oneLine(err))
	}
}

// oneLine is an error without its line ends, of which a server's words may have some.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// readSlot asks how the slot is.
func (r *statusReport) readSlot(ctx context.Context, cfg *mapping.Config) error {
	if err := cdc.CheckSlot(ctx, sourceOf(cfg)); err != nil {
		return err
	}
	w, err := cdc.ReadSlotWAL(ctx, cfg.Source.URL, cfg.Source.Slot)
	if err != nil {
		return err
	}
	if w.Active {
		r.Source.State = "in use"
	}
	r.Source.keeps(w)
	r.Source.LagBytes = w.Retained
	return nil
}

// readTables asks the relay's own tables what is parked, and who is paused.
func (r *statusReport) readTables(ctx context.Context, cfg *mapping.Config) error {
	store, err := park.Open(ctx, cfg.Source.URL, cfg.Source.Schema, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer store.Close()
	if version, err := store.Version(ctx); err != nil || version == 0 {
		return err // nothing was ever parked
	}
	counts, err := addParked(ctx, store, r.Endpoints)
	if err != nil {
		return err
	}
	known, err := store.LoadEndpoints(ctx)
	if err != nil {
		return err
	}
	for i := range r.Endpoints {
		e := &r.Endpoints[i]
		delete(counts, e.Name)
		state := known[e.Name]
		e.OpenUntil = state.OpenUntil
		switch {
		case state.Gone:
			e.State, e.Paused = "gone", "the endpoint answered 410 Gone"
		case state.Paused:
			e.State, e.Paused = "paused", "paused by an operator"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; n.Waiting+n.Dead > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s is not in %s any more, with %s parked",
				name, cfg.File, count(int(n.Waiting+n.Dead), "delivery", "deliveries")))
		}
	}
	return nil
}
