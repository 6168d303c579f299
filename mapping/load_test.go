package mapping_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func noEnv(string) (string, bool) { return "", false }

func parse(t *testing.T, text string) *mapping.Config {
	t.Helper()
	cfg, err := mapping.Parse("relay.yaml", []byte(text), noEnv)
	require.NoError(t, err)
	return cfg
}

func TestSample_IsTheRepositorysFile(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../relay.yaml")
	require.NoError(t, err)
	require.Equal(t, string(file), string(mapping.Sample))
}

func TestSample_Loads(t *testing.T) {
	t.Parallel()
	cfg := parse(t, string(mapping.Sample))
	require.Len(t, cfg.Endpoints, 1)
	require.Equal(t, "example", cfg.Endpoints[0].Name)
}

// Every key that the sample shows behind a # is accepted, and has the default it claims.
func TestSample_LoadsWithEverythingUncommented(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for line := range strings.Lines(string(mapping.Sample)) {
		body := strings.TrimLeft(line, " ")
		text, ok := strings.CutPrefix(body, "# ")
		word, _, _ := strings.Cut(strings.TrimLeft(text, "- "), ":")
		key := ok && regexp.MustCompile(`^[a-z_]+$`).MatchString(word)
		other := strings.HasPrefix(text, "auth: {basic") || strings.HasPrefix(text, "auth: {oauth2") || strings.HasPrefix(text, "tls:")
		if key && !other {
			line = strings.Repeat(" ", len(line)-len(body)) + text
		}
		b.WriteString(line)
	}
	env := map[string]string{"WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "TOKEN": "t"}
	cfg, err := mapping.Parse("relay.yaml", []byte(b.String()), func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	require.NoError(t, err, b.String())

	want := parse(t, "endpoints: {example: {url: 'http://127.0.0.1:4000/webhooks'}}")
	got := cfg.Endpoints[0]
	require.Equal(t, "payload.total > 100", got.Where.String())
	require.Equal(t, "t", got.Auth.Bearer)
	require.Equal(t, "/shop/orders", got.Source)
	require.Len(t, got.Secrets, 1)
	require.Equal(t, [][2]string{{"X-Team", "billing"}}, got.Headers)
	w := want.Endpoints[0]
	require.Equal(t, w.Events, got.Events)
	require.Equal(t, w.Format, got.Format)
	require.Equal(t, w.Timeout, got.Timeout)
	require.Equal(t, w.Concurrency, got.Concurrency)
	require.Equal(t, w.Rate, got.Rate)
	require.Equal(t, w.Order, got.Order)
	require.Equal(t, w.Batch, got.Batch)
	require.Equal(t, w.Retry, got.Retry)
	require.Equal(t, w.Breaker, got.Breaker)
	require.Equal(t, w.Network, got.Network)
	require.Equal(t, []string{"source.tables"}, want.NeedsRestart(cfg), "it names the columns, which must then exist")
	require.Equal(t, want.Log, cfg.Log)
	require.Equal(t, want.ShutdownTimeout, cfg.ShutdownTimeout)
}

func TestParse_TakesASchemaWhoseChannelIsAnIdentifierStill(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("s", 63-len("relay_"))
	require.Equal(t, name, parse(t, "source: {schema: "+name+"}\nendpoints: {a: {url: http://h}}").Source.Schema)
}
