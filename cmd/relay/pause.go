package main

import (
	"context"

	"github.com/spf13/cobra"

	"relay/delivery/park"
	"relay/mapping"
)

func newPauseCommand(c *console) *cobra.Command {
	return newEndpointCommand(c, "paused", (*park.Store).Pause, &cobra.Command{
		Use:   "pause ENDPOINT",
		Short: "Stop deliveries to an endpoint; they are parked",
		Long: `Stops one endpoint until relay resume, over restarts. Its deliveries are parked and hold back nothing else.
A running relay notices at once.`,
		Example: "  relay pause billing",
	})
}

func newResumeCommand(c *console) *cobra.Command {
	return newEndpointCommand(c, "resumed", (*park.Store).Resume, &cobra.Command{
		Use:   "resume ENDPOINT",
		Short: "Start deliveries to an endpoint again",
		Long: `Starts an endpoint again that relay pause or an answer 410 stopped. What was parked goes out in order. An
endpoint that relay.yaml pauses stays paused.`,
		Example: "  relay resume billing",
	})
}

// newEndpointCommand completes a command about one endpoint of relay.yaml.
func newEndpointCommand(
	c *console, done string, change func(*park.Store, context.Context, string) error, cmd *cobra.Command,
) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.ValidArgsFunction = completeEndpoint(c)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withStore(cmd.Context(), c, func(cfg *mapping.Config, store *park.Store) error {
			name := args[0]
			if cfg.Endpoint(name) == nil {
				return unknownEndpoint(cfg, name)
			}
			if err := change(store, cmd.Context(), name); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]string{done: name})
			}
			c.printf("%s %s\n", done, name)
			return nil
		})
	}
	return cmd
}

// completeEndpoint completes the name of an endpoint of relay.yaml.
func completeEndpoint(c *console) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		cfg, err := mapping.Load(c.config)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return endpointNames(cfg), cobra.ShellCompDirectiveNoFileComp
	}
}

// unknownEndpoint says that relay.yaml has no such endpoint, and which was probably meant.
func unknownEndpoint(cfg *mapping.Config, name string) error {
	return usagef("no endpoint %q in %s%s", name, cfg.File, mapping.Suggest(name, endpointNames(cfg)))
}

func endpointNames(cfg *mapping.Config) []string {
	names := make([]string, len(cfg.Endpoints))
	for i, ep := range cfg.Endpoints {
		names[i] = ep.Name
	}
	return names
}
