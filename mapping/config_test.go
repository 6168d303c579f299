package mapping_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

const minimal = "endpoints: {a: {url: 'https://example.com'}}"

func TestParse_FillsInTheDefaults(t *testing.T) {
	t.Parallel()
	cfg := parse(t, minimal)
	require.Equal(t, mapping.Source{
		Slot: "relay", Publication: "relay", Schema: "relay",
		Tables:   []mapping.Table{{Schema: "public", Name: "outbox", Columns: mapping.DefaultColumns()}},
		Existing: "skip", OnSlotLost: "stop",
		Window: mapping.Window{Events: 20000, Bytes: 64 << 20}, Hold: 5 * time.Second,
	}, cfg.Source)
	require.Equal(t, mapping.Admin{Listen: "127.0.0.1:9187"}, cfg.Admin)
	require.Equal(t, mapping.Log{Level: slog.LevelInfo, Format: "text"}, cfg.Log)
	require.Equal(t, 25*time.Second, cfg.ShutdownTimeout)
	ep := cfg.Endpoint("a")
	require.Equal(t, []mapping.Pattern{"*"}, ep.Events)
	require.Equal(t, mapping.FormatStandard, ep.Format)
	require.Equal(t, 15*time.Second, ep.Timeout)
	require.Equal(t, 16, ep.Concurrency)
	require.Zero(t, ep.Rate)
	require.Equal(t, mapping.OrderKey, ep.Order)
	require.Equal(t, mapping.Batch{Events: 1, Bytes: 1 << 20}, ep.Batch)
	require.Len(t, ep.Retry.Delays, 11)
	require.Equal(t, 24*time.Hour, ep.Retry.Delays[10])
	require.Equal(t, mapping.Breaker{
		Failures: 5, Ratio: 0.5, Requests: 20, Window: time.Minute,
		Open: 15 * time.Second, MaxOpen: 15 * time.Minute, Probes: 1,
	}, ep.Breaker)
	require.Equal(t, mapping.Network{}, ep.Network)
	require.Nil(t, cfg.Endpoint("b"))
}

// Every key of the contract, none at its default.
const full = `
source:
  url: host=db dbname=app
  slot: s1
  publication: P1
  schema: relay2
  tables:
    - name: app.outbox
      columns: {id: i, type: t, key: aggregateid, payload: p, headers: h, time: c}
      retention: 1h
    - name: events
    - name: 'x."Odd.Name"'
  messages: [one, two]
  existing: created_at > now() - interval '1 day'
  on_slot_lost: recreate
  window: {events: 5, bytes: 1MB}
  hold: 1s
defaults: {timeout: 3s, headers: {x-a: "1", x-b: "2"}, auth: {bearer: d}, breaker: {failures: 9, probes: 2}, where: "true"}
endpoints:
  billing:
    url: https://billing.example.com/webhooks?a=b
    events: ["order.*", invoice.paid]
    where: payload.total > 100
    body: '{"id": event.id, "total": payload.total}'
    format: cloudevents-batch
    source: /shop
    secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]
    headers: {X-B: "3", X-C: "4"}
    auth: {oauth2: {token_url: "https://t", client_id: i, client_secret: s, scopes: [a, b]}}
    tls: {server_name: x}
    timeout: 1m
    concurrency: 2
    rate: 0.5
    order: strict
    batch: {events: 10, bytes: 2KiB, wait: 1s}
    retry: {delays: [100ms, 1s], max_age: 1h, rejected: 1}
    breaker: {failures: 1, ratio: 1, requests: 2, window: 2s, open: 1s, max_open: 1s, probes: 3}
    network: [10.0.0.0/8, "::1"]
    paused: true
  other:
    url: http://h
    network: public
    auth: {basic: {username: u, password: p}}
admin: {listen: "0.0.0.0:1", token: t}
log: {level: debug, format: json}
shutdown_timeout: 1s
`

