// Bench measures relay on this machine, in turns with what it is to be held against: the pipe, which does the same decoding
// and the same POSTs in key order and nothing else, once over net/http and once over connections of its own, and a polling
// relay such as one writes instead. All are processes of their own, on the same Postgres, with the same receivers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the flags say.
type options struct {
	relay       string
	compare     string // the commit to hold relay against; empty: none
	suite       string
	run         *regexp.Regexp // of scenarios' names, instead of the suite
	systems     []string       // empty: the scenario's
	rows        int            // 0: the scenario's
	rounds      int            // 0: the suite's
	steady      time.Duration  // 0: the suite's
	concurrency int            // 0: the scenario's
	format      string
	sign        bool
	output      string
	list        bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 2 {
		switch args[0] {
		case pipeCommand:
			return runPipe(ctx, args[1])
		case pollerCommand:
			return runPoller(ctx, args[1])
		}
	}
	opts, err := parse(args)
	if err != nil {
		return err
	}
	if opts.list {
		for _, s := range catalogue() {
			fmt.Printf("%-18s %s\n", s.name, strings.Join(s.suites, " "))
		}
		return nil
	}
	return run(ctx, opts)
}

func parse(args []string) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.StringVar(&o.relay, "relay", "bin/relay", "the relay `binary` to measure")
	set.StringVar(&o.compare, "compare", "", "hold it against the relay of this `commit` instead of writing the report")
	set.StringVar(&o.suite, "suite", "quick", "which scenarios to run: quick (about 5 minutes), full (about 25)")
	set.Func("run", "run the scenarios whose whole names match this `regexp` instead of a suite's", func(text string) (err error) {
		o.run, err = regexp.Compile("^(?:" + text + ")$")
		return err
	})
	set.BoolVar(&o.list, "list", false, "print the names of all scenarios, with the suites they are in, and end")
	set.Func("systems", "whom to measure, in turns, instead of whom the scenario names: "+strings.Join(everySystem, ","),
		list(&o.systems, oneOf(everySystem...)))
	set.IntVar(&o.rows, "rows", 0, "deliveries that each backlog makes, instead of the scenario's: its `rows` times its endpoints")
	set.IntVar(&o.rounds, "rounds", 0, "how often each is measured, instead of the suite's; medians are printed")
	set.DurationVar(&o.steady, "steady", 0, "how long the steady writer writes, instead of the suite's")
	set.IntVar(&o.concurrency, "concurrency", 0, "requests under way per endpoint, instead of the scenario's")
	set.StringVar(&o.format, "format", "standard", "format of the requests: standard or raw")
	set.BoolVar(&o.sign, "sign", false, "let relay sign what it sends; the others never do")
	set.StringVar(&o.output, "o", "", "write the report into this `file`, between its markers, instead of to standard output")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	return o, o.check(set.NArg())
}

func (o *options) check(arguments int) error {
	switch {
	case arguments > 0:
		return errors.New("takes flags, and no arguments")
	case o.suite != quick && o.suite != full:
		return fmt.Errorf("-suite %s: want quick or full", o.suite)
	case o.rows != 0 && o.rows < 100 || o.rounds < 0 || o.steady < 0 || o.concurrency < 0:
		return errors.New("want -rows of 100 and more, and nothing negative")
	case o.format != "standard" && o.format != "raw":
		return fmt.Errorf("-format %s: want standard or raw", o.format)
	case len(o.scenarios()) == 0:
		return errors.New("-run matches no scenario, -list prints their names")
	}
	return nil
}

// oneOf returns a function that lets only these words through.
func oneOf(words ...string) func(string) (string, error) {
	return func(word string) (string, error) {
		if !slices.Contains(words, word) {
			return "", fmt.Errorf("%q is none of %s", word, strings.Join(words, ", "))
		}
		return word, nil
	}
}

// list returns a flag's function that replaces a slice by comma-separated values.
func list[T any](to *[]T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		*to = nil
		for field := range strings.SplitSeq(text, ",") {
			value, err := parse(field)
			if err != nil {
				return err
			}
			*to = append(*to, value)
		}
		return nil
	}
}
