package main

import (
	"github.com/spf13/cobra"
)

func newRunCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Deliver events until told to stop",
		Long: `Reads the committed rows of the outbox tables and delivers them to the endpoints of relay.yaml.

The first SIGINT or SIGTERM stops softly: attempts under way may finish within shutdown_timeout,
then the position is saved and confirmed, and the exit status is 0. A second one stops at once;
what was under way is then sent again at the next start.`,
		Example: `  relay run
  relay run -c /etc/relay/relay.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRelay(cmd.Context(), runOptions{Config: c.config, Log: c.err})
		},
	}
}
