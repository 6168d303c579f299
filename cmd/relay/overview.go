package main

import (
	"context"
	"net/url"

	"relay/cdc"
)

// status is for GET /api/v1/status.
func (r *sidecar) status(ctx context.Context) relayStatus {
	cfg := r.cfg.Load()
	s := relayStatus{Version: buildVersion().Version, Started: r.started}
	s.Ready, s.Reason = r.ready()
	s.Source = sourceStatus{Slot: cfg.Source.Slot, State: "connecting"}
	s.Window = windowStatus{MaxEvents: cfg.Source.Window.Events, MaxBytes: cfg.Source.Window.Bytes}
	s.Endpoints = []endpointStatus{}
	t := r.tenure.Load()
	if t == nil {
		return s
	}
	st := t.stream.Status()
	s.Source.State, s.Source.Since = string(st.State), st.Since
	s.Source.Received, s.Source.Confirmed = st.Received.String(), st.Confirmed.String()
	s.Source.LagBytes = int64(lagBytes(uint64(st.ServerEnd), uint64(st.Confirmed)))
	if st.Err != nil {
		s.Source.LastError = st.Err.Error()
	}
	if w := r.metrics.source.look().wal; w != nil {
		s.Source.keeps(*w)
	}
	s.Window.Events, s.Window.Bytes = int(t.dispatcher.Window()), t.dispatcher.WindowBytes()
	counts, err := r.store.Counts(ctx)
	if err != nil {
		s.Source.LastError = err.Error()
	}
	for _, l := range t.dispatcher.Status() {
		e := endpointStatus{
			Name: l.Name, State: l.State, Breaker: l.Breaker.State.String(), OpenUntil: l.Breaker.RetryAt,
			InFlight: l.InFlight, Queued: l.Queued, Delivered: l.Delivered, LastError: l.LastError, ErrorAt: l.LastErrorAt,
			Paused: l.Paused, Oldest: l.Oldest,
			Waiting: counts[l.Name].Waiting, Dead: counts[l.Name].Dead,
		}
		if ep := cfg.Endpoint(l.Name); ep != nil {
			e.URL = bareURL(ep.URL)
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

// keeps notes how much WAL the slot keeps.
func (s *sourceStatus) keeps(w cdc.SlotWAL) {
	s.Retained = &w.Retained
	if w.Limited {
		s.Safe = &w.Safe
	}
}

// bareURL is a URL without what may be secret in it.
func bareURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
