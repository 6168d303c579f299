package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"relay/mapping"
)

// statusReport is what relay status prints: the relay's own status, and what of it needs a person.
type statusReport struct {
	Running  bool     `json:"running"`
	OK       bool     `json:"ok"`
	Problems []string `json:"problems"` // what needs a person, and what to do; empty if OK
	Notes    []string `json:"notes,omitempty"`
	relayStatus
}

func newStatusCommand(c *console) *cobra.Command {
	s := statusCommand{console: c}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether all is well, and if not, what is not",
		Long: `Asks the running relay, at admin.listen of relay.yaml, how it is: how far the replication slot is behind, and
of each endpoint its state and what is under way, queued, parked and dead. Where no relay runs, it says so
and shows what the database knows.

Exit status: 0 all is well, 1 something needs you: no relay runs, it is not ready, an endpoint is down, paused or
gone, there are dead letters, or the slot is about to lose WAL.

--ready asks only what /readyz tells, for a probe that cannot speak HTTP: whether this relay streams or stands by. What an
endpoint does has no part in it.`,
		Example: `  relay status
  relay status --watch
  relay status --json | jq -r '.problems[]'
  relay status --address 10.0.0.7:9187`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := mapping.Load(c.config)
			if err != nil {
				return err
			}
			if s.ready {
				return s.askReady(cmd.Context(), cfg)
			}
			return s.run(cmd.Context(), cfg)
		},
	}
	cmd.Flags().BoolVarP(&s.watch, "watch", "w", false, "go on, once a second, until interrupted")
	cmd.Flags().BoolVar(&s.ready, "ready", false, "ask only whether it is ready")
	cmd.MarkFlagsMutuallyExclusive("watch", "ready")
	cmd.Flags().StringVar(&s.address, "address", "", "`host:port` of the relay's admin HTTP (default admin.listen)")
	return cmd
}

// statusCommand is one run of the command.
type statusCommand struct {
	*console
	watch   bool
	ready   bool
	address string
}

// statusEvery is how often --watch looks.
const statusEvery = time.Second

func (s *statusCommand) run(ctx context.Context, cfg *mapping.Config) error {
	view := newStatusView(s.console, s.watch)
	for {
		report, err := lookAtRelay(ctx, cfg, s.address)
		if err != nil && ctx.Err() == nil {
			if !s.watch || errors.As(err, new(usageError)) {
				return err
			}
			report = unknownStatus(cfg, err) // it may be restarting
		}
		if ctx.Err() == nil {
			if err := s.show(view, report); err != nil {
				return nil //nolint:nilerr // whoever read this has closed the pipe, and has read enough
			}
		}
		switch {
		case s.watch && ctx.Err() == nil:
		case s.watch || report.OK:
			return nil
		default:
			return errReported
		}
		select {
		case <-ctx.Done():
		case <-time.After(statusEvery):
		}
	}
}

func (s *statusCommand) show(view *statusView, report *statusReport) error {
	switch {
	case s.json && s.watch: // a line each, for what reads line by line
		return json.NewEncoder(s.out).Encode(report)
	case s.json:
		return s.printJSON(report)
	default:
		return view.show(report, time.Now())
	}
}

// errNoRelay is that nothing listens where a relay would.
var errNoRelay = errors.New("no relay runs")

// lookAtRelay asks the relay, or the database if none runs.
func lookAtRelay(ctx context.Context, cfg *mapping.Config, address string) (*statusReport, error) {
	report := &statusReport{Running: true, Problems: []string{}}
	status, err := askRelay(ctx, cfg, address)
	switch {
	case errors.Is(err, errNoRelay):
		report.Running = false
		askDatabase(ctx, cfg, report, err)
	case err != nil:
		return nil, err
	default:
		report.relayStatus = *status
	}
	report.judge()
	report.OK = len(report.Problems) == 0
	return report, nil
}

// unknownStatus is the report while the relay cannot be asked.
func unknownStatus(cfg *mapping.Config, err error) *statusReport {
	return &statusReport{Running: true, Problems: []string{oneLine(err)}, relayStatus: relayStatus{
		Version: buildVersion().Version, Endpoints: []endpointStatus{},
		Source: sourceStatus{Slot: cfg.Source.Slot, State: "unknown"},
	}}
}
