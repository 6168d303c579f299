package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// judge says what needs a person, and what to do about it.
func (r *statusReport) judge() {
	found := r.Problems // by the database
	r.Problems = []string{}
	add := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	switch {
	case !r.Running && r.Source.State == "in use":
		add("%s, but the slot is in use: a relay runs elsewhere, ask it with --address", strings.TrimPrefix(r.Reason, errNoRelay.Error()+": "))
	case !r.Running:
		add("%s: relay run", r.Reason)
	case r.Running && !r.Ready:
		add("not ready: %s", strings.Join(strings.Fields(r.Reason), " "))
	}
	r.Problems = append(r.Problems, found...)
	if r.Refused != "" {
		add("the file as it is now is refused and the one before it stays in use: %s", strings.Join(strings.Fields(r.Refused), " "))
	}
	if problem := r.Source.risk(); problem != "" {
		add("%s", problem)
	}
	if r.Unread != "" {
		add("what is parked is not known: %s", strings.Join(strings.Fields(r.Unread), " "))
	}
	for _, e := range r.Endpoints {
		switch e.State {
		case "down":
			add("%s is down: what it does not take is parked, and drains when it recovers", e.Name)
		case "gone":
			add("%s answered 410 Gone and is paused: relay resume %s, or take it out of the file", e.Name, e.Name)
		case "paused":
			add("%s is %s", e.Name, e.Paused)
		}
		if e.Dead > 0 {
			add("%s has %s: relay parked --dead --endpoint %s", e.Name, count(int(e.Dead), "dead letter", "dead letters"), e.Name)
		}
	}
}

// risk says how the slot is about to be lost, empty if it is not. That it is lost, others say.
func (s *sourceStatus) risk() string {
	switch {
	case !s.AtRisk || s.WALStatus == "lost" || s.Retained == nil:
		return ""
	case s.Safe != nil:
		return fmt.Sprintf("slot %s is about to lose WAL: %s kept, %s more and the server may drop it: raise max_slot_wal_keep_size",
			s.Slot, formatBytes(*s.Retained), formatBytes(max(0, *s.Safe)))
	}
	return fmt.Sprintf("slot %s is about to be lost: nobody has streamed from it for long (idle_replication_slot_timeout)", s.Slot)
}

// statusView shows reports: a screen that is redrawn when watching on a terminal, a line each when watching anywhere else.
type statusView struct {
	c           *console
	live, lines bool
	drawn       int
}

func newStatusView(c *console, watch bool) *statusView {
	live := watch && isTerminal(c.out) && os.Getenv("TERM") != "dumb"
	return &statusView{c: c, live: live, lines: watch && !live}
}

// show writes one report. An error is that of the writer.
func (v *statusView) show(r *statusReport, now time.Time) error {
	if v.lines {
		_, err := fmt.Fprintln(v.c.out, r.line(now))
		return err
	}
	screen := r.screen(v.c.width(), now)
	var b strings.Builder
	screen = fitHeight(screen, v.c.height())
	if v.live {
		if v.drawn > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
		}
		v.drawn = len(screen)
	}
	for _, line := range screen {
		text := v.c.paint(line.sgr, line.text)
		if v.live {
			text = "\r" + text + "\x1b[K"
		}
		b.WriteString(text + "\n")
	}
	if v.live {
		b.WriteString("\x1b[J")
	}
	_, err := io.WriteString(v.c.out, b.String())
	return err
}

// fitHeight cuts what a terminal of that height would scroll away; 0 is no terminal. What is cut off is well, or not as bad as
// what is above.
func fitHeight(screen []paintedLine, height int) []paintedLine {
	if height < 3 || len(screen) < height {
		return screen
	}
	more := paintedLine{fmt.Sprintf("(%d lines more: relay status | less)", len(screen)-height+2), faint}
	return append(screen[:height-2:height-2], more)
}

// line is the report in one line.
func (r *statusReport) line(now time.Time) string {
	verdict := "ok"
	if !r.OK {
		verdict = "NEEDS YOU"
	}
	var inFlight, queued int
	var parked, dead, delivered int64
	var rate float64
	for _, e := range r.Endpoints {
		inFlight, queued = inFlight+e.InFlight, queued+e.Queued
		parked, dead, delivered = parked+e.Waiting, dead+e.Dead, delivered+e.Delivered
		rate += e.Rate
	}
	text := fmt.Sprintf("%s  %s  %s  behind %s (%s)  delivered %d (%s/s)  in flight %d  queued %d  parked %d  dead %d",
		now.Format(time.TimeOnly), verdict, r.state(), formatBytes(r.Source.LagBytes), short(r.Source.Lag), delivered, perSecond(rate), inFlight, queued, parked, dead)
	if !r.OK {
		text += "  " + strings.Join(r.Problems, "; ")
	}
	return text
}

// state is what the relay does, in a word or two.
func (r *statusReport) state() string {
	if !r.Running {
		return r.Source.State
	}
	if r.Ready && r.Reason != "" && r.Reason != "streaming" {
		return r.Reason // standing by
	}
	return r.Source.State
}

