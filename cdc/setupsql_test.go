package cdc_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/internal/pgtemp/pgtest"
)

func TestSetupSQL_NamesTheDatabaseThatTheServerTakesWithoutOne(t *testing.T) {
	t.Setenv("PGDATABASE", "") // not parallel: it sets the environment
	sql, err := cdc.SetupSQL(cdc.Source{URL: "postgres://courier@db.example.com", Slot: "relay", Publication: "relay", Schema: "relay"})
	require.NoError(t, err)
	require.Contains(t, sql, `GRANT CONNECT ON DATABASE "courier" TO "courier";`)
}

func TestSetupSQL_KeepsNamesInsideTheirComments(t *testing.T) {
	t.Parallel()
	sql, err := cdc.SetupSQL(cdc.Source{
		URL: "user='a\nDROP ROLE b;' dbname='c\nDROP ROLE d;'", Slot: "relay", Publication: "relay", Schema: "relay",
		Tables: []cdc.SourceTable{{Name: "public.e\nDROP ROLE f;"}},
	})
	require.NoError(t, err)
	for line := range strings.Lines(sql) { // the others are in double quotes
		require.False(t, strings.HasPrefix(line, "DROP ROLE") && !strings.Contains(line, `"`), line)
	}
}

func TestSetupSQL_LeavesAPublicationForAllTablesAsItIs(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`DROP PUBLICATION relay`)
	s.exec(`CREATE PUBLICATION relay FOR ALL TABLES`)
	sql, err := cdc.SetupSQL(s.src)
	require.NoError(t, err)
	for _, statement := range pgtest.Statements(sql) {
		s.exec(statement)
	}
	var all bool
	require.NoError(t, s.conn.QueryRow(t.Context(), `SELECT puballtables FROM pg_publication WHERE pubname = 'relay'`).Scan(&all))
	require.True(t, all)
}
