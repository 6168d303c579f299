// Package libpq knows of libpq's URLs and keywords what pgx does not.
package libpq

// clientSide are parameters of libpq's that pgx takes for settings of the server, which knows none of them. They say how to
// do what it does anyway, or does not do at all. One that asks for a check that pgx would not make is not among them: better
// the server refuses it.
var clientSide = []string{
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "fallback_application_name", "load_balance_hosts",
	"gssencmode", "gsslib", "gssdelegation", "sslcompression", "ssl_min_protocol_version", "ssl_max_protocol_version",
}

// DropClientSide takes out of a connection's RuntimeParams what libpq keeps to itself. Whoever connects by a URL of the
// user's calls it, so that what one command takes, all do.
func DropClientSide(params map[string]string) {
	for _, name := range clientSide {
		delete(params, name)
	}
}
