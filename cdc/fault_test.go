package cdc_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/internal/pgtemp/pgtest"
)

// Other clients have parameters of their own, and the application's URL is copied with them.
func TestConnect_NamesAParameterThatNobodyKnowsAndNotTheVersion(t *testing.T) {
	t.Parallel()
	for name, param := range map[string]string{
		"schema":         "schema=public",
		"pgbouncer":      "pgbouncer=true",
		"pool_max_conns": "pool_max_conns=5",
		"worker_mem":     "options=-c%20worker_mem%3D8MB", // misspelt
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Database(t)
			err := cdc.CheckSlot(t.Context(), cdc.Source{URL: url + sep(url) + param, Slot: "relay"})
			var f *cdc.Fault
			require.True(t, errors.As(err, &f), "%v", err)
			require.Equal(t, cdc.FaultConnection, f.Kind)
			require.Contains(t, f.Problem, "neither relay nor the server knows")
			require.Contains(t, f.Remedy, "take it out")
			require.ErrorContains(t, err, name)
		})
	}
}

// The server has one code for all of these.
func TestConnect_NamesThePrivilegeThatIsMissing(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var database string
	require.NoError(t, s.conn.QueryRow(t.Context(), `SELECT current_database()`).Scan(&database))
	s.exec(`REVOKE CONNECT ON DATABASE "` + database + `" FROM PUBLIC`)
	role := func(name, attributes, more string) string {
		name += "_" + s.src.Slot
		s.exec(`CREATE ROLE ` + name + ` LOGIN ` + attributes)
		t.Cleanup(func() {
			_, _ = s.conn.Exec(context.Background(), `REVOKE ALL ON DATABASE "`+database+`" FROM `+name)
			_, _ = s.conn.Exec(context.Background(), `DROP ROLE `+name)
		})
		if more != "" {
			s.exec(more + name)
		}
		return s.src.URL + sep(s.src.URL) + "user=" + name
	}
	grant := `GRANT CONNECT ON DATABASE "` + database + `" TO `
	out, in := role("outside", "REPLICATION", ""), role("inside", "", grant)
	plain := func(url string) error { return cdc.CheckSlot(t.Context(), cdc.Source{URL: url, Slot: "relay"}) }
	replication := func(url string) error {
		_, err := cdc.Identify(t.Context(), url)
		return err
	}
	for name, c := range map[string]struct {
		err    error
		remedy string
	}{
		"no CONNECT":                      {plain(out), grant + `"outside_` + s.src.Slot + `"`},
		"no CONNECT, for replication":     {replication(out), grant + `"outside_` + s.src.Slot + `"`},
		"no REPLICATION":                  {replication(in), `ALTER ROLE "inside_` + s.src.Slot + `" REPLICATION`},
		"a parameter that it may not set": {plain(in + "&log_statement=all"), "take it out of source.url"},
	} {
		require.Contains(t, faultOf(t, c.err, cdc.FaultPrivilege).Remedy, c.remedy, name)
	}
}
