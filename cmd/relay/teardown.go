package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"relay/cdc"
	"relay/mapping"
)

func newTeardownCommand(c *console) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "teardown",
		Short: "Drop slot and publication, so that a relay that is gone holds no WAL",
		Long: `Drops the replication slot and the publication. Events that were not delivered by then stay in the
outbox table, but a new slot does not bring them. Outbox and the relay's own tables are left alone.`,
		Example: `  relay teardown
  relay teardown --yes          # in a script`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := mapping.Load(c.config)
			if err != nil {
				return err
			}
			question := fmt.Sprintf("drop replication slot %q and publication %q", cfg.Source.Slot, cfg.Source.Publication)
			if err := c.confirm(cmd.Context(), question, yes); err != nil {
				return err
			}
			done, err := cdc.Teardown(cmd.Context(), sourceOf(cfg))
			return reportSteps(c, done, err)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// reportSteps says what was done, also when the next step failed.
func reportSteps(c *console, done []string, err error) error {
	if c.json {
		if done == nil {
			done = []string{}
		}
		if printErr := c.printJSON(map[string][]string{"done": done}); printErr != nil {
			return printErr
		}
		return err
	}
	for _, step := range done {
		c.printf("%s\n", step)
	}
	if err == nil && len(done) == 0 {
		c.printf("nothing to do\n")
	}
	return err
}
