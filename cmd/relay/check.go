package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relay/cdc"
	"relay/mapping"
)

// finding is one thing that relay check looked at.
type finding struct {
	Level   string `json:"level"` // ok, warning or error
	Subject string `json:"subject"`
	Problem string `json:"problem,omitempty"` // with level ok: what was found
	Remedy  string `json:"remedy,omitempty"`
}

// The levels of a finding, the same as in package cdc.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelError   = "error"
)

// checkTimeout bounds what the database may take to answer all questions.
const checkTimeout = 30 * time.Second

func newCheckCommand(c *console) *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, database and endpoints, with a remedy for each problem",
		Long: `Checks relay.yaml, then the database (wal_level, role, slot, tables, columns, publication), then
each endpoint's name, address and certificate. No event is sent and nothing is changed. It also warns of what is legal
but hardly meant, such as plain http to a public host.

Exit status: 0 nothing is wrong, 1 something is, 2 relay.yaml has errors.`,
		Example: `  relay check
  relay check --offline         # relay.yaml alone, as in CI
  relay check --json | jq '.findings[] | select(.level != "ok")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := mapping.Load(c.config)
			if err != nil {
				return reportConfigErrors(c, err)
			}
			return reportFindings(c, check(cmd.Context(), cfg, offline))
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "check the configuration only")
	return cmd
}

// check returns everything there is to say about a configuration that loads.
func check(ctx context.Context, cfg *mapping.Config, offline bool) []finding {
	found := []finding{{Level: levelOK, Subject: cfg.File, Problem: count(len(cfg.Endpoints), "endpoint", "endpoints")}}
	found = append(found, advise(cfg)...)
	if offline {
		return found
	}
	dbCtx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for _, f := range cdc.Inspect(dbCtx, sourceOf(cfg)) {
		found = append(found, finding{Level: f.Level, Subject: f.Subject, Problem: f.Problem, Remedy: f.Remedy})
	}
	found = append(found, checkTables(dbCtx, cfg)...)
	return append(found, checkEndpoints(ctx, cfg.Endpoints)...)
}

// reportConfigErrors says everything that is wrong with relay.yaml.
func reportConfigErrors(c *console, err error) error {
	if !c.json {
		return withSnippets(err)
	}
	var found []finding
	var all mapping.Errors
	if !errors.As(err, &all) {
		return err
	}
	for _, e := range all {
		place, message, _ := strings.Cut(e.Error(), ": ")
		found = append(found, finding{Level: levelError, Subject: place, Problem: message})
	}
	if err := printFindingsJSON(c, found, false); err != nil {
		return err
	}
	return usageError{errReported}
}

func reportFindings(c *console, found []finding) error {
	wrong := 0
	for _, f := range found {
		if f.Level == levelError {
			wrong++
		}
	}
	if c.json {
		if err := printFindingsJSON(c, found, wrong == 0); err != nil {
			return err
		}
	} else {
		printFindings(c, found)
	}
	if wrong > 0 {
		return errReported
	}
	return nil
}

func printFindingsJSON(c *console, found []finding, ok bool) error {
	return c.printJSON(struct {
		OK       bool      `json:"ok"`
		Findings []finding `json:"findings"`
	}{ok, found})
}

// printFindings writes a line for each finding, and its remedy, of several lines perhaps, under it.
func printFindings(c *console, found []finding) {
	width := 0
	for _, f := range found {
		width = max(width, len(f.Subject))
	}
	colours := map[string]string{levelOK: green, levelWarning: yellow, levelError: red}
	for _, f := range found {
		level := c.paint(colours[f.Level], fmt.Sprintf("%-7s", f.Level))
		problem := strings.ReplaceAll(f.Problem, "\n", "\n"+strings.Repeat(" ", width+11)) // a server's words may have lines
		c.printf("%s  %-*s  %s\n", level, width, f.Subject, problem)
		for line := range strings.Lines(f.Remedy) {
			c.printf("%9s%s %s\n", "", c.paint(faint, "remedy:"), strings.TrimRight(line, "\n"))
		}
	}
}
