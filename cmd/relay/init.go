package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"relay/mapping"
)

func newInitCommand(c *console) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented relay.yaml",
		Long:  "Writes a relay.yaml that names every key, with its default and what it is for. Edit it, then run: relay check",
		Example: `  relay init
  relay init -c deploy/relay.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := writeSample(c.config, force); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]string{"written": c.config})
			}
			c.printf("wrote %s\nnext: edit its source.url and endpoints, then: relay check\n", c.config)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	return cmd
}

// writeSample writes the sample configuration. It is readable by its owner alone, as people put secrets into it.
func writeSample(path string, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and is left as it is; --force overwrites it", path)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = f.Write(mapping.Sample)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
