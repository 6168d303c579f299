package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relay/cdc"
	"relay/delivery"
	"relay/mapping"
)

func newExplainCommand(c *console) *cobra.Command {
	x := &explain{console: c}
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Show where events would go, why, and the exact request, without sending it",
		Long: `Takes the newest rows of the outbox tables, or an event of your own, through relay.yaml: for each endpoint whether
it would be sent the event and why or why not, and the request to the byte. Nothing is sent and nothing is changed. Credentials and
configured headers are hidden; the signature is real, and of this moment.

With --against another file, it shows what that file would change for these events, before you use it.`,
		Example: `  relay explain
  relay explain --last 20 --endpoint billing --brief
  relay explain --event '{"type": "order.created", "key": "42", "payload": {"total": 120}}'
  relay explain --last 100 --against relay.new.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.IntVar(&x.last, "last", 5, "the last `n` rows, the newest at the end")
	f.StringVar(&x.event, "event", "", "an event as `JSON` rather than rows, without a database; - reads it from standard input")
	f.StringVar(&x.against, "against", "", "show what this other configuration `file` would change")
	f.StringVar(&x.endpoint, "endpoint", "", "only this `endpoint`")
	f.BoolVar(&x.brief, "brief", false, "leave the requests out")
	cmd.MarkFlagsMutuallyExclusive("last", "event")
	must(cmd.RegisterFlagCompletionFunc("endpoint", completeEndpoint(c)))
	must(cmd.MarkFlagFilename("against", "yaml", "yml"))
	return cmd
}

// explain is one run of the command.
type explain struct {
	*console
	last            int
	event, against  string
	endpoint        string
	brief           bool
	now             time.Time
	current, edited *explainer // edited is nil without --against
}

// explainer is one configuration that events are taken through.
type explainer struct {
	cfg    *mapping.Config
	router *mapping.Router
}

func newExplainer(path string) (*explainer, error) {
	cfg, err := mapping.Load(path)
	if err != nil {
		return nil, err
	}
	return &explainer{cfg: cfg, router: mapping.NewRouter(cfg)}, nil
}

func (x *explain) run(ctx context.Context) (err error) {
	x.now = time.Now()
	if x.last < 1 {
		return usagef("--last %d: want at least 1", x.last)
	}
	if x.current, err = newExplainer(x.config); err != nil {
		return err
	}
	if x.against != "" {
		if x.edited, err = newExplainer(x.against); err != nil {
			return err
		}
	}
	if x.endpoint != "" && x.current.cfg.Endpoint(x.endpoint) == nil && (x.edited == nil || x.edited.cfg.Endpoint(x.endpoint) == nil) {
		return unknownEndpoint(x.current.cfg, x.endpoint)
	}
	all, err := x.events(ctx)
	if err != nil {
		return err
	}
	if x.json {
		return x.printJSON(all)
	}
	x.print(all)
	return nil
}

// events explains the event, or the rows.
func (x *explain) events(ctx context.Context) ([]explainedEvent, error) {
	if x.event != "" {
		return x.own(ctx)
	}
	rows, err := x.rows(ctx)
	if err != nil {
		return nil, err
	}
	all := []explainedEvent{}
	for _, row := range rows {
		ev, err := x.current.router.Event(row)
		if err != nil {
			return nil, err
		}
		var edited *mapping.Event
		if x.edited != nil {
			if edited, err = x.edited.router.Event(row); err != nil {
				return nil, fmt.Errorf("%s: %w", x.against, err)
			}
		}
		all = append(all, x.explain(ev, edited))
	}
	return all, nil
}

// rows returns the last rows, the newest at the end.
func (x *explain) rows(ctx context.Context) ([]*cdc.Row, error) {
	src := sourceOf(x.current.cfg)
	if len(src.Tables) == 0 {
		return nil, errors.New("source.tables is empty, and logical messages are kept nowhere: give an event with --event")
	}
	var rows []*cdc.Row
	err := cdc.Scan(ctx, src, cdc.Range{Newest: x.last}, func(row *cdc.Row) error {
		if rows = append(rows, row); len(rows) > x.last {
			rows = rows[1:]
		}
		return nil
	})
	return rows, err
}

// maxEvent bounds what is read of an event.
const maxEvent = 64 << 20

// own explains the event of the command line.
func (x *explain) own(ctx context.Context) ([]explainedEvent, error) {
	text, err := await(ctx, x.text)
	if err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	ev, err := x.current.parse(text, x.now)
	if err != nil {
		return nil, usagef("--event: %w", err)
	}
	var edited *mapping.Event
	if x.edited != nil {
		if edited, err = x.edited.parse(text, x.now); err != nil {
			return nil, usagef("--event: %w", err)
		}
	}
	return []explainedEvent{x.explain(ev, edited)}, nil
}

// text is the event of the command line as it was written, there or elsewhere.
func (x *explain) text() ([]byte, error) {
	if x.event == "-" {
		return io.ReadAll(io.LimitReader(x.in, maxEvent))
	}
	if path, ok := strings.CutPrefix(x.event, "@"); ok {
		return os.ReadFile(path)
	}
	return []byte(x.event), nil
}

// parse makes an event as if it were of the configuration's first table.
func (e *explainer) parse(text []byte, now time.Time) (*mapping.Event, error) {
	table := mapping.Table{Schema: "public", Name: "outbox", Columns: mapping.DefaultColumns()}
	if len(e.cfg.Source.Tables) > 0 {
		table = e.cfg.Source.Tables[0]
	}
	return mapping.ParseEvent(text, table, now)
}

// The verdicts on an event and an endpoint.
const (
	verdictSent = "sent" // would be
	verdictDead = "dead" // would become a dead letter
	verdictNone = "none" // is not for the endpoint
)

// explainedEvent is an event and what would become of it.
type explainedEvent struct {
	ID        string              `json:"id"`
	Type      string              `json:"type"`
	Key       *string             `json:"key"`
	Time      time.Time           `json:"time"`
	Table     string              `json:"table,omitempty"`
	Problem   string              `json:"problem,omitempty"` // why it can be sent to nobody
	Endpoints []explainedEndpoint `json:"endpoints"`
	Changes   []change            `json:"changes,omitempty"` // with --against
}

// explainedEndpoint is what an endpoint would be sent, and why.
type explainedEndpoint struct {
	Endpoint string           `json:"endpoint"`
	Verdict  string           `json:"verdict"` // sent, dead or none
	Reason   string           `json:"reason"`
	Pattern  string           `json:"pattern,omitempty"`
	Where    string           `json:"where,omitempty"`
	Operands []operand        `json:"operands,omitempty"` // what where saw
	Error    string           `json:"error,omitempty"`    // why it would be dead
	Paused   bool             `json:"paused,omitempty"`   // in the file: parked rather than sent
	Request  *explainedTarget `json:"request,omitempty"`

	preview *delivery.Preview
}

type operand struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

func (x *explain) explain(ev, edited *mapping.Event) explainedEvent {
	e := explainedEvent{Endpoints: []explainedEndpoint{}}
	described := ev
	if described == nil {
		described = edited
	}
	if described != nil {
		e.ID, e.Type, e.Time, e.Table, e.Problem = described.ID, described.Type, described.Time, described.Table, described.Problem
		if described.Keyed {
			e.Key = &described.Key
		}
	}
	e.Endpoints = append(e.Endpoints, x.endpoints(x.current, ev)...)
	if x.edited != nil {
		e.Changes = changes(e.Endpoints, x.endpoints(x.edited, edited))
	}
	return e
}

// endpoints explains an event to each endpoint that is asked for.
func (x *explain) endpoints(by *explainer, ev *mapping.Event) []explainedEndpoint {
	var all []explainedEndpoint
	if ev == nil {
		return nil
	}
	for _, why := range mapping.Explain(by.cfg.Endpoints, ev) {
		if x.endpoint != "" && why.Endpoint.Name != x.endpoint {
			continue
		}
		all = append(all, x.one(&why, ev))
	}
	return all
}

func (x *explain) one(why *mapping.Explanation, ev *mapping.Event) explainedEndpoint {
	ep := why.Endpoint
	e := explainedEndpoint{
		Endpoint: ep.Name, Verdict: verdictNone, Reason: why.Reason(), Pattern: string(why.Pattern), Where: ep.Where.String(),
	}
	for _, o := range why.Operands {
		e.Operands = append(e.Operands, operand(o))
	}
	if !why.Wanted {
		return e
	}
	e.Verdict, e.Paused = verdictSent, ep.Paused
	err := why.Err
	if err == nil && ev.Problem != "" {
		err = errors.New(ev.Problem)
	}
	if err == nil {
		e.preview, err = x.preview(ep, ev)
	}
	if err != nil {
		e.Verdict, e.Error = verdictDead, err.Error()
		return e
	}
	if !x.brief {
		e.Request = newExplainedTarget(e.preview)
	}
	return e
}

// preview renders the request as a lane does.
func (x *explain) preview(ep *mapping.Endpoint, ev *mapping.Event) (*delivery.Preview, error) {
	req, err := delivery.NewRequest(ep, ev)
	if err != nil {
		return nil, err
	}
	return delivery.NewPreview(ep, buildVersion().Version, &req, x.now)
}
