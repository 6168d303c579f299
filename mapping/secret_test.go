package mapping_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// FuzzParseSecret wants a secret of a length that signs, or an error that does not quote it.
func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{
		"", "whsec_", "whsk_", "whpk_", whsec, whsec + "\n", strings.TrimPrefix(whsec, "whsec_"),
		"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := mapping.ParseSecret(text)
		if err != nil {
			require.Nil(t, secret.HMAC)
			require.Nil(t, secret.Ed25519)
			_, hidden, _ := strings.Cut(text, "_")
			if len(hidden) > 12 { // shorter ones may well be words of the message
				require.NotContains(t, err.Error(), hidden)
			}
			return
		}
		require.NotEqual(t, secret.HMAC == nil, secret.Ed25519 == nil, "one of the two")
		if secret.HMAC != nil {
			require.GreaterOrEqual(t, len(secret.HMAC), 24)
			require.LessOrEqual(t, len(secret.HMAC), 64)
		} else {
			require.Len(t, secret.Ed25519, 64)
		}
	})
}
