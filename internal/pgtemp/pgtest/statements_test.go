package pgtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

func TestStatements_CutsWhereNothingIsQuoted(t *testing.T) {
	t.Parallel()
	got := pgtest.Statements("SELECT ';' AS \"a;b\"; -- no; not here\nDO $x$ BEGIN PERFORM 1; END $x$;SELECT 'it''s;', $$ ; $$;\n")
	require.Equal(t, []string{
		"SELECT ';' AS \"a;b\"", " -- no; not here\nDO $x$ BEGIN PERFORM 1; END $x$", "SELECT 'it''s;', $$ ; $$",
	}, got)
}
