package mapping_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"relay/mapping"
)

// schemaValue is the schema as its readers see it.
func schemaValue(t *testing.T) map[string]any {
	t.Helper()
	data, err := json.Marshal(mapping.JSONSchema())
	require.NoError(t, err)
	var s map[string]any
	require.NoError(t, json.Unmarshal(data, &s))
	return s
}

// conforms is a small validator: it returns what of a value the schema does not allow.
func conforms(s map[string]any, v any, path string) (wrong []string) {
	fail := func(format string, args ...any) { wrong = append(wrong, path+": "+fmt.Sprintf(format, args...)) }
	if of := list(s["anyOf"]); of != nil && !slices.ContainsFunc(of, func(alt any) bool { return conforms(alt.(map[string]any), v, path) == nil }) {
		fail("%v fits none", v)
	}
	if types := list(s["type"]); types != nil && !slices.Contains(types, any(typeOf(v))) && !(typeOf(v) == "integer" && slices.Contains(types, any("number"))) {
		fail("%v is a %s, want %v", v, typeOf(v), types)
		return wrong
	}
	if enum := list(s["enum"]); enum != nil && !slices.Contains(enum, v) {
		fail("%v is not one of %v", v, enum)
	}
	switch v := v.(type) {
	case string:
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			fail("%q does not match", v)
		}
		if least, ok := s["minLength"].(float64); ok && len(v) < int(least) {
			fail("too short")
		}
	case int:
		if least, ok := s["minimum"].(float64); ok && float64(v) < least {
			fail("%d is too small", v)
		}
	case []any:
		items, _ := s["items"].(map[string]any)
		for i, item := range v {
			wrong = append(wrong, conforms(items, item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		for _, name := range list(s["required"]) {
			if _, ok := v[name.(string)]; !ok {
				fail("no %s", name)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for name, value := range v {
			if names, ok := s["propertyNames"].(map[string]any); ok {
				wrong = append(wrong, conforms(names, name, path+" key")...)
			}
			p, ok := properties[name].(map[string]any)
			if !ok {
				p, ok = s["additionalProperties"].(map[string]any)
			}
			if !ok {
				fail("unknown key %s", name)
				continue
			}
			wrong = append(wrong, conforms(p, value, path+"."+name)...)
		}
	}
	return wrong
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case int:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "array"
	default:
		return "object"
	}
}

func parsed(t *testing.T, text string) any {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal([]byte(text), &v), text)
	return v
}

// everyKey is the contract's example, with a value for each key.
const everyKey = `
source:
  url: ${DATABASE_URL}
  slot: relay
  publication: relay
  schema: relay
  tables:
    - name: public.outbox
      columns: {id: id, type: type, key: key, payload: payload, headers: headers, time: created_at}
      retention: 0s
  messages: []
  existing: skip
  on_slot_lost: stop
  window: {events: 20000, bytes: 64MiB}
  hold: 5s
defaults:
  timeout: 15s
endpoints:
  billing:
    url: https://billing.example.com/webhooks
    events: ["order.*", invoice.paid]
    where: payload.total > 100
    body: '{"id": event.id, "total": payload.total}'
    format: standard
    source: /shop
    secrets: ["${BILLING_SECRET}"]
    headers: {X-Team: billing}
    auth: {bearer: "${TOKEN}"}
    tls: {ca_file, cert_file, key_file, server_name}
    timeout: 15s
    concurrency: "${WORKERS:-16}"
    rate: 0
    order: key
    batch: {events: 1, bytes: 1MiB, wait: 0s}
    retry: {delays: [500ms, 5s, 30s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h], max_age: 96h, rejected: 3}
    breaker: {failures: 5, ratio: 0.5, requests: 20, window: 60s, open: 15s, max_open: 15m, probes: 1}
    network: any
    paused: false
  basic: {url: http://a, auth: {basic: {username: u, password: p}}, network: [10.0.0.0/8], rate: 1.5, retry: }
  oauth2: {url: http://a, auth: {oauth2: {token_url: http://t, client_id: c, client_secret: s, scopes: [a]}}, network: public}
admin: {listen: 127.0.0.1:9187, token: ""}
log: {level: info, format: text}
shutdown_timeout: 25s
`

func TestJSONSchema_AcceptsWhatTheLoaderDoes(t *testing.T) {
	t.Parallel()
	s := schemaValue(t)
	for _, text := range []string{everyKey, string(mapping.Sample), uncommented(t)} {
		require.Empty(t, conforms(s, parsed(t, text), "$"), text)
	}
	env := map[string]string{"DATABASE_URL": "postgres://h/d", "TOKEN": "t", "BILLING_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	_, err := mapping.Parse("relay.yaml", []byte(everyKey), func(name string) (string, bool) { return env[name], env[name] != "" })
	require.NoError(t, err)
}

var sampleKey = regexp.MustCompile(`(?m)^( *)# ([a-z_]+:(?: |$)|  +[a-z-]+: ?|- name)`)

// uncommented is the sample with every key that can stand beside the others.
func uncommented(t *testing.T) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(string(mapping.Sample)) {
		if strings.Contains(line, "# auth: {b") && strings.Contains(line, "bearer") {
			continue
		}
		if m := sampleKey.FindStringSubmatch(line); m != nil && !strings.Contains(line, "auth: {basic") {
			line = strings.Replace(line, m[1]+"# ", m[1], 1)
		} else if strings.HasPrefix(line, "  #   ") {
			line = strings.Replace(line, "# ", "", 1)
		}
		lines = append(lines, line)
	}
	text := strings.Join(lines, "")
	require.Contains(t, text, "\n    where: ")
	require.Contains(t, text, "\nshutdown_timeout: ")
	return text
}

// The loader says which keys it knows when it meets one that it does not. Every object of the schema has just these.
func TestJSONSchema_HasTheKeysOfTheLoader(t *testing.T) {
	t.Parallel()
	objects := map[string][]string{}
	var walk func(s map[string]any, path []string)
	walk = func(s map[string]any, path []string) {
		if p, ok := s["properties"].(map[string]any); ok {
			objects[strings.Join(path, " ")] = slices.Sorted(maps.Keys(p))
			for name, child := range p {
				walk(child.(map[string]any), append(slices.Clone(path), name))
			}
		}
		if child, ok := s["additionalProperties"].(map[string]any); ok {
			walk(child, append(slices.Clone(path), "e"))
		}
		if child, ok := s["items"].(map[string]any); ok {
			walk(child, append(slices.Clone(path), "[]"))
		}
	}
	walk(schemaValue(t), nil)
	require.Greater(t, len(objects), 20)
	for path, keys := range objects {
		var doc any = map[string]any{"qqqqqqqqqqqqqqqqqqqq": 1}
		for _, step := range slices.Backward(strings.Fields(path)) {
			if step == "[]" {
				doc = []any{doc}
			} else {
				doc = map[string]any{step: doc}
			}
		}
		text, err := yaml.Marshal(doc)
		require.NoError(t, err)
		_, err = mapping.Parse("relay.yaml", text, noEnv)
		if path == "defaults" {
			keys = slices.Sorted(slices.Values(append(slices.Clone(keys), "url", "events"))) // known, and refused with the reason
		}
		require.Error(t, err)
		require.Contains(t, err.Error()+"\n", "unknown key, expected one of "+strings.Join(keys, ", ")+"\n", path)
	}
}

func TestJSONSchema_RefusesWhatTheLoaderRefuses(t *testing.T) {
	t.Parallel()
	s := schemaValue(t)
	for _, text := range []string{
		"{}",
		"endpoints: {a: {}}",
		"endpoints: {a: {url: 1}}",
		"endpoints: {'a b': {url: http://a}}",
		"endpoints: {a: {url: http://a, timeout: 15}}",
		"endpoints: {a: {url: http://a, timeout: 15 s}}",
		"endpoints: {a: {url: http://a, format: xml}}",
		"endpoints: {a: {url: http://a, concurrency: 0}}",
		"endpoints: {a: {url: http://a, concurrency: 1.5}}",
		"endpoints: {a: {url: http://a, paused: maybe}}",
		"endpoints: {a: {url: http://a, events: order}}",
		"endpoints: {a: {url: http://a, network: private}}",
		"endpoints: {a: {url: http://a, headers: {X-A: [1]}}}",
		"endpoints: {a: {url: http://a, ulr: http://a}}",
		"{endpoints: {a: {url: http://a}}, defaults: {url: http://a}}",
		"{endpoints: {a: {url: http://a}}, source: {tables: [{}]}}",
		"{endpoints: {a: {url: http://a}}, source: {window: {bytes: 64 MB/s}}}",
	} {
		require.NotEmpty(t, conforms(s, parsed(t, text), "$"), text)
		_, err := mapping.Parse("relay.yaml", []byte(text), noEnv)
		require.Error(t, err, text)
	}
}
