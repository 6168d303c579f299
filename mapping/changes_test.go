package mapping_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChanges_NameTheKeysAndNoSecret(t *testing.T) {
	t.Parallel()
	const base = "url: 'http://h/sesame-a', secrets: [whsec_sesamesesamesesamesesamesesameAA], headers: {X: sesame}, auth: {bearer: sesame}"
	before := parse(t, "endpoints: {a: {"+base+"}}").Endpoints[0]
	for text, want := range map[string]string{
		base:                                   "",
		base + ", timeout: 5s, concurrency: 3": "timeout 15s to 5s, concurrency 16 to 3",
		base + ", events: [\"order.*\"]":       "events [*] to [order.*]",
		base + ", paused: true, where: payload.x == 1":                "where, paused false to true",
		strings.ReplaceAll(base, "sesame-a", "sesame-b"):              "url",
		strings.ReplaceAll(base, "bearer: sesame", "bearer: sesame2"): "auth",
		strings.ReplaceAll(base, "X: sesame", "X: sesame2"):           "headers",
		strings.ReplaceAll(base, "sameAA]", "sameBA]"):                "secrets",
		base + ", retry: {rejected: 1}, tls: {server_name: x}":        "tls, retry",
	} {
		after := parse(t, "endpoints: {a: {"+text+"}}").Endpoints[0]
		got := strings.Join(before.Changes(after), ", ")
		require.Equal(t, want, got)
		require.Equal(t, want == "", before.Hash() == after.Hash())
		require.NotContains(t, got, "sesame")
	}
}