func TestParse_TakesEveryKeyOfTheContract(t *testing.T) {
	t.Parallel()
	cfg := parse(t, full)
	s := cfg.Source
	require.Equal(t, "host=db dbname=app", s.URL)
	require.Equal(t, "s1 P1 relay2", strings.Join([]string{s.Slot, s.Publication, s.Schema}, " "))
	require.Len(t, s.Tables, 3)
	require.Equal(t, "app.outbox", s.Tables[0].String())
	require.Equal(t, "aggregateid", s.Tables[0].Columns.Map()["key"])
	require.True(t, s.Tables[0].Columns.Named["time"])
	require.Equal(t, time.Hour, s.Tables[0].Retention)
	require.Equal(t, "public.events", s.Tables[1].String())
	require.Equal(t, "Odd.Name", s.Tables[2].Name)
	require.Equal(t, []string{"one", "two"}, s.Messages)
	require.Equal(t, "created_at > now() - interval '1 day'", s.Existing)
	require.Equal(t, mapping.SlotLostRecreate, s.OnSlotLost)
	require.Equal(t, mapping.Window{Events: 5, Bytes: 1e6}, s.Window)

	b := cfg.Endpoint("billing")
	require.Equal(t, []mapping.Pattern{"order.*", "invoice.paid"}, b.Events)
	require.Equal(t, "payload.total > 100", b.Where.String())
	require.Equal(t, [][2]string{{"X-A", "1"}, {"X-B", "3"}, {"X-C", "4"}}, b.Headers, "merged with the defaults")
	require.Equal(t, mapping.Auth{OAuth2: &mapping.OAuth2{
		TokenURL: "https://t", ClientID: "i", ClientSecret: "s", Scopes: []string{"a", "b"},
	}}, b.Auth, "in place of the defaults")
	require.Equal(t, time.Minute, b.Timeout)
	require.InDelta(t, 0.5, b.Rate, 0)
	require.Equal(t, mapping.Batch{Events: 10, Bytes: 2048, Wait: time.Second}, b.Batch)
	require.Equal(t, mapping.Retry{Delays: []time.Duration{100 * time.Millisecond, time.Second}, MaxAge: time.Hour, Rejected: 1}, b.Retry)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, b.Network.Allow)
	require.True(t, b.Paused)

	o := cfg.Endpoint("other")
	require.Equal(t, 1, o.Index)
	require.Equal(t, 3*time.Second, o.Timeout)
	require.Equal(t, "true", o.Where.String())
	require.Equal(t, [][2]string{{"X-A", "1"}, {"X-B", "2"}}, o.Headers)
	require.Equal(t, 9, o.Breaker.Failures)
	require.Equal(t, 15*time.Second, o.Breaker.Open)
	require.True(t, o.Network.Public)
	require.Equal(t, slog.LevelDebug, cfg.Log.Level)
}

func TestHash_ChangesWithEveryKey(t *testing.T) {
	t.Parallel()
	base := "url: http://h"
	seen := map[string]string{parse(t, "endpoints: {a: {"+base+"}}").Endpoints[0].Hash(): "nothing"}
	for _, extra := range []string{
		"events: [a]", "events: [b]", "events: [a, b]", `events: ["a b"]`, "where: 'true'", "body: 'true'", "format: raw", "source: /s",
		"secrets: [" + whsec + "]", "secrets: [" + whsec + "," + whsec + "]", "headers: {x-a: b}", "headers: {x-a: c}",
		"auth: {bearer: x}", "auth: {basic: {username: x, password: y}}", "auth: {basic: {username: x, password: z}}",
		"auth: {oauth2: {token_url: 'http://t', client_id: i, client_secret: s}}",
		"auth: {oauth2: {token_url: 'http://t', client_id: i, client_secret: s, scopes: [a]}}",
		"tls: {server_name: x}", "timeout: 1s", "concurrency: 1", "rate: 1", "order: none", "order: strict",
		"batch: {bytes: 5}", "batch: {wait: 5s}", "retry: {delays: []}", "retry: {max_age: 1h}", "retry: {rejected: 9}",
		"breaker: {failures: 9}", "breaker: {ratio: 0.1}", "breaker: {requests: 9}", "breaker: {window: 9s}", "breaker: {open: 9s}",
		"breaker: {max_open: 9h}", "breaker: {probes: 9}", "network: public", "network: [10.0.0.0/8]", "paused: true",
	} {
		hash := parse(t, "endpoints: {a: {"+base+", "+extra+"}}").Endpoints[0].Hash()
		require.Empty(t, seen[hash], extra)
		seen[hash] = extra
	}
	moved := parse(t, "endpoints: {z: {url: http://z}, a: {"+base+", timeout: 1s}}").Endpoints[1]
	require.Equal(t, "timeout: 1s", seen[moved.Hash()], "its place in the file does not matter")
}

