package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

func TestRun_SignsWithARotatedSecretFileFromTheNextAttemptOn(t *testing.T) {
	t.Parallel()
	old, err := newSecrets()
	require.NoError(t, err)
	fresh, err := newSecrets()
	require.NoError(t, err)
	verifier, err := standardwebhooks.NewWebhook(fresh.HMAC)
	require.NoError(t, err)
	endpoint := deliverytest.New(t, func(got deliverytest.Receipt) deliverytest.Answer {
		if verifier.Verify(got.Body, got.Header) != nil {
			return deliverytest.Answer{Status: http.StatusUnauthorized}
		}
		return deliverytest.Answer{}
	})
	r := prepareRelay(t, "  billing:\n    url: "+endpoint.URL+"\n    secrets: [\"${file:secret}\"]\n    retry: {delays: [100ms, 100ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 1s, 1s, 1s, 1s, 1s]}\n")
	r.Write("secret", []byte(old.HMAC+"\n"))
	r.Start()
	id := r.Insert("order.created", `1`, "")
	endpoint.Wait(t, 2) // refused, and refused again

	r.Write("secret", []byte(fresh.HMAC+"\n"))

	r.eventually(func() bool {
		receipts := endpoint.Receipts()
		last := receipts[len(receipts)-1]
		require.Equal(t, id, last.ID())
		return verifier.Verify(last.Body, last.Header) == nil
	}, "a retry of the same delivery is signed with the new secret")
	r.Stop()
	require.NotContains(t, r.Log(), fresh.HMAC)
}

// writeCertificate writes a self-signed client certificate and its key beside the configuration.
func (r *running) writeCertificate(serial int64) {
	r.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(r.t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, public, private)
	require.NoError(r.t, err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(r.t, err)
	r.Write("client.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	r.Write("client.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

func TestRun_ShowsARotatedClientCertificateFromTheNextAttemptOn(t *testing.T) {
	t.Parallel()
	var shown atomic.Int64 // serial of the last certificate
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		shown.Store(req.TLS.PeerCertificates[0].SerialNumber.Int64())
		w.WriteHeader(http.StatusNoContent)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	r := prepareRelay(t, "  billing: {url: \""+server.URL+"\", tls: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}}\n")
	r.Write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	r.writeCertificate(1)
	r.Start()
	r.Insert("order.created", `1`, "")
	r.eventually(func() bool { return shown.Load() == 1 }, "the first certificate")

	r.writeCertificate(2) // two files: in between they do not belong together

	r.eventually(func() bool {
		r.Insert("order.created", `1`, "")
		return shown.Load() == 2
	}, "the second certificate")
	r.Stop()
}

func TestRun_TakesAConfigurationOnceTheFileItWantsIsThere(t *testing.T) {
	t.Parallel()
	endpoint := deliverytest.New(t, nil)
	r := startRelay(t, "  billing: {url: \""+endpoint.URL+"\"}\n")
	text, err := os.ReadFile(r.Config)
	require.NoError(t, err)
	r.Write(filepath.Base(r.Config), bytes.Replace(text, []byte(endpoint.URL+`"`), []byte(endpoint.URL+`", secrets: ["${file:late}"]`), 1))
	r.eventually(func() bool { return bytes.Contains([]byte(r.Log()), []byte("configuration not reloaded")) }, "the file is missed")
	s, err := newSecrets()
	require.NoError(t, err)

	r.Write("late", []byte(s.HMAC))

	r.eventually(func() bool { return bytes.Contains([]byte(r.Log()), []byte("configuration is in order again")) }, "it is taken")
	r.Insert("order.created", `1`, "")
	require.NotEmpty(t, endpoint.Wait(t, 1)[0].Header.Get("Webhook-Signature"))
	r.Stop()
}
