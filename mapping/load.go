package mapping

import (
	"os"
)

// Load reads and parses the file at path with the process's environment. Whatever is wrong with its content comes at
// once, as Errors.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, Errors{{File: path, Message: fileProblem(err)}}
	}
	return Parse(path, data, os.LookupEnv)
}

// Parse parses a relay.yaml. The name of the file is for messages and for relative paths in it; lookup returns
// environment variables.
func Parse(file string, data []byte, lookup func(string) (string, bool)) (*Config, error) {
	return nil, nil
}

func fileProblem(err error) string { return err.Error() }
