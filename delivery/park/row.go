package park

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
	"relay/mapping"
)

// columns is what scan reads, of the table delivery as d.
const columns = `d.id, d.turn, d.endpoint, d.queue, d.state, d.attempts, d.due, d.status, d.error, d.since,
  (d.lsn - '0/0'::pg_lsn)::bigint, d.ordinal, d.event_id, d.type, d.key, d.table_name, d.kind, d.payload, d.headers, d.detail`

// row is a delivery as it is read.
type row struct {
	delivery.Parked
	turn int64
}

// scan reads columns, and into more what is selected after them.
func scan(from pgx.CollectableRow, more ...any) (row, error) {
	var (
		r                         row
		ev                        = &mapping.Event{}
		queue, errText, key, head *string
		due, since                *time.Time
		status                    *int
		detail                    []byte
	)
	err := from.Scan(append([]any{
		&r.ID, &r.turn, &r.Endpoint, &queue, &r.State, &r.Attempts, &due, &status, &errText, &since,
		(*uint64)(&ev.Place.Commit), &ev.Place.Ordinal, &ev.ID, &ev.Type, &key, &ev.Table, &ev.Kind, &ev.Payload, &head, &detail,
	}, more...)...)
	if err != nil {
		return r, err
	}
	r.Due, r.Since = fromTime(due), fromTime(since)
	r.Size = int64(len(ev.Payload) + len(detail))
	if status != nil {
		r.Status = *status
	}
	if errText != nil {
		r.Err = *errText
	}
	if key != nil {
		ev.Key, ev.Keyed = *key, true
	}
	if head != nil {
		ev.Headers = []byte(*head)
	}
	if err := decodeDetail(ev, detail); err != nil {
		// Nothing may be lost or stop the others: it becomes a dead letter that says why.
		ev.Problem = err.Error()
	}
	if queue != nil {
		r.Lane, r.Ordered = lane(*queue, ev), true
	}
	r.Event = ev
	return r, nil
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

// lane is the inverse of queueOf: only an event's own key is ever hashed.
func lane(queue string, ev *mapping.Event) string {
	if strings.HasPrefix(queue, hashed) {
		return ev.Key
	}
	return queue
}
