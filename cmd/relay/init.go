package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"relay/mapping"
)

func newInitCommand(c *console) *cobra.Command {
	var force, schema bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented relay.yaml",
		Long: `Writes a relay.yaml that names every key, with its default and what it is for, and beside it the JSON Schema with which
editors complete and check it. Edit it, then run: relay check`,
		Example: `  relay init
  relay init --schema=false     # relay.yaml alone
  relay init -c deploy/relay.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text := mapping.Sample
			if schema {
				text = append([]byte(schemaLine), text...)
			}
			if err := writeSample(c.config, text, force); err != nil {
				return err
			}
			done := map[string]string{"written": c.config}
			if schema {
				done["schema"] = filepath.Join(filepath.Dir(c.config), schemaFile)
				if err := writeSchema(done["schema"]); err != nil {
					return err
				}
				c.note("wrote %s\n", done["schema"])
			}
			if c.json {
				return c.printJSON(done)
			}
			c.printf("wrote %s\nnext: edit its source.url and endpoints, then: relay check\n", c.config)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	cmd.Flags().BoolVar(&schema, "schema", true, "also write "+schemaFile+" beside it, for editors")
	return cmd
}

// writeSample writes the sample configuration. It is readable by its owner alone, as people put secrets into it.
func writeSample(path string, text []byte, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and is left as it is; --force overwrites it", path)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	err = empty(f)
	if err == nil {
		_, err = f.Write(text)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// empty makes a file that was there as good as new, for its owner alone before there is anything in it. What is no file, such as
// /dev/stdout, is taken as it is.
func empty(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	return f.Truncate(0)
}

// writeSchema writes the JSON Schema, over one of an earlier version.
func writeSchema(path string) error {
	var text bytes.Buffer
	if err := (&console{out: &text}).printJSON(mapping.JSONSchema()); err != nil {
		return err
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the schema: %w", err)
	}
	return nil
}
