package main

import "time"

// relayStatus is what GET /api/v1/status answers: the state of one running relay.
type relayStatus struct {
	Version   string           `json:"version"`
	Started   time.Time        `json:"started"`
	Ready     bool             `json:"ready"`
	Reason    string           `json:"reason,omitempty"` // why not ready, or what it stands by for
	Source    sourceStatus     `json:"source"`
	Window    windowStatus     `json:"window"`
	Endpoints []endpointStatus `json:"endpoints"`
}

// sourceStatus is how far the stream is.
type sourceStatus struct {
	Slot      string    `json:"slot"`
	State     string    `json:"state"` // connecting, streaming, waiting (for the slot) or paused
	Since     time.Time `json:"since"`
	Received  string    `json:"received_lsn"`
	Confirmed string    `json:"confirmed_lsn"`
	LagBytes  int64     `json:"lag_bytes"`
	Retained  *int64    `json:"retained_bytes,omitempty"` // of WAL that the server keeps for the slot; absent: not known
	Safe      *int64    `json:"safe_bytes,omitempty"`     // that may be written before the slot is at risk; absent: no limit, or not known
	LastError string    `json:"last_error,omitempty"`
}

// windowStatus is what is undelivered in memory, and the most that may be.
type windowStatus struct {
	Events    int   `json:"events"`
	MaxEvents int   `json:"max_events"`
	Bytes     int64 `json:"bytes"`
	MaxBytes  int64 `json:"max_bytes"`
}

// endpointStatus is one element of what GET /api/v1/endpoints answers.
type endpointStatus struct {
	Name      string    `json:"name"`
	URL       string    `json:"url"`              // without user info and query
	State     string    `json:"state"`            // live, down, draining, paused or gone; stopped: no relay runs
	Paused    string    `json:"paused,omitempty"` // why it is paused or gone
	Breaker   string    `json:"breaker"`          // closed, half-open or open
	OpenUntil time.Time `json:"open_until,omitzero"`
	InFlight  int       `json:"in_flight"`
	Queued    int       `json:"queued"` // in memory, not under way
	Waiting   int64     `json:"parked_waiting"`
	Dead      int64     `json:"parked_dead"`
	Delivered int64     `json:"delivered"`
	Oldest    time.Time `json:"oldest_undelivered,omitzero"` // when the oldest in memory was committed
	LastError string    `json:"last_error,omitempty"`
	ErrorAt   time.Time `json:"last_error_at,omitzero"`
}
