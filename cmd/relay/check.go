package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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

	// Of what is about a place in relay.yaml.
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Snippet string `json:"snippet,omitempty"` // the line with a caret under the place, where it may be shown
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
		Use:   "check [FILE…]",
		Short: "Check configuration, database and endpoints, with a remedy for each problem",
		Long: `Checks relay.yaml, then the database (wal_level, role, slot, tables, columns, publication), then
each endpoint's name, address and certificate. No event is sent and nothing is changed. It also warns of what is legal
but hardly meant, such as plain http to a public host. What is about a place in relay.yaml is printed as
file:line:column, which editors and CI understand.

Exit status: 0 nothing is wrong, 1 something is, 2 relay.yaml has errors.`,
		Example: `  relay check
  relay check --offline         # relay.yaml alone, as in CI
  relay check --offline deploy/*/relay.yaml
  relay check --json | jq '.findings[] | select(.level != "ok")'`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				files = []string{c.config}
			}
			return checkFiles(cmd.Context(), c, files, offline)
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

// checkFiles checks one file after the other and reports all that it found.
func checkFiles(ctx context.Context, c *console, files []string, offline bool) error {
	var found []finding
	refused := false
	for _, file := range files {
		cfg, err := mapping.Load(file)
		var all mapping.Errors
		switch {
		case err == nil:
			found = append(found, check(ctx, cfg, offline)...)
		case errors.As(err, &all):
			refused = true
			found = append(found, configErrors(all)...)
		default:
			return err
		}
	}
	err := reportFindings(c, found)
	if refused {
		err = usageError{errReported}
	}
	return err
}

// configErrors is everything that is wrong with a relay.yaml.
func configErrors(all mapping.Errors) []finding {
	lines := fileLines(all)
	var found []finding
	for _, e := range all {
		found = append(found, finding{
			Level: levelError, Subject: e.Path, Problem: e.Message,
			File: e.File, Line: e.Line, Column: e.Column, Snippet: snippetOf(lines, e),
		})
	}
	return found
}

// byPlace puts what is about a place in the file first, in the order of the file; the rest stays as it was found.
func byPlace(found []finding) {
	slices.SortStableFunc(found, func(a, b finding) int {
		if a.File == "" || b.File == "" {
			return strings.Compare(b.File, a.File)
		}
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

func reportFindings(c *console, found []finding) error {
	byPlace(found)
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
		if f.File == "" {
			width = max(width, len(f.Subject))
		}
	}
	colours := map[string]string{levelOK: green, levelWarning: yellow, levelError: red}
	for _, f := range found {
		if f.File != "" {
			f.printPlaced(c, colours[f.Level])
			continue
		}
		level := c.paint(colours[f.Level], fmt.Sprintf("%-7s", f.Level))
		problem := strings.ReplaceAll(f.Problem, "\n", "\n"+strings.Repeat(" ", width+11)) // a server's words may have lines
		c.printf("%s  %-*s  %s\n", level, width, f.Subject, problem)
		f.printRemedy(c)
	}
}

// printPlaced writes a finding as compilers do.
func (f *finding) printPlaced(c *console, colour string) {
	place := f.File
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
	}
	problem := f.Problem
	if f.Subject != "" {
		problem = f.Subject + ": " + problem
	}
	c.printf("%s: %s %s\n", place, c.paint(colour, f.Level+":"), problem)
	if f.Snippet != "" {
		c.printf("%s\n", f.Snippet)
	}
	f.printRemedy(c)
}

func (f *finding) printRemedy(c *console) {
	for line := range strings.Lines(f.Remedy) {
		c.printf("%9s%s %s\n", "", c.paint(faint, "remedy:"), strings.TrimRight(line, "\n"))
	}
}
