package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgconn"
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
	if cfg.Source.Existing != mapping.ExistingSkip {
		return setUpWithExisting(ctx, cfg)
	}
	if cdc.SlotMissing(cdc.CheckSlot(ctx, sourceOf(cfg))) {
		return setUpWithGap(ctx, cfg)
	}
	done, err := cdc.Setup(ctx, sourceOf(cfg))
	if err != nil {
		return done, err
	}
	step, err := migrate(ctx, &cfg.Source)
	if step != "" {
		done = append(done, step)
	}
	return done, err
}

// setUpWithGap is setUp where there is no slot yet, or none any more. What was written before the one that is made now was
// perhaps never sent: retention has to know.
func setUpWithGap(ctx context.Context, cfg *mapping.Config) (done []string, err error) {
	step, err := migrate(ctx, &cfg.Source)
	if step != "" {
		done = append(done, step)
	}
	if err != nil {
		return done, err
	}
	store, err := park.Open(ctx, cfg.Source.URL, cfg.Source.Schema, slog.New(slog.DiscardHandler))
	if err != nil {
		return done, err
	}
	defer store.Close()
	system, err := cdc.Identify(ctx, cfg.Source.URL)
	if err != nil {
		return done, err
	}
	if err := store.OpenGap(ctx, system); err != nil {
		return done, err
	}
	steps, err := cdc.Setup(ctx, sourceOf(cfg))
	done = append(done, steps...)
	if err != nil {
		return done, err
	}
	return done, store.CloseGap(ctx)
}

// migrate brings the relay's own tables up to date, and says so if they were not.
func migrate(ctx context.Context, src *mapping.Source) (string, error) {
	store, err := park.Open(ctx, src.URL, src.Schema, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer store.Close()
	before, err := store.Version(ctx)
	if err != nil {
		return "", err
	}
	if err := store.Migrate(ctx); err != nil {
		return "", err
	}
	after, err := store.Version(ctx)
	if err != nil || after == before {
		return "", err
	}
	return fmt.Sprintf("brought the relay's own tables in schema %s from version %d to %d", src.Schema, before, after), nil
}

func printSetup(c *console, cfg *mapping.Config) error {
	src := &cfg.Source
	sql, err := cdc.SetupSQL(sourceOf(cfg))
	if err != nil {
		return err
	}
	login, err := pgconn.ParseConfig(src.URL)
	if err != nil {
		return usagef("source.url does not parse; relay check says where it is")
	}
	before, after := park.GapSQL(src.Schema, src.Slot)
	sql = before + sql
	if src.Existing != mapping.ExistingSkip {
		sql = "-- source.existing: a slot made by this SQL sends rows from here on only. Leave the statement with\n" +
			"-- pg_create_logical_replication_slot out, and run relay setup afterwards: it makes the slot and queues what is there.\n\n" + sql
	}
	sql += "\n-- The relay's own tables.\n" + park.MigrationSQL(src.Schema) + park.GrantSQL(src.Schema, login.User) +
		"\n-- What was written before a slot that this SQL has made is not sent by it: retention leaves those rows alone. Without the slot\n" +
		"-- this does nothing.\n" + after
	if c.json {
		return c.printJSON(map[string]string{"sql": sql})
	}
	c.printf("%s", sql)
	return nil
}
