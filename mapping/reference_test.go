package mapping_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"relay/mapping"
)

func TestReference_IsThePageInDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	require.True(t, string(page) == mapping.Reference(), "docs/configuration.md is stale: go generate ./cmd/relay")
}

func TestReference_HasEveryKeyOfTheLoaderAndNoOther(t *testing.T) {
	t.Parallel()
	require.NotContains(t, mapping.Reference(), "- Type: \n")
	var paths []string
	for _, m := range mapping.Meanings() {
		paths = append(paths, m.Path)
		require.NotEmpty(t, m.Text, m.Path)
	}
	require.ElementsMatch(t, mapping.JSONSchema().Keys(), paths)
	slices.Sort(paths)
	require.Len(t, slices.Compact(paths), len(paths))
}

// exampleFile is a relay.yaml with one key as in its example.
func exampleFile(t *testing.T, m mapping.Meaning) string {
	t.Helper()
	var example any
	require.NoError(t, yaml.Unmarshal([]byte(m.Example), &example), m.Path)
	path := strings.ReplaceAll(strings.ReplaceAll(m.Path, "[]", ".[]"), "<name>", "billing")
	steps := strings.Split(path, ".")
	for _, step := range slices.Backward(steps[1:]) {
		if step == "[]" {
			example = []any{example}
		} else {
			example = map[string]any{step: example}
		}
	}
	file := map[string]any{"endpoints": map[string]any{"billing": map[string]any{}}}
	if steps[0] != "endpoints" || len(steps) > 1 {
		file[steps[0]] = example
	}
	if m.Path == "endpoints" {
		file["endpoints"] = example
	}
	billing := map[string]any{}
	if at, ok := file["endpoints"].(map[string]any)["billing"].(map[string]any); ok {
		billing = at
	}
	file["endpoints"].(map[string]any)["billing"] = billing
	if billing["url"] == nil {
		billing["url"] = "https://billing.example.com/webhooks"
	}
	complete(m.Path, file, billing)
	text, err := yaml.Marshal(file)
	require.NoError(t, err)
	return string(text)
}

// complete adds the keys that an example cannot be without.
func complete(path string, file, billing map[string]any) {
	add := func(to any, keys map[string]any) {
		for key, value := range keys {
			if to.(map[string]any)[key] == nil {
				to.(map[string]any)[key] = value
			}
		}
	}
	switch {
	case strings.HasPrefix(path, "source.tables[]."):
		add(file["source"].(map[string]any)["tables"].([]any)[0], map[string]any{"name": "outbox"})
	case strings.HasPrefix(path, "endpoints.<name>.auth.basic."):
		add(billing["auth"].(map[string]any)["basic"], map[string]any{"username": "relay"})
	case strings.HasPrefix(path, "endpoints.<name>.auth.oauth2."):
		add(billing["auth"].(map[string]any)["oauth2"], map[string]any{"token_url": "https://a", "client_id": "a", "client_secret": "a"})
	case strings.HasPrefix(path, "endpoints.<name>.batch."):
		billing["format"] = "cloudevents-batch"
	case path == "admin.listen":
		file["admin"].(map[string]any)["token"] = "x"
	}
}

func TestReference_HasExamplesThatLoad(t *testing.T) {
	t.Parallel()
	env := func(name string) (string, bool) {
		return map[string]string{
			"DATABASE_URL": "postgres://h/d", "BILLING_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "TOKEN": "t",
			"PASSWORD": "p", "SECRET": "s", "ADMIN_TOKEN": "t",
		}[name], true
	}
	tried := 0
	for _, m := range mapping.Meanings() {
		if m.Example == "" {
			continue
		}
		tried++
		text := exampleFile(t, m)
		_, err := mapping.Parse("relay.yaml", []byte(text), env)
		if err != nil && strings.Contains(m.Path, "_file") && strings.Contains(err.Error(), fmt.Sprintf("found %q, but there is no such file", m.Example)) {
			continue // as it has to be
		}
		require.NoError(t, err, "%s\n%s", m.Path, text)
	}
	require.Greater(t, tried, 50)
}
