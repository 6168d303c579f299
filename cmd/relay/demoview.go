package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// demoView shows the demo: a table that is redrawn on a terminal, a line a second anywhere else.
type demoView struct {
	c     *console
	live  bool
	drawn int // lines of the table now on the screen
}

// demoMoment is what the view shows.
type demoMoment struct {
	Elapsed, Duration time.Duration
	Caption           string
	App               demoCount
	Lag               int64 // bytes the slot is behind; -1: not known
	Rows              []demoRow
}

// demoRow is an endpoint in the view.
type demoRow struct {
	Name, Subscription string
	Seen               demoSeen
	Wanted             int
	Breaker            string // as the relay says; empty: not known
	Parked             int64
}

func newDemoView(c *console) *demoView {
	return &demoView{c: c, live: !c.json && isTerminal(c.out) && os.Getenv("TERM") != "dumb"}
}

// interval is how often to show.
func (v *demoView) interval() time.Duration {
	if v.live {
		return 200 * time.Millisecond
	}
	return time.Second
}

// say writes a line, unless only the verdict is wanted.
func (v *demoView) say(format string, args ...any) {
	if !v.c.json {
		v.c.printf(format+"\n", args...)
	}
}

func (v *demoView) intro() {
	v.say(`%s
A shop writes orders to Postgres and, in the same transactions, the events that tell of them.
relay reads what was committed from the write-ahead log and POSTs it to three endpoints.
One of them fails for a while: the others should not notice, and its own events should wait
and then arrive in order. One transaction in ten rolls back: nobody should hear of those.
`, v.c.paint(bold, "relay demo"))
}

// moment gathers what there is to see.
func (d *demo) moment(ctx context.Context, elapsed time.Duration, wrote bool) demoMoment {
	m := demoMoment{
		Elapsed: elapsed, Duration: d.duration, App: d.app.Count(), Lag: -1, Caption: d.caption(elapsed, wrote),
	}
	status := d.relay.Status(ctx)
	if status != nil {
		m.Lag = status.Source.LagBytes
	}
	for _, r := range d.receivers {
		// Wanted first: a receipt may be ahead of the count of its commit, never the other way round.
		row := demoRow{Name: r.name, Subscription: r.subscription(), Wanted: d.app.Wanted(r.wants), Seen: r.Seen(time.Now())}
		if status != nil {
			for _, ep := range status.Endpoints {
				if ep.Name == r.name {
					row.Breaker, row.Parked = ep.Breaker, ep.Waiting
				}
			}
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func (d *demo) caption(elapsed time.Duration, wrote bool) string {
	from, to := d.outage()
	name := d.receivers[0].name
	switch {
	case wrote && d.arrived():
		return "Everything has arrived. Looking out for receipts too many…"
	case wrote:
		return "The shop has closed. Waiting for the last deliveries…"
	case elapsed < from:
		return "All three endpoints are up."
	case elapsed < to:
		return name + " answers 503 to everything now. The other two go on; its events wait."
	default:
		return name + " is back: what waited drains in order, on its own."
	}
}

func (v *demoView) show(m demoMoment) {
	switch {
	case v.c.json:
	case v.live:
		v.draw(m.lines(v.c.width()))
	default:
		v.c.printf("%s\n", m.line())
	}
}

// line is the moment as one line of plain text.
func (m demoMoment) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%3.0fs  committed %d, rolled back %d", m.Elapsed.Seconds(), m.App.Committed, m.App.RolledBack)
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "  |  %s %d", r.Name, r.Seen.Received)
		if behind := r.behind(); behind > 0 {
			fmt.Fprintf(&b, " (%d to come)", behind)
		}
		if r.Seen.Failing {
			b.WriteString(" 503!")
		}
	}
	return b.String()
}

func (r *demoRow) behind() int { return max(0, r.Wanted-r.Seen.Received) }

// paintedLine is a line and how to colour it as a whole, so that cutting it to the width cannot cut a colour in two.
type paintedLine struct {
	text, sgr string
}

// lines is the moment as a table that fits the width.
func (m demoMoment) lines(width int) []paintedLine {
	head := fmt.Sprintf("%.0fs of %.0fs   transactions: %d committed, %d rolled back   events: %d",
		min(m.Elapsed, m.Duration).Seconds(), m.Duration.Seconds(), m.App.Committed, m.App.RolledBack, m.App.Events)
	if m.Lag >= 0 {
		head += fmt.Sprintf("   slot behind: %s", formatBytes(m.Lag))
	}
	lines := []paintedLine{{head, ""}, {"", ""}}
	cells := [][]string{{"ENDPOINT", "ANSWERS", "RECEIVED", "TO COME", "DELAY", "BREAKER", "PARKED", "SUBSCRIBED TO"}}
	sgr := []string{faint}
	for _, r := range m.Rows {
		cells = append(cells, r.cells())
		sgr = append(sgr, r.colour())
	}
	for i, text := range layOut(cells, width) {
		lines = append(lines, paintedLine{text, sgr[i]})
	}
	lines = append(lines, paintedLine{"", ""}, paintedLine{m.Caption, bold})
	for i := range lines {
		lines[i].text = cut(lines[i].text, width)
	}
	return lines
}

func (r *demoRow) cells() []string {
	answers, delay := "200", "-"
	if r.Seen.Failing {
		answers = "503"
	}
	if r.Seen.Delay > 0 {
		delay = formatDelay(r.Seen.Delay)
	}
	breaker, parked := "-", "-"
	if r.Breaker != "" {
		breaker, parked = r.Breaker, strconv.FormatInt(r.Parked, 10)
	}
	return []string{
		r.Name, answers, strconv.Itoa(r.Seen.Received), strconv.Itoa(r.behind()), delay, breaker, parked, r.Subscription,
	}
}

func (r *demoRow) colour() string {
	switch {
	case r.Seen.Failing:
		return red
	case r.behind() > demoBehindMuch:
		return yellow
	default:
		return green
	}
}

// demoBehindMuch is more than what is always under way.
const demoBehindMuch = 50

// layOut aligns the cells, leaving out columns from the right until the rest fits.
func layOut(cells [][]string, width int) []string {
	columns := len(cells[0])
	widths := make([]int, columns)
	for _, row := range cells {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	total := 0
	for i, w := range widths {
		if total += w + 2; total-2 > width && i > 0 {
			columns = i
			break
		}
	}
	lines := make([]string, len(cells))
	for i, row := range cells {
		var b strings.Builder
		for j, cell := range row[:columns] {
			fmt.Fprintf(&b, "%-*s", widths[j]+2, cell)
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// cut shortens a line to the width, in characters.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(0, width)])
}

// draw replaces the table on the screen, in one write lest it flickers.
func (v *demoView) draw(lines []paintedLine) {
	if h := v.c.height(); h > 1 {
		lines = lines[:min(len(lines), h-1)] // moving up past the top would leave ruins
	}
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r" + v.c.paint(line.sgr, line.text) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	v.drawn = len(lines)
	v.c.printf("%s", b.String())
}

// formatBytes writes a size in the unit that suits it.
func formatBytes(n int64) string {
	const step = 1024
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	size, unit := float64(n), 0
	for size >= step && unit < len(units)-1 {
		size, unit = size/step, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// formatDelay writes a duration with as many digits as matter.
func formatDelay(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}
