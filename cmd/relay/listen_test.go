package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The vectors of Standard Webhooks.
const (
	vectorID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorStamp  = "1614265330"
	vectorBody   = `{"test": 2432232314}`
	vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorV1     = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	vectorKey    = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	vectorV1a    = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

func vectorHeader(signature string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", vectorID)
	h.Set("webhook-timestamp", vectorStamp)
	h.Set("webhook-signature", signature)
	return h
}

func TestVerifier_AcceptsThePublishedVectors(t *testing.T) {
	t.Parallel()
	at := time.Unix(1614265330, 0)
	for secret, signature := range map[string]string{vectorSecret: vectorV1, vectorKey: vectorV1a} {
		v, err := newVerifier(secret)
		require.NoError(t, err)
		require.NoError(t, v.Verify(vectorHeader(signature), []byte(vectorBody), at))
		require.NoError(t, v.Verify(vectorHeader("v1,AAAA v2,x "+signature), []byte(vectorBody), at))
		require.ErrorContains(t, v.Verify(vectorHeader(signature), []byte(vectorBody+" "), at), "no signature matches")
		require.ErrorContains(t, v.Verify(vectorHeader(""), []byte(vectorBody), at), "no signature matches")
		require.ErrorContains(t, v.Verify(vectorHeader(signature), []byte(vectorBody), at.Add(6*time.Minute)), "5 minutes")
		require.ErrorContains(t, v.Verify(http.Header{}, []byte(vectorBody), at), "missing")
	}
	_, err := newVerifier("secret")
	require.Error(t, err)
}

func TestListen_PrintsWhatArrivesAndRefusesForgeries(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := newConsole(nil, &out, &out)
	c.json = true
	v, err := newVerifier(vectorSecret)
	require.NoError(t, err)
	r := &receiver{out: c, verify: v}
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(vectorBody))
	req.Header = vectorHeader(vectorV1) // of 2021
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	var line received
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, vectorID, line.ID)
	require.Contains(t, line.Problem, "5 minutes")
}

func TestListen_FailsOnRequestAndShowsOddBodiesQuoted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := &receiver{out: newConsole(nil, &out, &out), fail: 1}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("\x1b[2Jhello")))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotContains(t, out.String(), "\x1b")
	require.Contains(t, out.String(), `\x1b[2Jhello`)
}
