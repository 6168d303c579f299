package mapping

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// Load reads and parses the file at path with the process's environment. Whatever is wrong with it comes at once, as
// Errors.
func Load(path string) (*Config, error) {
	data, err := readLimited(path, maxConfig)
	if err != nil {
		return nil, Errors{{File: path, Message: fileProblem(err)}}
	}
	return Parse(path, data, os.LookupEnv)
}

// Parse parses a relay.yaml. The name of the file is for messages and for relative paths in it; lookup returns
// environment variables. Files that it names are read.
func Parse(file string, data []byte, lookup func(string) (string, bool)) (*Config, error) {
	d := newDecoder(file, data, lookup)
	cfg := defaultConfig()
	cfg.File = file
	if root, ok := d.document(); ok {
		d.config(root, cfg)
	}
	if len(d.errs) > 0 {
		return nil, d.sorted()
	}
	cfg.Files, cfg.Sums = d.read(), d.files
	cfg.Sums[file] = sha256.Sum256(data)
	for i, ep := range cfg.Endpoints {
		ep.Index, ep.slot = i, cfg.Source.Slot
		ep.hash = ep.sum()
	}
	return cfg, nil
}

// NeedsRestart returns the keys in which next differs, and which a reload cannot change.
func (c *Config) NeedsRestart(next *Config) []string {
	a, b := c.fixed(), next.fixed()
	var keys []string
	for i := range a {
		if a[i][1] != b[i][1] {
			keys = append(keys, a[i][0])
		}
	}
	return keys
}

// fixed returns the keys that need a restart, each with all that its value says.
func (c *Config) fixed() [][2]string {
	s, a := &c.Source, &c.Admin
	var tables strings.Builder
	for _, t := range s.Tables {
		fmt.Fprintf(&tables, "%q %q %v %s\n", t.Schema, t.Name, t.Columns, t.Retention)
	}
	return [][2]string{
		{"source.url", s.URL},
		{"source.slot", s.Slot},
		{"source.publication", s.Publication},
		{"source.schema", s.Schema},
		{"source.tables", tables.String()},
		{"source.messages", fmt.Sprintf("%q", s.Messages)},
		{"source.existing", s.Existing},
		{"source.on_slot_lost", s.OnSlotLost},
		{"source.window", fmt.Sprint(s.Window)},
		{"source.hold", fmt.Sprint(s.Hold)},
		{"admin.listen", a.Listen},
		{"admin.token", a.Token},
		{"log.format", c.Log.Format},
	}
}

func (d *decoder) config(root value, cfg *Config) {
	var endpoints value
	if root.node.Kind != yaml.MappingNode {
		root.failFound("a mapping of source, endpoints and so on")
		return
	}
	root.mapping("sections", fields{
		"source":           func(v value) { v.source(&cfg.Source) },
		"defaults":         func(v value) { v.endpoint(d.defaults, true) },
		"endpoints":        func(v value) { endpoints = v },
		"admin":            func(v value) { v.admin(&cfg.Admin) },
		"log":              func(v value) { v.log(&cfg.Log) },
		"shutdown_timeout": func(v value) { v.durationAbove(&cfg.ShutdownTimeout, 0) },
	})
	if endpoints.node == nil {
		root.fail("found no endpoint, expected at least one under endpoints")
		return
	}
	// Last, whatever the order of the file: each endpoint starts as a copy of the defaults.
	cfg.Endpoints = endpoints.endpoints()
}

const (
	maxConfig = 16 << 20
	maxFile   = 1 << 20 // of ${file:…} and certificates
)

var errTooLarge = errors.New("the file is too large")

// readLimited reads a file of at most limit bytes, so that a path such as /dev/zero is an error and not a hang.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if int64(len(data)) > limit {
		return nil, errTooLarge
	}
	return data, err
}

// fileProblem says why a file could not be read, without its path.
func fileProblem(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no such file"
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return "cannot be read: " + pathErr.Err.Error()
	}
	return "cannot be read: " + err.Error()
}
