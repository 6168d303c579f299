package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck_PointsAtMistakesInTheFile(t *testing.T) {
	t.Parallel()
	path := configFile(t, `endpoints:
  billing:
    url: https://a.example.com
    tiemout: 15s
    timeout: soon
    where: payload.total >> 100
    body: |
      {"id": event.id,
       "x": nope}
    pasword: hunter2
    secrets: [hunter2]
    auth: {bearre: hunter2}
    concurrency: [hunter2]
  flow: {url: http://a, where: payload.x >, auth: {bearer: hunter2}}
  lines:
    {where: payload.x >,
    auth: {bearer: hunter2}, url: http://a}
`)
	got := relayOut(t, "check", "--offline", "-c", path)
	require.Equal(t, exitUsage, got.status)
	require.NotContains(t, got.out, "hunter2")
	require.Empty(t, got.err)
	require.True(t, strings.HasPrefix(got.out, path+":4:5: error: endpoints.billing.tiemout: unknown key"), got.out)
	for _, want := range []string{
		"unknown key, did you mean timeout?\n    4 |     tiemout: …\n      |     ^\n",
		"\n    5 |     timeout: …\n      |              ^\n",
		"    6 |     where: payload.total >> 100\n      |                           ^\n",
		"    9 |        \"x\": nope}\n      |             ^\n",
		"   10 |     pasword: …\n      |     ^\n",
	} {
		require.Contains(t, got.out, want)
	}
	require.Equal(t, exitUsage, relayOut(t, "check", "--offline", "-c", path, "--json").status)
	none := relayOut(t, "check", "-c", path+".none")
	require.Equal(t, exitUsage, none.status)
	require.Equal(t, 1, strings.Count(none.out, "\n"))
}