func TestNeedsRestart_NamesTheKeys(t *testing.T) {
	t.Parallel()
	require.Empty(t, parse(t, minimal).NeedsRestart(parse(t, "log: {level: debug}\nendpoints: {b: {url: 'http://h'}}")))
	require.Equal(t, []string{
		"source.url", "source.slot", "source.publication", "source.schema", "source.tables", "source.messages", "source.existing",
		"source.on_slot_lost", "source.window", "source.hold", "admin.listen", "admin.token", "log.format",
	}, parse(t, minimal).NeedsRestart(parse(t, full)))
}

func TestParse_ExpandsVariablesAndFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("from $file\n"), 0o600))
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"HOST": "h.example", "EMPTY": "", "N": "7", "DOLLAR": "${HOST}"}[name]
		return v, ok
	}
	cfg, err := mapping.Parse(filepath.Join(dir, "relay.yaml"), []byte(`
endpoints:
  a:
    url: https://${HOST}/${EMPTY}${EMPTY:-x}${NONE:-y}/${NONE:-${HOST}}/${NONE:-}
    concurrency: ${N}
    paused: "${NONE:-true}"
    timeout: ${N}s
    auth: {bearer: "${file:token}"}
    headers: {X-A: "$$HOST $HOST $${HOST} $", X-B: "${DOLLAR}", X-C: "${file:`+dir+`/token}"}
`), env)
	require.NoError(t, err)
	ep := cfg.Endpoints[0]
	require.Equal(t, "https://h.example/xy/h.example/", ep.URL)
	require.Equal(t, 7, ep.Concurrency)
	require.True(t, ep.Paused)
	require.Equal(t, 7*time.Second, ep.Timeout)
	require.Equal(t, "from $file", ep.Auth.Bearer)
	require.Equal(t, [][2]string{{"X-A", "$HOST $HOST ${HOST} $"}, {"X-B", "${HOST}"}, {"X-C", "from $file"}}, ep.Headers)
	require.Equal(t, []string{filepath.Join(dir, "token")}, cfg.Files)
}

func TestParse_FollowsAnchorsAndMergeKeys(t *testing.T) {
	t.Parallel()
	cfg := parse(t, `
endpoints:
  a: &a {url: http://a, timeout: 1s, retry: &r {rejected: 9}}
  b: {<<: *a, url: http://b}
  c: {url: http://c, retry: *r, headers: {<<: [{X-A: "1"}, {X-A: "2", X-B: "3"}]}}
`)
	require.Equal(t, "http://b", cfg.Endpoint("b").URL)
	require.Equal(t, time.Second, cfg.Endpoint("b").Timeout)
	require.Equal(t, 9, cfg.Endpoint("c").Retry.Rejected)
	require.Equal(t, [][2]string{{"X-A", "1"}, {"X-B", "3"}}, cfg.Endpoint("c").Headers)
}

