// Bench measures relay on this machine against the pipe: the same decoding and the same POSTs, in key order, with no
// relay logic between. Both drain the same backlog, and follow the same steady writer, as processes of their own, in
// turns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are what the flags say.
type options struct {
	relay       string
	rows        int
	rounds      int
	delays      []time.Duration
	endpoints   []int
	concurrency int
	only        []string
	systems     []string
	rate        int
	steady      time.Duration
	format      string
	sign        bool
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
	if len(args) == 2 && args[0] == pipeCommand {
		return runPipe(ctx, args[1])
	}
	opts, err := parse(args)
	if err != nil {
		return err
	}
	return run(ctx, opts)
}

func parse(args []string) (*options, error) {
	o := &options{delays: []time.Duration{0, 20 * time.Millisecond}, endpoints: []int{1, 10}}
	o.only, o.systems = []string{"drain", "steady", "park"}, []string{"pipe", "relay"}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.StringVar(&o.relay, "relay", "bin/relay", "the relay `binary` to measure")
	set.IntVar(&o.rows, "rows", 100_000, "deliveries that a backlog makes: the `rows` of one endpoint, a tenth of them for ten")
	set.IntVar(&o.rounds, "rounds", 3, "how often each is measured; medians are printed")
	set.Func("delays", "how long the receiver takes to answer (default 0s,20ms)", list(&o.delays, time.ParseDuration))
	set.Func("endpoints", "how many endpoints take every event (default 1,10)", list(&o.endpoints, strconv.Atoi))
	set.IntVar(&o.concurrency, "concurrency", 0, "requests under way per endpoint (default 16, and 64 where the receiver is slow)")
	set.Func("only", "what to measure (default drain,steady,park)", list(&o.only, oneOf(o.only...)))
	set.Func("systems", "whom to measure, in turns (default pipe,relay)", list(&o.systems, oneOf(o.systems...)))
	set.IntVar(&o.rate, "rate", 500, "events a second of the steady writer")
	set.DurationVar(&o.steady, "steady", 10*time.Second, "how long the steady writer writes")
	set.StringVar(&o.format, "format", "standard", "format of the requests: standard or raw")
	set.BoolVar(&o.sign, "sign", false, "let relay sign what it sends; the pipe never does")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 || o.rows < 100 || o.rounds < 1 || o.rate < 1 || (o.format != "standard" && o.format != "raw") {
		return nil, errors.New("want -rows of 100 and more, -rounds and -rate of 1 and more, -format standard or raw, and no arguments")
	}
	return o, nil
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
