package libpq

import (
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// What connecting to one address may take where the URL has no connect_timeout: less if it names another host, which may be the
// one that answers.
const (
	ConnectTimeout = 15 * time.Second
	HostTimeout    = 3 * time.Second // so that a caller with five seconds reaches the second
)

// Bound gives each address its time if the URL does not. libpq would wait for ever, that is for as long as the system sends SYNs: a
// host that is cut off or has no power turns nobody away, and the next one would never be asked.
func Bound(cfg *pgconn.Config) {
	switch {
	case cfg.ConnectTimeout > 0:
	case Hosts(cfg) > 1:
		cfg.ConnectTimeout = HostTimeout
	default:
		cfg.ConnectTimeout = ConnectTimeout
	}
}

// Hosts counts the servers that a URL names. pgconn's fallbacks are also to the same one, without TLS.
func Hosts(cfg *pgconn.Config) int {
	type server struct {
		host string
		port uint16
	}
	named := map[server]bool{{cfg.Host, cfg.Port}: true}
	for _, f := range cfg.Fallbacks {
		named[server{f.Host, f.Port}] = true
	}
	return len(named)
}
