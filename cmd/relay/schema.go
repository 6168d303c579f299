package main

import (
	"github.com/spf13/cobra"

	"relay/mapping"
)

// schemaFile is what relay init calls the schema, and what its first line makes editors read.
const schemaFile = "relay.schema.json"

// schemaLine makes editors with the YAML language server complete and check the file below it.
const schemaLine = "# yaml-language-server: $schema=" + schemaFile + "\n"

//go:generate sh -c "go run . schema --markdown > ../../docs/configuration.md.new && mv ../../docs/configuration.md.new ../../docs/configuration.md"

func newSchemaCommand(c *console) *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of relay.yaml, for editors",
		Long: `Prints a JSON Schema of relay.yaml, with which editors complete and check the file while it is written. Editors that
use the YAML language server (VS Code, Neovim, Helix, Zed and others) find it through the file's first line:

  ` + schemaLine + `
relay init writes both. What only the loader can tell, such as a mistake in an expression, remains for relay check.`,
		Example: "  relay schema > " + schemaFile,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if markdown {
				c.printf("%s", mapping.Reference())
				return nil
			}
			return c.printJSON(mapping.JSONSchema())
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the reference for people, docs/configuration.md")
	return cmd
}
