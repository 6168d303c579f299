package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"relay/delivery"
	"relay/delivery/park"
	"relay/mapping"
)

// selection is which parked deliveries a command is about.
type selection struct {
	ids               []int64
	endpoint, typ     string
	since, until      when
	dead, all, assent bool
}

func (s *selection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.endpoint, "endpoint", "", "those of this `endpoint`")
	f.StringVar(&s.typ, "type", "", "those of this event `type`")
	f.Var(&s.since, "since", "those parked since: RFC 3339, or an age such as 24h")
	f.Var(&s.until, "until", "those parked before: RFC 3339, or an age such as 1h")
	f.BoolVar(&s.dead, "dead", false, "only dead ones")
	f.BoolVar(&s.all, "all", false, "all there are")
	f.BoolVarP(&s.assent, "yes", "y", false, "do not ask")
}

// take reads the IDs, and refuses a selection of everything that does not say so.
func (s *selection) take(args []string) error {
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return usagef("%q is not an ID of relay parked", arg)
		}
		s.ids = append(s.ids, id)
	}
	narrow := len(s.ids) > 0 || s.endpoint != "" || s.typ != "" || s.dead || !s.since.IsZero() || !s.until.IsZero()
	if !narrow && !s.all {
		return usagef("say which: IDs, --endpoint, --type, --since, --until or --dead; or --all")
	}
	return nil
}

func (s *selection) filter() park.Filter {
	f := park.Filter{IDs: s.ids, Endpoint: s.endpoint, Type: s.typ, Since: s.since.Time, Until: s.until.Time}
	if s.dead {
		f.State = delivery.Dead
	}
	return f
}

// String says it in words, for the question.
func (s *selection) String() string {
	words := []string{"every parked delivery"}
	if len(s.ids) > 0 {
		words[0] = fmt.Sprintf("%d parked deliveries", len(s.ids))
	}
	if s.dead {
		words[0] = strings.Replace(words[0], "parked", "dead", 1)
	}
	add := func(word, value string) {
		if value != "" {
			words = append(words, word+" "+value)
		}
	}
	add("of endpoint", s.endpoint)
	add("of type", s.typ)
	add("since", s.since.String())
	add("until", s.until.String())
	return strings.Join(words, " ")
}

// ask asks before a command changes more than one delivery.
func (s *selection) ask(ctx context.Context, c *console, store *park.Store, verb string) error {
	f := s.filter()
	f.Limit = 2
	found, err := store.List(ctx, f)
	if err != nil || len(found) < 2 {
		return err
	}
	return c.confirm(ctx, verb+" "+s.String(), s.assent)
}

// wantEndpoint refuses the name of an endpoint that is neither in relay.yaml nor has anything parked: it is misspelt.
func wantEndpoint(ctx context.Context, cfg *mapping.Config, store *park.Store, name string) error {
	if name == "" || cfg.Endpoint(name) != nil {
		return nil
	}
	found, err := store.List(ctx, park.Filter{Endpoint: name, Limit: 1})
	if err == nil && len(found) == 0 {
		err = unknownEndpoint(cfg, name)
	}
	return err
}

// withStore runs f with the configuration and the relay's own tables.
func withStore(ctx context.Context, c *console, f func(*mapping.Config, *park.Store) error) error {
	cfg, err := mapping.Load(c.config)
	if err != nil {
		return err
	}
	store, err := park.Open(ctx, cfg.Source.URL, cfg.Source.Schema, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer store.Close()
	version, err := store.Version(ctx)
	if err != nil {
		return err
	}
	if f := checkVersion(version, nil); f.Level != levelOK {
		return fmt.Errorf("schema %s %s (remedy: %s)", cfg.Source.Schema, f.Problem, f.Remedy)
	}
	return f(cfg, store)
}
