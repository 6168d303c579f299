package mapping

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Reference returns docs/configuration.md: every key with its meaning, what may stand there, its default, its limits and an
// example. It is made of the schema, which is made of the loader.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	root := JSONSchema()
	section := ""
	for _, m := range meanings {
		if top, _, _ := strings.Cut(m.Path, "."); top != section {
			section = top
			fmt.Fprintf(&b, "\n## %s\n", section)
			if m.Path == section {
				fmt.Fprintf(&b, "\n%s\n", m.Text)
			}
			if root.Properties[section].Properties != nil { // the keys below say the rest
				if m.Example != "" {
					fmt.Fprintf(&b, "\nExample: `%s: %s`\n", m.Path, m.Example)
				}
				continue
			}
		}
		root.At(m.Path).reference(&b, m, root.requires(m.Path))
	}
	return b.String()
}

const referenceHead = `# Configuration

Every key of relay.yaml. This page is made by ` + "`go generate ./cmd/relay`" + ` of what the loader itself knows; a test fails when it is stale.

The file is read strictly: an unknown or repeated key, a wrong type or a bad value is an error with its place, and all errors come at
once. ` + "`${VAR}`, `${VAR:-default}` and `${file:/run/secrets/x}`" + ` expand inside values, ` + "`$$`" + ` is a dollar, and a relative path starts at
the file's folder. Durations are Go's (` + "`500ms`, `15s`, `24h`" + `), sizes as in ` + "`64MiB`" + `. Text with an expansion in it may stand for a number.

The file is read again when it changes, also as a Kubernetes ConfigMap does, on SIGHUP and on ` + "`POST /-/reload`" + `. First everything is
checked, then it is swapped; a file with a mistake changes nothing, and the log, ` + "`relay status`" + ` and the metric
` + "`relay_config_last_reload_successful`" + ` say so. ` + "`endpoints`, `defaults`, `log.level` and `shutdown_timeout`" + ` apply live, and what they do
not change goes on untouched: connections, queue, breaker. The other keys need a restart, and a reload that would change one is refused.

` + "`relay init`" + ` writes a file that names every key, ` + "`relay schema`" + ` prints the JSON Schema, ` + "`relay check`" + ` says what is wrong, and
` + "`relay explain --against`" + ` what an edit would change.
`

// At returns what is said of the key at a path of a Meaning, or nil.
func (s *Schema) At(path string) *Schema {
	for _, step := range strings.FieldsFunc(strings.ReplaceAll(path, "[]", ".[]"), func(r rune) bool { return r == '.' }) {
		switch {
		case s == nil:
			return nil
		case step == "[]":
			s = s.Items
		case step == "<name>":
			s, _ = s.Additional.(*Schema)
		default:
			s = s.Properties[step]
		}
	}
	return s
}

// requires reports whether the file has to have a key, if it has what the key is in.
func (s *Schema) requires(path string) bool {
	in, key := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		in, key = path[:i], path[i+1:]
	}
	return slices.Contains(s.At(in).Required, key)
}

func (s *Schema) reference(b *strings.Builder, m Meaning, required bool) {
	fmt.Fprintf(b, "\n### `%s`\n\n", m.Path)
	_, nested, _ := strings.Cut(m.Path, ".")
	if nested != "" { // a section's meaning stands under its heading
		b.WriteString(m.Text + "\n\n")
	}
	if s.Properties != nil && m.Example == "" {
		b.WriteString("A mapping of " + s.value + ".\n")
		return
	}
	fmt.Fprintf(b, "- Type: %s\n- Value: %s\n", s.kind, s.words())
	if required {
		b.WriteString("- Required\n")
	} else {
		fmt.Fprintf(b, "- Default: %s\n", s.defaults())
	}
	if m.Example != "" {
		key := m.Path[strings.LastIndexByte(m.Path, '.')+1:]
		fmt.Fprintf(b, "- Example: `%s: %s`\n", key, m.Example)
	}
}

// words is what may stand there, with its bounds.
func (s *Schema) words() string {
	text := s.value
	if s.Properties != nil {
		text = "a mapping of " + text
	}
	if s.limit != "" {
		text += ", " + s.limit
	}
	if item := s.Items; item != nil && item.limit != "" {
		text += ", each " + item.limit
	}
	return strings.ReplaceAll(text, "*", "`*`")
}

// defaults is the default, as one would write it.
func (s *Schema) defaults() string {
	switch v := s.Default.(type) {
	case nil:
		return "none"
	case string:
		return "`" + v + "`"
	case []string:
		return "`[" + strings.Join(v, ", ") + "]`"
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return "`" + string(text) + "`"
	}
}

// Keys returns the paths of all keys, in the form that a Meaning has, sorted.
func (s *Schema) Keys() []string {
	var all []string
	var walk func(s *Schema, path string)
	walk = func(s *Schema, path string) {
		for name, child := range s.Properties {
			at := strings.TrimPrefix(path+"."+name, ".")
			all = append(all, at)
			if at != "defaults" { // whose keys are those of an endpoint
				walk(child, at)
			}
		}
		if child, ok := s.Additional.(*Schema); ok && child.Properties != nil {
			all = append(all, path+".<name>")
			walk(child, path+".<name>")
		}
		if s.Items != nil && s.Items.Properties != nil {
			walk(s.Items, path+"[]")
		}
	}
	walk(s, "")
	slices.Sort(all)
	return all
}
