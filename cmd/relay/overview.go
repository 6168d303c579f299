package main

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"relay/cdc"
	"relay/delivery"
	"relay/delivery/park"
)

// status is for GET /api/v1/status.
func (r *sidecar) status(ctx context.Context) relayStatus {
	cfg := r.cfg.Load()
	s := relayStatus{Version: buildVersion().Version, Started: r.started, Refused: r.refusal()}
	s.Ready, s.Reason = r.ready()
	s.Source = sourceStatus{Slot: cfg.Source.Slot, State: "connecting"}
	s.Window = windowStatus{MaxEvents: cfg.Source.Window.Events, MaxBytes: cfg.Source.Window.Bytes}
	s.Endpoints = []endpointStatus{}
	t := r.tenure.Load()
	if t == nil {
		return s
	}
	s.Source.stream(t.stream.Status(), t.lag(time.Now()))
	if w := t.lookout.slot(); w != nil {
		s.Source.keeps(*w)
	}
	s.Window.Events, s.Window.Bytes = int(t.dispatcher.Window()), t.dispatcher.WindowBytes()
	for _, l := range t.dispatcher.Status() {
		e := laneStatus(l)
		if ep := cfg.Endpoint(l.Name); ep != nil {
			e.URL = shownURL(ep.URL, cfg.Admin.Token != "")
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	s.Unread = r.addParked(ctx, s.Endpoints)
	return s
}

// parkedTimeout is how long a status waits for the relay's own tables: less than relay status waits for all of it (statusTimeout),
// which is known without them.
const parkedTimeout = 4 * time.Second

// addParked adds what is parked to a status, or says why that is not known.
func (r *sidecar) addParked(ctx context.Context, endpoints []endpointStatus) string {
	ctx, cancel := context.WithTimeout(ctx, parkedTimeout)
	defer cancel()
	_, err := addParked(ctx, r.store, endpoints)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "the relay's own tables did not answer within " + parkedTimeout.String()
	default:
		return err.Error()
	}
}

// laneStatus is what a lane knows of its endpoint.
func laneStatus(l delivery.LaneStatus) endpointStatus {
	return endpointStatus{
		Name: l.Name, State: l.State, Paused: l.Paused, Breaker: l.Breaker.State.String(), OpenUntil: l.Breaker.RetryAt,
		InFlight: l.InFlight, Queued: l.Queued, Delivered: l.Delivered, Oldest: l.Oldest,
		Rate: l.Pace.Rate, P50: l.Pace.P50.Seconds(), P99: l.Pace.P99.Seconds(),
		LastError: l.LastError, ErrorAt: l.LastErrorAt,
	}
}

// addParked adds what the relay's own tables hold of the endpoints, and returns all that they hold.
func addParked(ctx context.Context, store *park.Store, endpoints []endpointStatus) (map[string]park.Count, error) {
	counts, err := store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	var waiting []string
	for i := range endpoints {
		e := &endpoints[i]
		e.Waiting, e.Dead = counts[e.Name].Waiting, counts[e.Name].Dead
		if e.Waiting > 0 {
			waiting = append(waiting, e.Name)
		}
	}
	if len(waiting) == 0 {
		return counts, nil
	}
	oldest, err := store.Oldest(ctx, waiting)
	for i := range endpoints {
		e := &endpoints[i]
		if at, ok := oldest[e.Name]; ok && (e.Oldest.IsZero() || at.Before(e.Oldest)) {
			e.Oldest = at
		}
	}
	return counts, err
}

// stream notes how the stream is.
func (s *sourceStatus) stream(st cdc.StreamStatus, lag time.Duration) {
	s.State, s.Since, s.Lag = string(st.State), st.Since, lag.Seconds()
	s.Received, s.Confirmed = st.Received.String(), st.Confirmed.String()
	s.LagBytes = int64(lagBytes(uint64(st.ServerEnd), uint64(st.Confirmed)))
	if st.Err != nil {
		s.LastError = st.Err.Error()
	}
}

// lag is how far the slot is behind in time: the age of the oldest event in memory, which keeps it where it is, and at least
// how long nothing was heard of the server.
func (t *tenure) lag(now time.Time) time.Duration {
	var lag time.Duration
	for _, l := range t.dispatcher.Status() {
		if !l.Oldest.IsZero() {
			lag = max(lag, now.Sub(l.Oldest))
		}
	}
	if s := t.stream.Status(); s.State != cdc.StateStreaming {
		lag = max(lag, now.Sub(s.Since))
	}
	return lag
}

// keeps notes how much WAL the slot keeps.
func (s *sourceStatus) keeps(w cdc.SlotWAL) {
	s.Retained, s.WALStatus, s.Invalidation = &w.Retained, w.Status, w.Cause
	if w.Limited {
		s.Safe, s.Limit = &w.Safe, &w.Limit
	}
	s.AtRisk = w.Risk() >= cdc.RiskClose
}

// shownURL is a URL without what may be secret in it: for some hooks the path is.
func shownURL(raw string, path bool) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	if !path && strings.Trim(u.Path, "/") != "" {
		return u.Scheme + "://" + u.Host + "/…"
	}
	return u.String()
}
