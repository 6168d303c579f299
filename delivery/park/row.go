package park

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"relay/delivery"
	"relay/mapping"
)

// columns is what a rowReader reads, of the table delivery as d; waitingColumns the same without what is known of rows that wait for one
// endpoint: each column costs.
const (
	columns        = `d.id, d.turn, d.endpoint, d.queue, d.state` + otherColumns
	waitingColumns = `d.id, d.turn, NULL::text, d.queue, NULL::text` + otherColumns
	otherColumns   = `, d.attempts, d.due, d.status, d.error, d.since,
  d.lsn, d.ordinal, d.event_id, d.type, d.key, d.table_name, d.kind, d.payload, d.headers, d.detail`
)

// row is a delivery as it is read.
type row struct {
	delivery.Parked
	turn int64
}

func fromTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func toTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// hashed is before the hash of a key that cannot be indexed as it is: too long, or not text to Postgres.
const (
	hashed   = "sha256:"
	maxQueue = 256
)

// queueOf returns the queue column of an ordering key.
func queueOf(lane string) string {
	if len(lane) <= maxQueue && isStorable(lane) && !strings.HasPrefix(lane, hashed) {
		return lane
	}
	sum := sha256.Sum256([]byte(lane))
	return hashed + hex.EncodeToString(sum[:])
}

// laneOf is the inverse of queueOf: only an event's own key is ever hashed.
func laneOf(queue []byte, ev *mapping.Event) string {
	switch {
	case string(queue) == ev.Key || strings.HasPrefix(string(queue), hashed): // most are, and the event has it already
		return ev.Key
	default:
		return string(queue)
	}
}

// nonNil is for a list that a statement counts or compares with: of NULL the answer is neither yes nor no.
func nonNil(ids []int64) []int64 {
	if ids == nil {
		return []int64{}
	}
	return ids
}
