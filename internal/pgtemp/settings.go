package pgtemp

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// defaults are small and quick to start, with room for many slots. Dynamic shared memory lives in the data directory,
// so that a killed server leaves none behind in the system.
var defaults = map[string]string{
	"listen_addresses":           "127.0.0.1",
	"unix_socket_directories":    "",
	"wal_level":                  "logical",
	"max_wal_senders":            "50",
	"max_replication_slots":      "50",
	"max_connections":            "200",
	"shared_buffers":             "32MB",
	"dynamic_shared_memory_type": "mmap",
	"max_wal_size":               "1GB",
	"timezone":                   "UTC",
	"log_timezone":               "UTC",
}

// configure writes the settings. The file is read again at each start, after postgresql.conf, and replaces what an
// earlier call wrote.
func (c *Cluster) configure() error {
	settings := maps.Clone(defaults)
	maps.Copy(settings, c.opts.Settings)
	settings["port"] = strconv.Itoa(c.Port)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	path := filepath.Join(c.data(), "postgresql.auto.conf")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// freePort picks a port that nobody listens on. It lies below the range from which systems take the ports of outgoing
// connections, so that it is still free when the server comes back after a restart.
func freePort() (int, error) {
	for range 100 {
		port := 15000 + rand.IntN(17000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("find a free port on 127.0.0.1: 100 ports between 15000 and 32000 are taken")
}
