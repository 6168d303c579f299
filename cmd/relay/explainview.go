package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"relay/delivery"
)

// explainedTarget is the request that would be made.
type explainedTarget struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body,omitempty"`
	Base64  []byte            `json:"body_base64,omitempty"` // of a body that is not text
}

func newExplainedTarget(p *delivery.Preview) *explainedTarget {
	t := &explainedTarget{Method: p.Method, URL: p.URL, Headers: map[string]string{}}
	for _, h := range p.Headers {
		t.Headers[h[0]] = h[1]
	}
	if utf8.Valid(p.Body) {
		t.Body = string(p.Body)
	} else {
		t.Base64 = p.Body
	}
	return t
}

// change is what another configuration would make different for one event and endpoint.
type change struct {
	Endpoint string   `json:"endpoint"`
	Before   string   `json:"before"` // the verdict
	After    string   `json:"after"`
	What     []string `json:"what"`
}

// changes compares what two configurations make of an event.
func changes(before, after []explainedEndpoint) []change {
	find := func(list []explainedEndpoint, name string) explainedEndpoint {
		i := slices.IndexFunc(list, func(e explainedEndpoint) bool { return e.Endpoint == name })
		if i < 0 {
			return explainedEndpoint{Endpoint: name, Verdict: verdictNone, Reason: "it is not in the file"}
		}
		return list[i]
	}
	var found []change
	compare := func(a, b explainedEndpoint) {
		c := change{Endpoint: a.Endpoint, Before: a.Verdict, After: b.Verdict, What: differences(&a, &b)}
		if len(c.What) > 0 {
			found = append(found, c)
		}
	}
	for _, a := range before {
		compare(a, find(after, a.Endpoint))
	}
	for _, b := range after {
		if a := find(before, b.Endpoint); !slices.ContainsFunc(before, func(e explainedEndpoint) bool { return e.Endpoint == b.Endpoint }) {
			compare(a, b)
		}
	}
	return found
}

func differences(a, b *explainedEndpoint) []string {
	switch {
	case a.Verdict != b.Verdict && b.Verdict == verdictDead:
		return []string{"would be a dead letter: " + b.Error}
	case a.Verdict != b.Verdict && b.Verdict == verdictSent:
		return []string{"would be sent: " + b.Reason}
	case a.Verdict != b.Verdict:
		return []string{"would not be sent: " + b.Reason}
	case b.Verdict == verdictDead && a.Error != b.Error:
		return []string{"still a dead letter, but: " + b.Error}
	case b.Verdict != verdictSent:
		return nil
	}
	var what []string
	if a.Paused != b.Paused {
		what = append(what, map[bool]string{true: "is paused: parked rather than sent", false: "is not paused any more"}[b.Paused])
	}
	return append(what, requestDifferences(a.preview, b.preview)...)
}

// requestDifferences tells two requests apart. A signature always differs with the body, so it is told only where it alone does.
func requestDifferences(a, b *delivery.Preview) []string {
	var what []string
	if !a.SameURL(b) {
		what = append(what, fmt.Sprintf("url: %s -> %s", a.URL, b.URL))
	}
	sameBody := slices.Equal(a.Body, b.Body)
	names := map[string]bool{}
	for _, h := range slices.Concat(a.Headers, b.Headers) {
		name := h[0]
		if names[name] || a.SameHeader(b, name) || name == "Host" || name == "Content-Length" {
			continue
		}
		names[name] = true
		from, had := a.Header(name)
		to, has := b.Header(name)
		switch {
		case !had:
			what = append(what, fmt.Sprintf("%s: added, %s", name, to))
		case !has:
			what = append(what, fmt.Sprintf("%s: gone, was %s", name, from))
		case name == "Webhook-Signature" && strings.Count(from, " ") == strings.Count(to, " ") && !sameBody:
		case name == "Webhook-Signature" || from == to:
			what = append(what, name+": another")
		default:
			what = append(what, fmt.Sprintf("%s: %s -> %s", name, from, to))
		}
	}
	if !sameBody {
		what = append(what, "body: "+shownBody(a.Body), "   -> "+shownBody(b.Body))
	}
	return what
}

// maxShown bounds what people are shown of a body; --json has all of it.
const maxShown = 4000

// shownBody is a body as people see it.
func shownBody(b []byte) string {
	switch {
	case !utf8.Valid(b):
		return fmt.Sprintf("(%s that are no text)", count(len(b), "byte", "bytes"))
	case len(b) == 0:
		return "(empty)"
	case len(b) > maxShown:
		end := maxShown
		for !utf8.RuneStart(b[end]) {
			end--
		}
		return shownBody(b[:end]) + fmt.Sprintf("… (%d bytes in all)", len(b))
	}
	control := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }
	if strings.ContainsFunc(string(b), control) {
		return strconv.QuoteToGraphic(string(b))
	}
	return string(b)
}

func (x *explain) print(all []explainedEvent) {
	if len(all) == 0 {
		x.printf("the outbox is empty: give an event with --event, or insert one with relay send\n")
		return
	}
	changed := 0
	for i, e := range all {
		if len(e.Changes) > 0 {
			changed++
		}
		if x.edited != nil && len(e.Changes) == 0 {
			continue
		}
		if i > 0 && (x.edited == nil || changed > 1) {
			x.printf("\n")
		}
		x.printEvent(&e)
	}
	if x.edited != nil {
		x.note("%s of %s would be treated differently by %s\n", strconv.Itoa(changed), count(len(all), "event", "events"), x.against)
	}
}

func (x *explain) printEvent(e *explainedEvent) {
	head := printable(e.Type) + "  " + printable(e.ID)
	if e.Key != nil {
		head += "  key " + printable(*e.Key)
	}
	head += "  " + e.Time.Format(time.RFC3339)
	if e.Table != "" {
		head += "  " + e.Table
	}
	x.printf("%s\n", x.paint(bold, head))
	if e.Problem != "" {
		x.printf("  %s\n", x.paint(red, printable(e.Problem)))
	}
	if x.edited != nil {
		for _, c := range e.Changes {
			for i, what := range c.What {
				name := c.Endpoint
				if i > 0 {
					name = strings.Repeat(" ", len(name))
				}
				x.printf("  %s  %s\n", name, strings.ReplaceAll(what, "\n", "\n    "))
			}
		}
		return
	}
	for _, ep := range e.Endpoints {
		x.printEndpoint(&ep)
	}
}

func (x *explain) printEndpoint(e *explainedEndpoint) {
	words := map[string]string{verdictSent: x.paint(green, "sent"), verdictDead: x.paint(red, "dead letter"), verdictNone: x.paint(faint, "not sent")}
	x.printf("  %s: %s: %s\n", e.Endpoint, words[e.Verdict], e.Reason)
	if len(e.Operands) > 0 {
		values := make([]string, len(e.Operands))
		for i, o := range e.Operands {
			values[i] = o.Text + " = " + printable(o.Value)
		}
		x.printf("    with %s\n", strings.Join(values, ", "))
	}
	if e.Error != "" {
		x.printf("    %s\n", x.paint(red, printable(e.Error)))
	}
	if e.Paused {
		x.printf("    paused in the file: parked until it is not\n")
	}
	if e.Request == nil {
		return
	}
	x.printf("    %s %s\n", e.preview.Method, e.preview.URL)
	for _, h := range e.preview.Headers {
		x.printf("    %s: %s\n", h[0], printable(h[1]))
	}
	x.printf("\n    %s\n", strings.ReplaceAll(shownBody(e.preview.Body), "\n", "\n    "))
}
