package delivery

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"slices"
	"sync"

	"relay/mapping"
)

// signer signs requests by Standard Webhooks: v1 with each HMAC secret and v1a with each ed25519 key, in the order of
// the configuration, current first. It is safe for concurrent use.
type signer struct {
	keys    []signingKey
	scratch sync.Pool // of *[]byte
}

// signingKey is one secret: either hmac or private is set.
type signingKey struct {
	hmac    *sync.Pool // of hash.Hash, which keep the key's two half-done hashes over a Reset
	private ed25519.PrivateKey
}

func newSigner(secrets []mapping.Secret) *signer {
	s := &signer{scratch: sync.Pool{New: func() any { return new([]byte) }}}
	for _, secret := range secrets {
		if secret.Ed25519 != nil {
			s.keys = append(s.keys, signingKey{private: secret.Ed25519})
			continue
		}
		key := secret.HMAC
		s.keys = append(s.keys, signingKey{hmac: &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}})
	}
	return s
}

// sign returns the webhook-signature header; it is empty without secrets.
func (s *signer) sign(id, timestamp string, body []byte) string {
	return string(s.append(nil, id, []byte(timestamp), body))
}

// append appends the webhook-signature header.
func (s *signer) append(b []byte, id string, timestamp, body []byte) []byte {
	buf := s.scratch.Get().(*[]byte)
	defer s.scratch.Put(buf)
	prefix := append((*buf)[:0], id...) // the beginning of what is signed
	prefix = append(prefix, '.')
	prefix = append(prefix, timestamp...)
	prefix = slices.Grow(append(prefix, '.'), sha256.Size) // with room for a sum
	*buf = prefix
	for i, key := range s.keys {
		if i > 0 {
			b = append(b, ' ')
		}
		b = key.append(b, prefix, body)
	}
	return b
}

// append appends the signature of prefix and body to b. It may write behind prefix.
func (k signingKey) append(b, prefix, body []byte) []byte {
	if k.hmac == nil {
		message := make([]byte, 0, len(prefix)+len(body))
		message = append(append(message, prefix...), body...)
		return base64.StdEncoding.AppendEncode(append(b, "v1a,"...), ed25519.Sign(k.private, message))
	}
	mac := k.hmac.Get().(hash.Hash)
	mac.Reset()
	mac.Write(prefix)
	mac.Write(body)
	b = append(b, "v1,"...)
	b = base64.StdEncoding.AppendEncode(b, mac.Sum(prefix)[len(prefix):])
	k.hmac.Put(mac)
	return b
}
