package mapping

import (
	"log/slog"
	"time"
)

// DefaultColumns are the columns of the outbox that `relay setup` creates.
func DefaultColumns() Columns {
	return Columns{
		ID: "id", Type: "type", Key: "key", Payload: "payload", Headers: "headers", Time: "created_at",
		Named: map[string]bool{},
	}
}

func defaultTable() Table {
	return Table{Schema: "public", Name: "outbox", Columns: DefaultColumns()}
}

func defaultConfig() *Config {
	return &Config{
		Source: Source{
			Slot: "relay", Publication: "relay", Schema: "relay",
			Tables:   []Table{defaultTable()},
			Existing: ExistingSkip, OnSlotLost: SlotLostStop,
			Window: Window{Events: 20_000, Bytes: 64 << 20},
			Hold:   5 * time.Second,
		},
		Admin:           Admin{Listen: "127.0.0.1:9187"},
		Log:             Log{Level: slog.LevelInfo, Format: "text"},
		ShutdownTimeout: 25 * time.Second,
	}
}

func defaultEndpoint() *Endpoint {
	return &Endpoint{
		Events:      []Pattern{"*"},
		Format:      FormatStandard,
		Timeout:     15 * time.Second,
		Concurrency: 16,
		Order:       OrderKey,
		Batch:       Batch{Events: 1, Bytes: 1 << 20},
		Retry: Retry{
			Delays: []time.Duration{
				500 * time.Millisecond, 5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute,
				2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
			},
			MaxAge:   96 * time.Hour,
			Rejected: 3,
		},
		Breaker: Breaker{
			Failures: 5, Ratio: 0.5, Requests: 20,
			Window: time.Minute, Open: 15 * time.Second, MaxOpen: 15 * time.Minute, Probes: 1,
		},
	}
}
