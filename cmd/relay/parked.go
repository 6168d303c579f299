package main

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"relay/delivery"
	"relay/delivery/park"
	"relay/mapping"
)

// parkedDelivery is a parked delivery as commands and API show it; the names are the columns of relay.parked.
type parkedDelivery struct {
	ID       int64           `json:"id"`
	Endpoint string          `json:"endpoint"`
	EventID  string          `json:"event_id"`
	Type     string          `json:"type"`
	Key      *string         `json:"key"`
	State    delivery.State  `json:"state"`
	Attempts int             `json:"attempts"`
	Next     *time.Time      `json:"next_attempt_at"`
	Status   int             `json:"last_status,omitempty"`
	Error    string          `json:"last_error,omitempty"`
	ParkedAt time.Time       `json:"parked_at"`
	Payload  any             `json:"payload,omitempty"` // bytea: base64; absent: not shown
	Headers  json.RawMessage `json:"headers,omitempty"`
}

func newParkedDelivery(e park.Entry) parkedDelivery {
	d := parkedDelivery{
		ID: e.ID, Endpoint: e.Endpoint, EventID: e.Event.ID, Type: e.Event.Type, State: e.State,
		Attempts: e.Attempts, Status: e.Status, Error: e.Err, ParkedAt: e.ParkedAt,
	}
	if e.Event.Keyed {
		d.Key = &e.Event.Key
	}
	if !e.Due.IsZero() {
		d.Next = &e.Due
	}
	switch {
	case e.Event.Kind == mapping.PayloadBytes:
		d.Payload = e.Event.Payload
	case e.Event.Kind == mapping.PayloadJSON && json.Valid(e.Event.Payload):
		d.Payload = json.RawMessage(e.Event.Payload)
	default:
		d.Payload = string(e.Event.Payload)
	}
	if json.Valid(e.Event.Headers) {
		d.Headers = e.Event.Headers
	}
	return d
}

func newParkedCommand(c *console) *cobra.Command {
	var f park.Filter
	var dead bool
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "List deliveries that wait or are dead",
		Long: `Lists what is in the relay's own tables: deliveries that wait for their endpoint, their turn or their next
attempt, and dead ones, which wait for you: see relay retry and relay discard.`,
		Example: `  relay parked
  relay parked --dead --endpoint billing
  relay parked --json | jq -r '.[].event_id'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 1 {
				return usagef("--limit %d: want at least 1", f.Limit)
			}
			if dead {
				f.State = delivery.Dead
			}
			return withStore(cmd.Context(), c, func(cfg *mapping.Config, store *park.Store) error {
				if err := wantEndpoint(cmd.Context(), cfg, store, f.Endpoint); err != nil {
					return err
				}
				return printParked(cmd.Context(), c, store, f)
			})
		},
	}
	cmd.Flags().StringVar(&f.Endpoint, "endpoint", "", "those of this `endpoint`")
	must(cmd.RegisterFlagCompletionFunc("endpoint", completeEndpoint(c)))
	cmd.Flags().StringVar(&f.EventID, "event", "", "those of this event `ID`")
	cmd.Flags().BoolVar(&dead, "dead", false, "only dead ones")
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "at most `n` of them, the oldest")
	return cmd
}

func printParked(ctx context.Context, c *console, store *park.Store, f park.Filter) error {
	entries, err := store.List(ctx, f)
	if err != nil {
		return err
	}
	if c.json {
		all := make([]parkedDelivery, len(entries))
		for i, e := range entries {
			all[i] = newParkedDelivery(e)
		}
		return c.printJSON(all)
	}
	rows := make([][]string, len(entries))
	for i, e := range entries {
		rows[i] = parkedRow(newParkedDelivery(e))
	}
	c.table([]string{"id", "endpoint", "event", "type", "key", "state", "attempts", "next attempt", "last error"}, rows)
	if len(entries) == f.Limit {
		c.note("(the first %d; --limit shows more)\n", f.Limit)
	}
	return nil
}

func parkedRow(d parkedDelivery) []string {
	key, next := "-", "-"
	if d.Key != nil {
		key = *d.Key
	}
	if d.Next != nil {
		next = d.Next.Format(time.RFC3339)
	}
	return []string{
		strconv.FormatInt(d.ID, 10), d.Endpoint, printable(d.EventID), printable(d.Type), printable(key), string(d.State),
		strconv.Itoa(d.Attempts), next, cmp.Or(printable(d.Error), "-"),
	}
}

// printable keeps what others wrote from moving the reader's cursor.
func printable(s string) string {
	quoted := strconv.QuoteToGraphic(s)
	if quoted[1:len(quoted)-1] == s {
		return s
	}
	return quoted
}
