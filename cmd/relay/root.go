package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

const defaultConfig = "relay.yaml"

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, c *console, args []string) int {
	began := false
	root := newRoot(c)
	noteBegin(root, &began)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errReported) {
		c.note("relay: %v\n", err)
	}
	return exitStatus(err, began)
}

// noteBegin sets began when a command's own code is reached.
func noteBegin(cmd *cobra.Command, began *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*began = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		noteBegin(sub, began)
	}
}

func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   "relay",
		Short: "Deliver a Postgres outbox to webhook endpoints",
		Long: `relay runs beside your application and its Postgres. Your application writes events into an
outbox table, in the transaction that makes them true. relay reads the committed ones from the
write-ahead log and POSTs them to the endpoints subscribed to them: in order per key, signed, and
each at least once, however long an endpoint is down.

Start with: relay demo`,
		Example: `  relay demo                    # see it work, in a throwaway Postgres
  relay init                    # write a commented relay.yaml
  relay check                   # what is missing in the database, and how to mend it
  relay setup                   # create outbox table, publication and slot
  relay run                     # deliver`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       buildVersion().Version,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.PersistentFlags().StringVarP(&c.config, "config", "c", defaultConfig, "path of the configuration `file`")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	must(root.MarkPersistentFlagFilename("config", "yaml", "yml"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see: %s --help)", err, cmd.CommandPath())
	})
	addCommands(root, c)
	return root
}

func addCommands(root *cobra.Command, c *console) {
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupSetUp, Title: "Set up:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
		&cobra.Group{ID: groupTry, Title: "Try out:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupRun, newRunCommand(c))
	add(groupSetUp, newInitCommand(c), newSchemaCommand(c), newSecretCommand(c), newCheckCommand(c), newSetupCommand(c), newTeardownCommand(c))
	add(groupOperate, newStatusCommand(c), newExplainCommand(c), newParkedCommand(c), newRetryCommand(c), newDiscardCommand(c), newReplayCommand(c), newPauseCommand(c), newResumeCommand(c))
	add(groupTry, newDemoCommand(c), newSendCommand(c), newListenCommand(c))
	root.AddCommand(newVersionCommand(c))
	addBuiltInExamples(root)
}

// The groups of commands in the help.
const (
	groupRun     = "run"
	groupSetUp   = "setup"
	groupOperate = "operate"
	groupTry     = "try"
)

// addBuiltInExamples gives the commands cobra adds by itself the example that ours have.
func addBuiltInExamples(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Example = "  relay help setup"
		case "completion":
			cmd.Example = "  source <(relay completion bash)"
			for _, shell := range cmd.Commands() {
				shell.Example = "  relay completion " + shell.Name()
			}
		}
	}
}

// must is for what only a mistake in this file can make fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
