package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func advice(t *testing.T, endpoints string) string {
	t.Helper()
	cfg, err := mapping.Parse("relay.yaml", []byte("endpoints:\n"+endpoints), func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	var all []string
	for _, f := range advise(cfg) {
		require.Equal(t, levelWarning, f.Level)
		require.NotEmpty(t, f.Remedy)
		all = append(all, f.Subject+": "+f.Problem)
	}
	return strings.Join(all, "\n")
}

func TestCheck_WarnsOfWhatIsLegalButUnwise(t *testing.T) {
	t.Parallel()
	const secret = "secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]"
	for endpoints, want := range map[string]string{
		"  a: {url: https://a.example.com, " + secret + "}":                                    "",
		"  a: {url: https://a.example.com}":                                                    "endpoint a: no secret",
		"  a: {url: https://a.example.com, auth: {bearer: x}}":                                 "",
		"  a: {url: http://localhost:4000}":                                                    "",
		"  a: {url: http://127.0.0.1:4000}":                                                    "",
		"  a: {url: http://a.example.com, " + secret + "}":                                     "endpoint a: plain http",
		"  a: {url: http://8.8.8.8, " + secret + "}":                                           "endpoint a: plain http",
		"  a: {url: http://receiver:80, " + secret + "}":                                       "",
		"  a: {url: http://10.1.2.3, " + secret + "}":                                          "",
		"  a: {url: http://a.shop.svc.cluster.local, " + secret + "}":                          "",
		"  a: {url: http://localhost, where: 1 > 2}":                                           "endpoint a: where is false whatever",
		"  a: {url: http://localhost, where: 2 > 1}":                                           "",
		"  a: {url: http://localhost, events: [a, b], where: event.type == 'c'}":               "endpoint a: where is false whatever",
		"  a: {url: http://localhost, events: [a, b], where: event.type == 'b'}":               "",
		"  a: {url: http://localhost, events: ['a*'], where: event.type == 'c'}":               "",
		"  a: {url: http://localhost, events: [a], where: event.type == 'c' || payload.x}":     "",
		"  a: {url: http://localhost, where: event.id == ''}":                                  "",
		"  a: {url: http://localhost, timeout: 31s}":                                           "endpoint a: breaker.window 1m0s is shorter than two timeouts of 31s",
		"  a: {url: http://localhost}\n  b: {url: http://localhost}":                           "endpoint b: has the url of a",
		"  a: {url: http://localhost, events: [a]}\n  b: {url: http://localhost, events: [b]}": "",
	} {
		got := advice(t, endpoints)
		if want == "" {
			require.Empty(t, got, endpoints)
		} else {
			require.True(t, strings.HasPrefix(got, want), "%s\ngot %s", endpoints, got)
			require.NotContains(t, got, "\n")
		}
	}
}

func TestCheck_WarningsAreNoFailure(t *testing.T) {
	t.Parallel()
	got := relayOut(t, "check", "--offline", "-c", configFile(t, "endpoints: {a: {url: \"http://a.example.com\"}}\n"))
	require.Zero(t, got.status, got.err)
	require.Contains(t, got.out, "warning")
	require.Contains(t, got.out, "use https")
	sample := relayOut(t, "check", "--offline", "-c", configFile(t, string(mapping.Sample)))
	require.NotContains(t, sample.out, "warning", "what relay init writes is fine")
}

// As pre-commit calls it: the files that changed, places at the beginning of lines, and an exit status.
func TestCheck_TakesFilesAndPrintsPlacesThatEditorsUnderstand(t *testing.T) {
	t.Parallel()
	good := configFile(t, "endpoints:\n  b: {url: \"http://a.example.com\"}\n  a: {url: \"http://b.example.com\"}\n")
	bad := configFile(t, "endpoints:\n  a: {url: \"http://localhost\", timout: 1s}\n")
	got := relayOut(t, "check", "--offline", good)
	require.Zero(t, got.status)
	require.Regexp(t, `^`+good+`:2:3: warning: endpoint b: plain http(.|\n)*\n`+good+`:3:3: warning: endpoint a: plain http`, got.out)
	got = relayOut(t, "check", "--offline", bad, good)
	require.Equal(t, exitUsage, got.status)
	require.Contains(t, got.out, bad+":2:32: error: endpoints.a.timout: unknown key, did you mean timeout?")
	require.Contains(t, got.out, good+":2:3: warning: ")
	got = relayOut(t, "check", "--offline", "--json", bad)
	require.Equal(t, exitUsage, got.status)
	require.Contains(t, got.out, `"line": 2`)
}

func TestCheck_HasOneClearLineForAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for path, want := range map[string]string{
		folder:                                 "is a directory",
		folder + "/none.yaml":                  "there is no such file",
		configFile(t, ""):                      "the file is empty",
		configFile(t, "endpoints:\n  a: {url"): "not valid YAML",
		configFile(t, "\x00\xff\xfe"):          "not valid YAML",
	} {
		for _, command := range []string{"check", "status", "explain", "parked", "setup", "run"} {
			got := relayOut(t, command, "-c", path)
			require.Equal(t, exitUsage, got.status, command)
			text := got.err + got.out
			require.Contains(t, text, path, command)
			require.Contains(t, text, want, command)
			require.LessOrEqual(t, strings.Count(text, "\n"), 3, text)
		}
	}
}
