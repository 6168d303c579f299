package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// checkOne checks one endpoint, configured by what follows its name in relay.yaml.
func checkOne(t *testing.T, settings string) finding {
	t.Helper()
	cfg, err := mapping.Parse("relay.yaml", []byte("endpoints: {hook: {"+settings+"}}\n"), func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	found := checkEndpoints(t.Context(), cfg.Endpoints)
	require.Len(t, found, 1)
	require.Equal(t, "endpoint hook", found[0].Subject)
	return found[0]
}

func TestCheckTellsWhatIsWrongWithAnEndpoint(t *testing.T) {
	t.Parallel()
	asked := 0
	count := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ })
	plain, secure := httptest.NewServer(count), httptest.NewTLSServer(count)
	defer plain.Close()
	defer secure.Close()
	gone := httptest.NewServer(count)
	gone.Close()
	for name, tc := range map[string]struct{ settings, level, problem string }{
		"fine":           {"url: '" + plain.URL + "'", levelOK, "reachable"},
		"denied":         {"url: '" + plain.URL + "', network: public", levelWarning, "dead at once"},
		"denied by list": {"url: '" + plain.URL + "', network: [10.0.0.0/8]", levelWarning, "dead at once"},
		"untrusted":      {"url: '" + secure.URL + "'", levelError, "certificate"},
		"refused":        {"url: '" + gone.URL + "'", levelError, "refused"},
		"no such name":   {"url: 'http://no-such-host.invalid/'", levelError, "does not resolve"},
	} {
		f := checkOne(t, tc.settings)
		require.Equal(t, tc.level, f.Level, "%s: %s", name, f.Problem)
		require.Contains(t, f.Problem, tc.problem, name)
		require.Equal(t, tc.level == levelOK, f.Remedy == "", name)
	}
	require.Zero(t, asked, "a check sends no request")
}

func TestCheckPrintsTheRemedyUnderItsFinding(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := newConsole(nil, &out, &out)
	err := reportFindings(c, []finding{
		{Level: levelOK, Subject: "server", Problem: "PostgreSQL 15"},
		{Level: levelError, Subject: "slot relay", Problem: "does not exist", Remedy: "relay setup"},
	})
	require.ErrorIs(t, err, errReported)
	require.Equal(t, "ok       server      PostgreSQL 15\nerror    slot relay  does not exist\n         remedy: relay setup\n", out.String())
}
