package main

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func TestCheck_SaysHowItIsWithTheRelaysOwnTables(t *testing.T) {
	t.Parallel()
	path, url := databaseConfig(t, "")
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // a test's connection
	check := func() string { return relayOut(t, "check", "-c", path).out }
	parked := func() result { return relayOut(t, "parked", "-c", path) }

	require.Regexp(t, `warning +schema relay +holds no tables`, check())
	require.Contains(t, parked().err, "remedy: relay setup")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	require.Regexp(t, `ok +schema relay +holds relay's tables, version `, check())
	require.Zero(t, parked().status)

	for change, want := range map[string]string{"99": `error +schema relay .*version 99, and this relay knows`, "-5": `warning +schema relay .*version -5, and this relay wants`} {
		_, err = conn.Exec(t.Context(), `WITH gone AS (DELETE FROM relay.migration) INSERT INTO relay.migration (version, name) VALUES (`+change+`, 'x')
			ON CONFLICT DO NOTHING`)
		require.NoError(t, err)
		require.Regexp(t, want, check())
		require.Equal(t, exitFailed, parked().status)
		_, err = conn.Exec(t.Context(), `DELETE FROM relay.migration`)
		require.NoError(t, err)
	}
}

func TestCheck_SaysWhatIsParkedForEndpointsThatAreNotInTheFile(t *testing.T) {
	t.Parallel()
	path, _ := databaseConfig(t, "")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	cfg, err := mapping.Load(path)
	require.NoError(t, err)
	parkFor(t, cfg, "billing", "old", "old")
	out := relayOut(t, "check", "-c", path).out
	require.Regexp(t, `warning +endpoint old +not in .*, with 2 deliveries parked`, out)
	require.Contains(t, out, "relay discard --endpoint old")
	require.NotRegexp(t, `endpoint billing +not in`, out)
}
