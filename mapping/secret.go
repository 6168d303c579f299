package mapping

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
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

// What Standard Webhooks puts before a secret.
const (
	prefixHMAC    = "whsec_"
	prefixEd25519 = "whsk_"
	prefixPublic  = "whpk_"
)

// ParseSecret parses whsec_ and 24 to 64 bytes, or whsk_ and an ed25519 key (64 bytes, or its 32-byte seed), in padded
// standard base64. Its errors never hold a part of the secret.
func ParseSecret(s string) (Secret, error) {
	if text, ok := strings.CutPrefix(s, prefixHMAC); ok {
		key, err := base64.StdEncoding.Strict().DecodeString(text)
		switch {
		case err != nil:
			return Secret{}, errors.New("found a whsec_ secret that is not base64, expected padded standard base64 after whsec_")
		case len(key) < 24 || len(key) > 64:
			return Secret{}, errors.New("found a whsec_ secret of the wrong length, expected 24 to 64 bytes in base64")
		}
		return Secret{HMAC: key}, nil
	}
	if text, ok := strings.CutPrefix(s, prefixEd25519); ok {
		return parseEd25519(text)
	}
	if strings.HasPrefix(s, prefixPublic) {
		return Secret{}, errors.New("found a whpk_ public key, which verifies only, expected the whsk_ key that belongs to it")
	}
	return Secret{}, errors.New("found a secret without its prefix, expected whsec_ (HMAC) or whsk_ (ed25519) and base64")
}

func parseEd25519(text string) (Secret, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Secret{}, errors.New("found a whsk_ key that is not base64, expected padded standard base64 after whsk_")
	}
	if len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize {
		return Secret{}, errors.New("found a whsk_ key of the wrong length, expected 64 bytes (or the seed of 32) in base64")
	}
	private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
	if len(key) == ed25519.PrivateKeySize && !bytes.Equal(private, key) {
		return Secret{}, errors.New("found a whsk_ key whose halves do not belong together, expected seed and public key")
	}
	return Secret{Ed25519: private}, nil
}

func (v value) secrets(to *[]Secret) {
	items, ok := v.list("a list of whsec_ or whsk_ secrets")
	if !ok {
		return
	}
	list := []Secret{}
	for _, item := range items {
		item.secret = true
		s, ok := item.str("a whsec_ or whsk_ secret")
		if !ok {
			continue
		}
		secret, err := ParseSecret(s)
		if err != nil {
			item.fail("%v", err)
			continue
		}
		list = append(list, secret)
	}
	*to = list
}
