package libpq

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestBound_GivesEachOfSeveralHostsLess(t *testing.T) {
	t.Parallel()
	cases := map[string]time.Duration{
		"postgres://a/db":                                  ConnectTimeout,
		"postgres://a/db?sslmode=prefer":                   ConnectTimeout, // with a fallback to the same host
		"postgres://a,b/db":                                HostTimeout,
		"host=a,a port=5432,5433":                          HostTimeout,
		"postgres://a,b/db?connect_timeout=0":              HostTimeout,
		"postgres://a,b/db?connect_timeout=40":             40 * time.Second,
		"postgres://a/db?connect_timeout=1":                time.Second,
		"postgres://a,b/db?target_session_attrs=read-only": HostTimeout,
	}
	for url, want := range cases {
		cfg, err := pgconn.ParseConfig(url)
		require.NoError(t, err)
		Bound(cfg)
		require.Equal(t, want, cfg.ConnectTimeout, url)
	}
}
