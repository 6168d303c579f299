package delivery

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

// The vectors of the specification.
const (
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTimestamp = "1614265330"
	vectorBody      = `{"test": 2432232314}`
	vectorHMAC      = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorEd25519   = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	vectorV1        = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	vectorV1a       = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

func hmacSecret(t testing.TB) mapping.Secret {
	t.Helper()
	return mapping.Secret{HMAC: decode(t, vectorHMAC)}
}

func ed25519Secret(t testing.TB) mapping.Secret {
	t.Helper()
	return mapping.Secret{Ed25519: ed25519.PrivateKey(decode(t, vectorEd25519))}
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

func mustInt(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	require.NoError(t, err)
	return n
}

func TestSigner_AgreesWithTheVectors(t *testing.T) {
	t.Parallel()
	h, e := hmacSecret(t), ed25519Secret(t)
	for want, secrets := range map[string][]mapping.Secret{
		"":                         nil,
		vectorV1:                   {h},
		vectorV1a:                  {e},
		vectorV1 + " " + vectorV1a: {h, e},
		vectorV1a + " " + vectorV1: {e, h},
		vectorV1 + " " + vectorV1:  {h, h},
		strings.Repeat(vectorV1a+" ", 5) + vectorV1: {e, e, e, e, e, h},
	} {
		s := newSigner(secrets)
		for range 3 { // reused state must not leak into the next signature
			require.Equal(t, want, s.sign(vectorID, vectorTimestamp, []byte(vectorBody)))
		}
	}
}

func TestSigner_IsAcceptedByOtherPeoplesVerifiers(t *testing.T) {
	t.Parallel()
	s := newSigner([]mapping.Secret{hmacSecret(t), ed25519Secret(t)})
	public := ed25519Secret(t).Ed25519.Public().(ed25519.PublicKey)
	theirs, err := standardwebhooks.NewWebhook("whsec_" + vectorHMAC)
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[a-zA-Z0-9_-]{1,40}`).Draw(t, "id")
		body := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body")
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		signature := s.sign(id, timestamp, body)
		require.NoError(t, theirs.Verify(body, http.Header{
			"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature},
		}))
		require.True(t, verifyEd25519(public, id, timestamp, signature, body))
		require.False(t, verifyEd25519(public, id+"x", timestamp, signature, body))
	})
}

// verifyEd25519 verifies v1a, which no client library does (standard-webhooks#124).
func verifyEd25519(public ed25519.PublicKey, id, timestamp, signatures string, body []byte) bool {
	for signature := range strings.SplitSeq(signatures, " ") {
		encoded, ok := strings.CutPrefix(signature, "v1a,")
		if !ok {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && ed25519.Verify(public, []byte(id+"."+timestamp+"."+string(body)), raw) {
			return true
		}
	}
	return false
}

func TestClient_SignsEachAttemptAfresh(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, nil)
	ep := endpointAt(e.URL)
	ep.Secrets = []mapping.Secret{hmacSecret(t), ed25519Secret(t)}
	c := newClient(t, ep)
	theirs, err := standardwebhooks.NewWebhook("whsec_" + vectorHMAC)
	require.NoError(t, err)
	now := time.Unix(1700000000, 0)
	first := c.header(request("msg_1"), now, "")
	second := c.header(request("msg_1"), now.Add(time.Minute), "")
	require.Equal(t, first["Webhook-Id"], second["Webhook-Id"])
	require.Equal(t, []string{"1700000060"}, second["Webhook-Timestamp"])
	require.NotEqual(t, first["Webhook-Signature"], second["Webhook-Signature"])

	require.Equal(t, Delivered, c.Send(t.Context(), request("msg_1")).Verdict)
	got := e.Receipts()[0]
	require.NoError(t, theirs.Verify(got.Body, got.Header))
}

func BenchmarkSigner_HMAC(b *testing.B)    { benchmarkSigner(b, hmacSecret(b)) }
func BenchmarkSigner_Ed25519(b *testing.B) { benchmarkSigner(b, ed25519Secret(b)) }

func benchmarkSigner(b *testing.B, secret mapping.Secret) {
	s := newSigner([]mapping.Secret{secret})
	body := []byte(strings.Repeat("x", 300))
	b.ReportAllocs()
	for b.Loop() {
		s.sign(vectorID, vectorTimestamp, body)
	}
}