// screen is the report as lines that fit the width: the verdict, what needs a person, the slot, and each endpoint, those in
// trouble first.
func (r *statusReport) screen(width int, now time.Time) []paintedLine {
	var lines []paintedLine
	add := func(sgr, indent string, words ...string) {
		for _, text := range wrap(words, indent, width) {
			lines = append(lines, paintedLine{text, sgr})
		}
	}
	switch {
	case r.OK:
		add(green, "", "relay "+r.Version+" is fine:", r.state())
	default:
		add(red, "", fmt.Sprintf("relay %s needs you:", r.Version))
	}
	for _, p := range r.Problems {
		add(red, "  ", append([]string{"-"}, strings.Fields(p)...)...)
	}
	for _, n := range r.Notes {
		add(yellow, "  ", append([]string{"-"}, strings.Fields(n)...)...)
	}
	add("", "", "")
	add("", "  ", r.sourceWords(now)...)
	if r.Running {
		add("", "  ", "memory", fmt.Sprintf(" %d of %d events,", r.Window.Events, r.Window.MaxEvents),
			fmt.Sprintf("%s of %s", formatBytes(r.Window.Bytes), formatBytes(r.Window.MaxBytes)))
	}
	add("", "", "")
	name := 0
	for _, e := range r.Endpoints {
		name = max(name, utf8.RuneCountInString(e.Name))
	}
	name = min(name, max(8, width/3))
	for _, e := range r.worstFirst() {
		add(e.colour(), "  ", e.words(name, now)...)
		if e.LastError != "" {
			// What the endpoint said may be long: the beginning tells most, and relay parked has the rest.
			text := fmt.Sprintf("    last error %s ago: %s", since(e.ErrorAt, now), printable(e.LastError))
			lines = append(lines, paintedLine{cut(text, width), faint})
		}
	}
	return lines
}

func (r *statusReport) sourceWords(now time.Time) []string {
	words := []string{"slot  ", r.Source.Slot}
	add := func(word string) {
		words[len(words)-1] += ","
		words = append(words, word)
	}
	if r.Running || r.Source.Retained != nil { // else the database does not tell
		behind := formatBytes(r.Source.LagBytes) + " behind"
		if r.Running {
			behind += " (" + short(r.Source.Lag) + ")"
		}
		add(behind)
	}
	if w := r.Source.Retained; w != nil && r.Running {
		add("keeps " + formatBytes(*w) + " of WAL")
	}
	if w := r.Source.Safe; w != nil {
		add("may keep " + formatBytes(max(0, *w)) + " more")
	}
	if w := r.Source.WALStatus; w != "" && w != "reserved" {
		add("wal_status " + w)
	}
	add(r.Source.State)
	if !r.Source.Since.IsZero() && r.Running {
		words = append(words, "for "+since(r.Source.Since, now))
	}
	if e := r.Source.LastError; e != "" && !r.Ready && r.Running {
		add(strings.Join(strings.Fields(e), " "))
	}
	return words
}

// worstFirst returns the endpoints in the order of the file, those in trouble before the others.
func (r *statusReport) worstFirst() []endpointStatus {
	all := slices.Clone(r.Endpoints)
	slices.SortStableFunc(all, func(a, b endpointStatus) int { return a.weight() - b.weight() })
	return all
}

func (e *endpointStatus) weight() int {
	switch {
	case e.State == "down" || e.State == "gone" || e.Dead > 0:
		return 0
	case e.State == "paused" || e.State == "draining":
		return 1
	default:
		return 2
	}
}

func (e *endpointStatus) colour() string { return [...]string{red, yellow, ""}[e.weight()] }

// words is an endpoint in pieces that are not broken. What is zero is left out.
func (e *endpointStatus) words(width int, now time.Time) []string {
	words := []string{fmt.Sprintf("%-*s", width, e.Name), fmt.Sprintf("%-8s", e.State)}
	add := func(n int64, what string) {
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %s,", n, what))
		}
	}
	if e.State == "down" && e.OpenUntil.After(now) {
		words = append(words, "tried again in "+since(now, e.OpenUntil)+",")
	}
	if e.State != "stopped" && (e.Paused == "" || e.Delivered > 0) {
		words = append(words, fmt.Sprintf("%d delivered,", e.Delivered))
	}
	if e.Rate > 0 {
		words = append(words, perSecond(e.Rate)+"/s,", "p50 "+short(e.P50), "p99 "+short(e.P99)+",")
	}
	add(int64(e.InFlight), "in flight")
	add(int64(e.Queued), "queued")
	add(e.Waiting, "parked")
	add(e.Dead, "dead")
	if !e.Oldest.IsZero() && now.Sub(e.Oldest) > time.Second {
		words = append(words, "oldest "+since(e.Oldest, now)+",")
	}
	words[len(words)-1] = strings.TrimSuffix(words[len(words)-1], ",")
	return words
}

// perSecond writes a rate with two digits that count.
func perSecond(rate float64) string {
	if rate < 10 {
		return fmt.Sprintf("%.2g", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

// short writes a time in seconds as a person would say it.
func short(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d == 0:
		return "0s"
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return since(time.Time{}, time.Time{}.Add(d))
	}
}

// since is the time between, as a person would say it.
func since(from, to time.Time) string {
	d := max(0, to.Sub(from))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

// wrap joins words to lines no wider than width, if no word is; lines after the first are indented twice.
func wrap(words []string, indent string, width int) []string {
	var lines []string
	line := indent
	for i, word := range words {
		if i > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, cut(strings.TrimRight(line, " "), width))
			line = indent + "  "
		} else if i > 0 {
			line += " "
		}
		line += word
	}
	return append(lines, cut(strings.TrimRight(line, " "), width))
}
