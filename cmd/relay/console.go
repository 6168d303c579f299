package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// console is where a command reads and writes, and the two options every command has.
type console struct {
	in       io.Reader
	out, err io.Writer

	config string // path of relay.yaml
	json   bool   // print JSON rather than text for people
}

// defaultWidth is assumed where the terminal does not tell its own.
const defaultWidth = 80

func newConsole(in io.Reader, out, err io.Writer) *console {
	return &console{in: in, out: out, err: err, config: defaultConfig}
}

// isTerminal reports whether a stream is one a person is looking at.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// interactive reports whether a question would reach a person, and the answer us.
func (c *console) interactive() bool { return isTerminal(c.in) && isTerminal(c.err) }

// colour reports whether the output may be coloured; see no-color.org.
func (c *console) colour() bool {
	return isTerminal(c.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// width is how many columns the output has: what the terminal tells, or COLUMNS.
func (c *console) width() int {
	if f, ok := c.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	if w, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && w > 0 {
		return w
	}
	return defaultWidth
}

// height is how many lines the output has; 0 if it has no end.
func (c *console) height() int {
	if f, ok := c.out.(*os.File); ok {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil {
			return h
		}
	}
	return 0
}

// printf writes a result. A reader that closed the pipe has read enough.
func (c *console) printf(format string, args ...any) { _, _ = fmt.Fprintf(c.out, format, args...) }

// note writes what is not part of the result.
func (c *console) note(format string, args ...any) { _, _ = fmt.Fprintf(c.err, format, args...) }

// printJSON writes one indented JSON value and a line end.
func (c *console) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows in aligned columns, with a heading on a terminal only: what a script reads has one line per thing.
func (c *console) table(heading []string, rows [][]string) {
	var text strings.Builder
	if isTerminal(c.out) {
		text.WriteString(strings.ToUpper(strings.Join(heading, "\t")) + "\n")
	}
	for _, row := range rows {
		text.WriteString(strings.Join(row, "\t") + "\n")
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	_, _ = io.WriteString(w, text.String())
	_ = w.Flush() // a builder takes everything
	if !isTerminal(c.out) {
		c.printf("%s", table.String())
		return
	}
	for line := range strings.Lines(table.String()) { // one that wraps is hard to read; what is cut off, --json has
		c.printf("%s\n", cut(strings.TrimRight(line, "\n"), c.width()))
	}
}

// The colours used, as SGR parameters.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
	faint  = "2"
)

// paint colours text for a terminal and leaves it alone anywhere else.
func (c *console) paint(sgr, text string) string {
	if sgr == "" || !c.colour() {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// confirm asks before something that cannot be taken back. Without a terminal nobody can answer, so it refuses and
// names the flag that answers beforehand.
func (c *console) confirm(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if !c.interactive() {
		return usagef("%s: not asked for lack of a terminal; add --yes if that is what you want", question)
	}
	c.note("%s? [y/N] ", question)
	answer, err := await(ctx, func() (string, error) {
		text, _ := bufio.NewReader(c.in).ReadString('\n') // no answer is a no
		return text, nil
	})
	if err != nil {
		c.note("\n") // behind the question
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}

// await returns what read returns, or errInterrupted once ctx is done. Nothing calls off a read from a terminal or a pipe: it is
// left behind, as the process is about to end.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1) // 1: nobody may wait for it any more
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errInterrupted
	}
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
