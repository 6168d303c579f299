package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func TestSecretNewPrintsSecretsThatRelayAndReceiversTake(t *testing.T) {
	t.Parallel()
	got := relayOut(t, "secret", "new", "--json")
	require.Zero(t, got.status, got.err)
	var s freshSecrets
	require.NoError(t, json.Unmarshal([]byte(got.out), &s))

	_, err := standardwebhooks.NewWebhook(s.HMAC)
	require.NoError(t, err)
	secret, err := mapping.ParseSecret(s.HMAC)
	require.NoError(t, err)
	require.Len(t, secret.HMAC, 32)

	private, err := mapping.ParseSecret(s.Private)
	require.NoError(t, err)
	public, ok := strings.CutPrefix(s.Public, "whpk_")
	require.True(t, ok)
	require.Equal(t, private.Ed25519.Public(), ed25519.PublicKey(decodeBase64(t, public)))
	_, err = newVerifier(s.Public)
	require.NoError(t, err)

	configured := configFile(t, "endpoints: {a: {url: \"http://127.0.0.1:1\", secrets: ["+s.HMAC+", "+s.Private+"]}}\n")
	checked := relayOut(t, "check", "--offline", "-c", configured)
	require.Zero(t, checked.status, checked.err)
}

func TestSecretNewIsFreshEachTime(t *testing.T) {
	t.Parallel()
	one, two := relayOut(t, "secret", "new"), relayOut(t, "secret", "new")
	lines := strings.Split(strings.TrimSpace(one.out), "\n")
	require.Len(t, lines, 3)
	for _, line := range lines {
		require.NotContains(t, two.out, strings.Fields(line)[0])
	}
	require.Equal(t, exitUsage, relayOut(t, "secret").status)
}

func decodeBase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}
