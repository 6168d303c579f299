package main

import "time"

// relayStatus is what GET /api/v1/status answers: the state of one running relay.
type relayStatus struct {
	Version   string           `json:"version"`
	Started   time.Time        `json:"started"`
	Ready     bool             `json:"ready"`
	Reason    string           `json:"reason,omitempty"`       // why not ready, or what it stands by for
	Refused   string           `json:"config_error,omitempty"` // why the file as it is now was not taken; the one before is in use
	Source    sourceStatus     `json:"source"`
	Window    windowStatus     `json:"window"`
	Endpoints []endpointStatus `json:"endpoints"`
	Unread    string           `json:"parked_error,omitempty"` // why it is not known what is parked, which is not in Endpoints then
}

// sourceStatus is how far the stream is.
type sourceStatus struct {
	Slot      string    `json:"slot"`
	State     string    `json:"state"` // connecting, streaming, waiting (for the slot) or paused
	Since     time.Time `json:"since"`
	Received  string    `json:"received_lsn"`
	Confirmed string    `json:"confirmed_lsn"`
	LagBytes  int64     `json:"lag_bytes"`
	Lag       float64   `json:"lag_seconds"`              // age of the oldest event that holds the slot, or how long the server was silent
	Retained  *int64    `json:"retained_bytes,omitempty"` // of WAL that the server keeps for the slot; absent: not known
	Safe      *int64    `json:"safe_bytes,omitempty"`     // that may be written before the slot is at risk; absent: no limit, or not known
	Limit     *int64    `json:"limit_bytes,omitempty"`    // max_slot_wal_keep_size; absent: no limit, or not known
	AtRisk    bool      `json:"at_risk,omitempty"`        // the slot is close to being lost, or is lost
	LastError string    `json:"last_error,omitempty"`

	WALStatus    string `json:"wal_status,omitempty"`          // as pg_replication_slots has it
	Invalidation string `json:"invalidation_reason,omitempty"` // from version 17 on
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
	URL       string    `json:"url"`              // scheme and host; with a token configured the path too
	State     string    `json:"state"`            // live, down, draining, paused or gone; stopped: no relay runs
	Paused    string    `json:"paused,omitempty"` // why it is paused or gone
	Breaker   string    `json:"breaker"`          // closed, half-open or open
	OpenUntil time.Time `json:"open_until,omitzero"`
	InFlight  int       `json:"in_flight"`
	Queued    int       `json:"queued"` // in memory, not under way
	Waiting   int64     `json:"parked_waiting"`
	Dead      int64     `json:"parked_dead"`
	Delivered int64     `json:"delivered"`                   // since the relay started
	Rate      float64   `json:"rate"`                        // deliveries a second, over the last minute
	P50       float64   `json:"latency_p50_seconds"`         // from commit to 2xx, over the last minute; 0: nothing was delivered
	P99       float64   `json:"latency_p99_seconds"`         // the same
	Oldest    time.Time `json:"oldest_undelivered,omitzero"` // when the oldest, in memory or parked and waiting, was committed
	LastError string    `json:"last_error,omitempty"`
	ErrorAt   time.Time `json:"last_error_at,omitzero"`
}
