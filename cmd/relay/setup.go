package main

import (
	"context"

	"github.com/spf13/cobra"

	"relay/cdc"
	"relay/delivery/park"
	"relay/mapping"
)

func newSetupCommand(c *console) *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Create outbox table, publication, slot and relay's own tables",
		Long: `Creates what is missing: the outbox table (if it is the default one), the publication, the replication
slot, and the relay's own tables. Running it again changes nothing.

--print writes the same as plain SQL, with the least privileges for the role that relay connects as,
for a DBA to read and run.`,
		Example: `  relay setup
  relay setup --print > relay.sql`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := mapping.Load(c.config)
			if err != nil {
				return err
			}
			if show {
				return printSetup(c, cfg)
			}
			done, err := setUp(cmd.Context(), cfg)
			return reportSteps(c, done, err)
		},
	}
	cmd.Flags().BoolVar(&show, "print", false, "print the SQL instead of running it")
	return cmd
}

// setUp prepares the database: what the stream needs, then the relay's own tables.
func setUp(ctx context.Context, cfg *mapping.Config) ([]string, error) {
	done, err := cdc.Setup(ctx, sourceOf(cfg))
	if err != nil {
		return done, err
	}
	steps, err := park.Migrate(ctx, cfg.Source.URL, cfg.Source.Schema)
	return append(done, steps...), err
}

func printSetup(c *console, cfg *mapping.Config) error {
	sql := cdc.SetupSQL(sourceOf(cfg)) + "\n" + park.MigrationSQL(cfg.Source.Schema)
	if c.json {
		return c.printJSON(map[string]string{"sql": sql})
	}
	c.printf("%s", sql)
	return nil
}
