package main

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is a Markdown table, aligned for reading as it is.
type table struct {
	rows [][]string // the first is the head
}

func newTable(head ...string) *table { return &table{[][]string{head}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String returns the table, or nothing if it has a head only.
func (t *table) String() string {
	if len(t.rows) == 1 {
		return ""
	}
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, row := range t.rows {
		for j, cell := range row {
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)))
		}
		b.WriteString("|\n")
		if i == 0 {
			for _, width := range widths {
				b.WriteString("|" + strings.Repeat("-", width+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

// report writes what was measured to where the flags want it.
func (o *options) report(m *machine, outcomes []outcome) error {
	if o.compare != "" {
		fmt.Print(o.comparison(m, outcomes))
		return nil
	}
	text := o.markdown(m, outcomes)
	if o.output == "" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	return replaceGenerated(o.output, text)
}

// markdown is the report.
func (o *options) markdown(m *machine, outcomes []outcome) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\nFormat %s, %s; medians of %s, and one round where there is no range.\n", m, o.format,
		map[bool]string{true: "relay signs", false: "unsigned"}[o.sign], count(cmp.Or(o.rounds, usualRounds), "round"))
	for _, part := range []struct {
		title string
		table *table
	}{
		{"Aims", aimsTable(outcomes)},
		{"Draining a backlog", drainTable(outcomes)},
		{"Commit to receipt", steadyTable(outcomes)},
		{"Parking", parkTable(outcomes)},
	} {
		if body := part.table.String(); body != "" {
			text.WriteString("\n### " + part.title + "\n\n" + body)
		}
	}
	return text.String()
}

func drainTable(outcomes []outcome) *table {
	t := newTable("receivers and events", "", "deliveries/s", "least–most", "of pipe", "of direct", "of in flight/latency",
		"CPU-s", "Postgres", "receiver", "allocations", "peak MiB", "shares")
	for _, o := range outcomes {
		if o.kind != draining {
			continue
		}
		for _, system := range o.systems {
			rate := o.median(system, rateOf)
			t.add(o.String(), system, fmt.Sprintf("%.0f", rate), o.spread(system, rateOf, "%.0f"),
				ratio(rate, o.median(sysPipe, rateOf)), ratio(rate, o.median(sysDirect, rateOf)), ratio(rate, o.ideal()),
				fmt.Sprintf("%.2f", o.median(system, cpuOf)), fmt.Sprintf("%.2f", o.median(system, postgresOf)),
				fmt.Sprintf("%.2f", o.median(system, receiverOf)), figure("%.1f", o.median(system, allocsOf)),
				figure("%.0f", o.median(system, memoryOf)), o.shares(system))
		}
	}
	return t
}

// shares tells how evenly endpoints were served, where there are some.
func (o outcome) shares(system string) string {
	if o.endpoints == 1 {
		return ""
	}
	return fmt.Sprintf("%.2f–%.2f", o.median(system, leastOf), o.median(system, mostOf))
}

func steadyTable(outcomes []outcome) *table {
	t := newTable("events", "", "p50 ms", "p90 ms", "p99 ms", "max ms", "p99 least–most", "written/s", "CPU-s", "allocations", "peak MiB")
	for _, o := range outcomes {
		if o.kind != steadily {
			continue
		}
		for _, system := range o.systems {
			t.add(o.String(), system,
				fmt.Sprintf("%.2f", o.median(system, p50Of)), fmt.Sprintf("%.2f", o.median(system, p90Of)),
				fmt.Sprintf("%.2f", o.median(system, p99Of)), fmt.Sprintf("%.1f", o.median(system, maxOf)),
				o.spread(system, p99Of, "%.2f"), fmt.Sprintf("%.0f", o.median(system, writtenOf)),
				fmt.Sprintf("%.2f", o.median(system, cpuOf)), figure("%.1f", o.median(system, allocsOf)),
				figure("%.0f", o.median(system, memoryOf)))
		}
	}
	return t
}

func parkTable(outcomes []outcome) *table {
	t := newTable("", "live/s", "parking/s", "draining/s", "draining of live", "CPU-s", "Postgres", "peak MiB")
	for _, o := range outcomes {
		if o.kind != parking {
			continue
		}
		t.add(o.String(), fmt.Sprintf("%.0f", o.median(sysRelay, liveOf)), fmt.Sprintf("%.0f", o.median(sysRelay, parkingOf)),
			fmt.Sprintf("%.0f", o.median(sysRelay, rateOf)), ratio(o.median(sysRelay, rateOf), o.median(sysRelay, liveOf)),
			fmt.Sprintf("%.2f", o.median(sysRelay, cpuOf)), fmt.Sprintf("%.2f", o.median(sysRelay, postgresOf)),
			figure("%.0f", o.median(sysRelay, memoryOf)))
	}
	return t
}

// ratio returns a/b as text; nothing where there is no b.
func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

// figure returns nothing for what is not known.
func figure(format string, value float64) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(format, value)
}

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return thousands(n) + " " + unit + "s"
}

// thousands writes 1000000 as 1,000,000.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
