package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/mapping"
)

// verifier checks Standard Webhooks signatures, as a receiver does.
type verifier struct {
	hmac   []byte
	public ed25519.PublicKey
}

// tolerance is how old or how far ahead a webhook-timestamp may be.
const tolerance = 5 * time.Minute

// newVerifier takes a whsec_ secret, a whsk_ key, or the whpk_ public key that belongs to one.
func newVerifier(secret string) (*verifier, error) {
	if text, ok := strings.CutPrefix(secret, "whpk_"); ok {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, errors.New("want 32 bytes in base64 after whpk_")
		}
		return &verifier{public: key}, nil
	}
	s, err := mapping.ParseSecret(secret)
	if err != nil {
		return nil, err
	}
	v := &verifier{hmac: s.HMAC}
	if s.Ed25519 != nil {
		v.public = s.Ed25519.Public().(ed25519.PublicKey)
	}
	return v, nil
}

// Verify says what is wrong with a request's signature; nil is good.
func (v *verifier) Verify(h http.Header, body []byte, now time.Time) error {
	id, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	if id == "" || stamp == "" {
		return errors.New("webhook-id or webhook-timestamp is missing")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp is not a number")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > tolerance {
		return errors.New("webhook-timestamp is more than 5 minutes off")
	}
	signed := slices.Concat([]byte(id+"."+stamp+"."), body)
	for signature := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		if v.matches(signature, signed) {
			return nil
		}
	}
	return errors.New("no signature matches")
}

func (v *verifier) matches(signature string, signed []byte) bool {
	scheme, text, _ := strings.Cut(signature, ",")
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return false
	}
	switch {
	case scheme == "v1" && v.hmac != nil:
		mac := hmac.New(sha256.New, v.hmac)
		mac.Write(signed)
		return hmac.Equal(sum, mac.Sum(nil))
	case scheme == "v1a" && v.public != nil:
		return ed25519.Verify(v.public, signed, sum)
	}
	return false
}