func TestLoad_SaysWhatIsWrongWithTheFile(t *testing.T) {
	t.Parallel()
	_, err := mapping.Load(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorContains(t, err, "none.yaml: there is no such file")
	_, err = mapping.Load("/dev/zero")
	require.EqualError(t, err, "/dev/zero: cannot be read: the file is too large")
	_, err = mapping.Load(t.TempDir())
	require.ErrorContains(t, err, "cannot be read: is a directory")
}

func TestParse_ReadsCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func() {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, cert, cert, public, private)
		require.NoError(t, err)
		key, err := x509.MarshalPKCS8PrivateKey(private)
		require.NoError(t, err)
		certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
		require.NoError(t, os.WriteFile(filepath.Join(dir, "c.pem"), certPEM, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "k.pem"), keyPEM, 0o600))
	}
	load := func() *mapping.Config {
		text := "endpoints: {a: {url: 'https://h', tls: {ca_file: c.pem, cert_file: c.pem, key_file: k.pem}}}"
		cfg, err := mapping.Parse(filepath.Join(dir, "relay.yaml"), []byte(text), noEnv)
		require.NoError(t, err)
		return cfg
	}
	write()
	one := load()
	require.NotNil(t, one.Endpoints[0].TLS.Roots)
	require.NotNil(t, one.Endpoints[0].TLS.Certificate)
	require.Equal(t, []string{filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")}, one.Files)
	write()
	require.NotEqual(t, one.Endpoints[0].Hash(), load().Endpoints[0].Hash(), "a new certificate is a change")
}

func TestParseSecret_TakesBothKinds(t *testing.T) {
	t.Parallel()
	secret, err := mapping.ParseSecret(whsec)
	require.NoError(t, err)
	require.Len(t, secret.HMAC, 24)

	const whsk = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	secret, err = mapping.ParseSecret(whsk)
	require.NoError(t, err)
	seed := base64.StdEncoding.EncodeToString(secret.Ed25519.Seed())
	again, err := mapping.ParseSecret("whsk_" + seed)
	require.NoError(t, err)
	require.Equal(t, secret.Ed25519, again.Ed25519)

	key := []byte(secret.Ed25519)
	wrong := append(key[:63:63], key[63]^1)
	_, err = mapping.ParseSecret("whsk_" + base64.StdEncoding.EncodeToString(wrong))
	require.EqualError(t, err, "found a whsk_ key whose halves do not belong together, expected seed and public key")
	for n, ok := range map[int]bool{23: false, 24: true, 64: true, 65: false} {
		_, err := mapping.ParseSecret("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)))
		require.Equal(t, ok, err == nil, n)
	}
	_, err = mapping.ParseSecret(strings.TrimSuffix("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 25)), "="))
	require.ErrorContains(t, err, "padded")
}

func TestSecret_IsNeverPrinted(t *testing.T) {
	t.Parallel()
	secret, err := mapping.ParseSecret(whsec)
	require.NoError(t, err)
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "secret", secret, "list", []mapping.Secret{secret})
	asJSON, err := json.Marshal(secret)
	require.NoError(t, err)
	for _, text := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%+v %#v %s %x", secret, secret, secret, secret), logged.String(), string(asJSON),
	} {
		require.NotContains(t, text, "49 242 144", text)
		require.NotContains(t, text, "31f290f6", text)
		require.Contains(t, text, "secret")
	}
}

func TestParse_TakesTheReference(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/reference.yaml")
	require.NoError(t, err)
	env := map[string]string{"DATABASE_URL": "postgres://app@db1:5432,db2:5433/app", "BILLING_SECRET": whsec, "TOKEN": "t"}
	cfg, err := mapping.Parse("relay.yaml", data, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	require.NoError(t, err)
	require.Equal(t, env["DATABASE_URL"], cfg.Source.URL)
	require.Equal(t, "t", cfg.Endpoint("billing").Auth.Bearer)
	require.Nil(t, cfg.Endpoint("billing").TLS.Roots)
	require.Equal(t, parse(t, minimal).Endpoints[0].Retry, cfg.Endpoint("billing").Retry)
}
