package main

import (
	"context"

	"github.com/spf13/cobra"

	"relay/delivery/park"
	"relay/mapping"
)

func newRetryCommand(c *console) *cobra.Command {
	return newSelectionCommand(c, "retry", "retried", (*park.Store).Retry, &cobra.Command{
		Use:   "retry [ID…]",
		Short: "Try parked deliveries again, now",
		Long: `Makes parked deliveries due now, with all their attempts before them. Dead ones wait again, in their place
in the order of their key. A running relay notices at once.`,
		Example: `  relay retry 4711
  relay retry --dead --endpoint billing --since 24h
  relay retry --all --yes`,
	})
}

func newDiscardCommand(c *console) *cobra.Command {
	return newSelectionCommand(c, "discard", "discarded", (*park.Store).Discard, &cobra.Command{
		Use:   "discard [ID…]",
		Short: "Give up parked deliveries for good",
		Long:  "Deletes parked deliveries: their endpoints will not get them. What they held back goes on.",
		Example: `  relay discard 4711
  relay discard --dead --endpoint billing --until 720h
  relay discard --endpoint old --all --yes`,
	})
}

// changeFunc changes the parked deliveries that match and returns how many there were.
type changeFunc func(*park.Store, context.Context, park.Filter) (int64, error)

// newSelectionCommand completes a command that changes a selection of parked deliveries.
func newSelectionCommand(c *console, verb, done string, change changeFunc, cmd *cobra.Command) *cobra.Command {
	s := &selection{}
	s.flags(cmd)
	must(cmd.RegisterFlagCompletionFunc("endpoint", completeEndpoint(c)))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := s.take(args); err != nil {
			return err
		}
		return withStore(cmd.Context(), c, func(cfg *mapping.Config, store *park.Store) error {
			if err := wantEndpoint(cmd.Context(), cfg, store, s.endpoint); err != nil {
				return err
			}
			if err := s.ask(cmd.Context(), c, store, verb); err != nil {
				return err
			}
			n, err := change(store, cmd.Context(), s.filter())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]int64{done: n})
			}
			c.printf("%s %s\n", done, count(int(n), "delivery", "deliveries"))
			return nil
		})
	}
	return cmd
}
