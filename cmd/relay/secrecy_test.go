package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// The mark is in every secret of the test's configuration.
const secretMark = "sesame"

// telltale is an endpoint that says everything it knows, wherever that may be repeated.
func telltale(status int) deliverytest.Script {
	return func(got deliverytest.Receipt) deliverytest.Answer {
		all := got.Path + "\n" + fmt.Sprint(got.Header) + " " + got.Header.Get("Authorization") + " " + string(got.Body)
		return deliverytest.Answer{Status: status, Body: all, Header: http.Header{
			"Location": {"http://" + secretMark + "@x/" + got.Path}, "Retry-After": {secretMark},
		}}
	}
}

// Every way to fail, with a secret in every place there is for one, at debug level; then everything that relay says of it.
func TestSecretsAreNowhereToBeSeen(t *testing.T) {
	t.Parallel()
	down := deliverytest.New(t, nil)
	down.Close()
	cut := deliverytest.New(t, deliverytest.Answers(deliverytest.Answer{Cut: deliverytest.CutAtOnce}))
	var endpoints strings.Builder
	failing := map[string]string{
		"down": down.URL, "dns": "http://relay.invalid", "tls": strings.Replace(cut.URL, "http:", "https:", 1), "cut": cut.URL,
	}
	for _, status := range []int{200, 301, 400, 401, 410, 429, 500, 503} {
		failing[fmt.Sprintf("answers-%d", status)] = deliverytest.New(t, telltale(status)).URL
	}
	tokens := deliverytest.New(t, telltale(http.StatusUnauthorized)).URL
	for name, url := range failing {
		path := "/hooks/sesame-path-0123?token=sesame-query"
		common := "secrets: [whsec_sesamesesamesesamesesamesesameAA], headers: {X-Api-Key: sesame-header}, retry: {delays: [100ms, 100ms], rejected: 2}"
		fmt.Fprintf(&endpoints, "  %s-bearer: {url: \"%s%s\", auth: {bearer: sesame-bearer}, %s}\n", name, url, path, common)
		fmt.Fprintf(&endpoints, "  %s-basic: {url: \"%s%s\", auth: {basic: {username: aladdin, password: \"${file:password}\"}}, %s}\n", name, url, path, common)
		fmt.Fprintf(&endpoints, "  %s-oauth: {url: \"%s%s\", auth: {oauth2: {token_url: \"%s/sesame-token-path\", client_id: me, client_secret: sesame-client}}, %s}\n",
			name, url, path, tokens, common)
	}
	fmt.Fprintf(&endpoints, "  denied: {url: \"%s/sesame-path-0123\", network: public}\n", down.URL)
	r := prepareRelay(t, endpoints.String())
	text, err := os.ReadFile(r.Config)
	require.NoError(t, err)
	withPassword := regexp.MustCompile(`postgres(ql)?://([^:@/"]*)@`).ReplaceAllString(string(text), "postgres://$2:sesame-database@")
	require.NoError(t, os.WriteFile(r.Config, []byte(withPassword), 0o600))
	r.Write("password", []byte("sesame-file-password"))
	r.Start()
	for range 3 {
		r.Insert("order.created", `{"card": "`+secretMark+`-payload"}`, "")
	}
	r.eventually(func() bool { // one attempt of each at least, a breaker that opened, and dead letters
		dead := slices.ContainsFunc(r.deadLetters(), func(d deadLetter) bool { return strings.Contains(d.LastError, "answered 400") })
		return dead && strings.Count(r.get("/metrics"), "relay_attempts_total{") >= len(failing)*3 && strings.Contains(r.Log(), "answered 500")
	}, "every endpoint was tried")
	r.Write("relay.yaml", []byte(strings.Replace(withPassword, "whsec_sesame", "whsec_!sesame", 1))) // a secret that is none
	r.eventually(func() bool { return strings.Contains(r.Log(), "configuration not reloaded") }, "the bad secret is refused")

	said := map[string]string{}
	for _, path := range []string{"/metrics", "/readyz", "/api/v1/status", "/api/v1/endpoints", "/api/v1/parked"} {
		said[path] = r.get(path)
	}
	require.Contains(t, said["/metrics"], `relay_attempts_total{endpoint="answers-500-bearer"`)
	rows, err := r.Conn.Query(t.Context(), `SELECT coalesce(last_error, '') FROM relay.parked`)
	require.NoError(t, err)
	for rows.Next() {
		var text string
		require.NoError(t, rows.Scan(&text))
		said["last_error"] += text + "\n"
	}
	require.Contains(t, said["last_error"], "answered 400")
	checked := relayOut(t, "check", "--offline", "-c", r.Config)
	said["relay check"] = checked.out + checked.err
	r.Stop()
	said["log"] = r.Log()
	require.Contains(t, said["log"], "answered 500")
	for where, text := range said {
		for line := range strings.Lines(text) {
			require.NotContains(t, line, secretMark, where)
			require.NotContains(t, line, "YWxhZGRpbjpzZXNhbWU", where) // basic authentication
		}
	}
}
