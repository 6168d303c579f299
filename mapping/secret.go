package mapping

import (
	"crypto/ed25519"
	"log/slog"
)

// Secret is a parsed signing secret; exactly one field is set. It prints as [secret].
type Secret struct {
	HMAC    []byte             // of whsec_…: signs v1
	Ed25519 ed25519.PrivateKey // of whsk_…: signs v1a
}

// String hides the secret.
func (Secret) String() string { return "[secret]" }

// GoString hides the secret.
func (Secret) GoString() string { return "[secret]" }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
