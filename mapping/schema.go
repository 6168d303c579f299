package mapping

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Schema is a JSON Schema, as far as a relay.yaml needs one. Its methods describe a value as the loader meets it; on nil,
// which is a file being loaded, they do nothing.
type Schema struct {
	Dialect     string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        []string           `json:"type,omitempty"`
	Enum        []any              `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinLength   int                `json:"minLength,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
	Default     any                `json:"default,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Names       *Schema            `json:"propertyNames,omitempty"`
	Additional  any                `json:"additionalProperties,omitempty"` // false or a *Schema
	Items       *Schema            `json:"items,omitempty"`
	AnyOf       []*Schema          `json:"anyOf,omitempty"`

	item  bool   // of a list: what the loader starts from is no default
	kind  string // its type, as people call it
	value string // what may stand there, in words
	limit string // its bounds in words, where value does not have them
}

// JSONSchema returns the JSON Schema of relay.yaml. It is what the loader itself says when it is led over a file that has
// every key, so the two cannot differ.
func JSONSchema() *Schema {
	d := &decoder{
		lookup: func(string) (string, bool) { return "", false },
		files:  map[string][sha256.Size]byte{}, seen: map[string]*yaml.Node{}, defaults: defaultEndpoint(),
	}
	root := &Schema{}
	d.config(value{d: d, node: describedNode, about: root}, defaultConfig())
	root.explain("", meaningsByPath())
	root.finish()
	root.Dialect, root.Title = "http://json-schema.org/draft-07/schema#", "relay.yaml"
	root.Description = "What relay reads, and where it sends it."
	root.Type, root.Required = []string{"object"}, []string{"endpoints"}
	return root
}

// describedNode stands for a node where there is no file.
var describedNode = &yaml.Node{Kind: yaml.MappingNode}

func (v value) describeObject(what string, f fields) {
	v.about.Type, v.about.Additional = []string{"object", "null"}, false
	v.about.Description, v.about.Properties = what, map[string]*Schema{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		child := &Schema{}
		v.about.Properties[name] = child
		f[name](value{d: v.d, node: describedNode, path: strings.TrimPrefix(v.path+"."+name, "."), about: child})
	}
}

// describeEntries returns an entry that stands for all.
func (v value) describeEntries(expected string) []entry {
	child := &Schema{item: true}
	v.about.Type, v.about.Additional, v.about.Description = []string{"object", "null"}, child, expected
	key := &yaml.Node{Kind: yaml.ScalarNode, Value: "example"}
	v.d.defaults = defaultEndpoint() // describing them may have left its traces
	return []entry{{key, value{d: v.d, node: describedNode, path: v.path + ".example", about: child}}}
}

// describeList returns an element that stands for all.
func (v value) describeList(expected string) []value {
	child := &Schema{item: true}
	v.about.Type, v.about.Items, v.about.Description = []string{"array"}, child, expected
	return []value{{d: v.d, node: describedNode, path: v.path + "[0]", about: child}}
}

func (v value) describeNetwork(expected string) {
	word, list := &Schema{}, &Schema{}
	word.enum("any", []string{"any", "public"})
	word.scalar(expected, []string{"!!str"})
	for _, item := range (value{d: v.d, node: describedNode, path: v.path, about: list}).describeList(expected) {
		item.cidr()
	}
	v.about.Description, v.about.AnyOf = expected, []*Schema{word, list}
	v.about.Default, word.Default = word.Default, nil
}

// jsonTypes are the types of JSON Schema by those of YAML.
var jsonTypes = map[string]string{"!!str": "string", "!!int": "integer", "!!float": "number", "!!bool": "boolean"}

func (s *Schema) scalar(expected string, tags []string) {
	s.Description = expected
	for _, tag := range tags {
		if jsonTypes[tag] == "number" { // of which integers are some
			s.Type = slices.DeleteFunc(s.Type, func(t string) bool { return t == "integer" })
		}
		if !slices.Contains(s.Type, jsonTypes[tag]) {
			s.Type = append(s.Type, jsonTypes[tag])
		}
	}
}

func (s *Schema) standard(value any) {
	if s != nil && !s.item && s.Default == nil {
		s.Default = value
	}
}

func (s *Schema) nonEmpty(value string) {
	if s == nil {
		return
	}
	if s.MinLength = 1; value != "" {
		s.standard(value)
	}
}

func (s *Schema) integer(value, least int) {
	if s != nil {
		s.Minimum = &least
		s.standard(value)
	}
}

// A Go duration that is not negative, and a number of bytes.
const (
	durationPattern = `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$|^0$`
	sizePattern     = `^[0-9]+ *(KiB|MiB|GiB|KB|kB|MB|GB|B)?$`
)

func (s *Schema) duration(value, least time.Duration) {
	if s == nil {
		return
	}
	if s.limit == "" && least > 0 {
		s.limit = "at least " + shortDuration(least)
	}
	if s.Pattern = durationPattern; value > 0 || s.limit == "" {
		s.standard(shortDuration(value))
	}
}

// above notes that a duration has to be longer than a limit.
func (s *Schema) above(limit time.Duration) {
	if s != nil {
		s.limit = "longer than " + shortDuration(limit)
	}
}

func (s *Schema) durations(values []time.Duration) {
	if s == nil {
		return
	}
	list := make([]string, len(values))
	for i, d := range values {
		list[i] = shortDuration(d)
	}
	s.standard(list)
}

// shortDuration writes 15m0s as 15m.
func shortDuration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if short, ok := strings.CutSuffix(text, zero); ok {
			text = short + zero[:1]
		}
	}
	return text
}

func (s *Schema) size(value int64) {
	if s == nil {
		return
	}
	for _, u := range byteUnits[:3] {
		if value > 0 && value%u.factor == 0 && value < u.factor<<10 {
			s.standard(fmt.Sprint(value/u.factor, u.suffix))
		}
	}
	s.Pattern, s.limit = sizePattern, "at least 1 byte"
}

func (s *Schema) enum(value string, words []string) {
	if s == nil {
		return
	}
	s.Enum = nil
	for _, word := range words {
		s.Enum = append(s.Enum, word)
	}
	if value != "" {
		s.standard(value)
	}
}

func (s *Schema) require(keys ...string) {
	if s != nil {
		s.Required = keys
	}
}

func (s *Schema) names(pattern *regexp.Regexp) {
	if s != nil {
		s.Names = &Schema{Pattern: pattern.String()}
	}
}

func (s *Schema) orNull() {
	if s != nil {
		s.Type = append(s.Type, "null")
	}
}

// explain gives each key its meaning.
func (s *Schema) explain(path string, meanings map[string]Meaning) {
	s.kind, s.value = s.kindWord(), s.Description
	if m := meanings[path]; m.Text != "" {
		s.Description = m.Text + " Value: " + s.Description
		if s.limit != "" {
			s.Description += ", " + s.limit
		}
	}
	for name, child := range s.Properties {
		child.explain(strings.TrimPrefix(path+"."+name, "."), meanings)
	}
	if child, ok := s.Additional.(*Schema); ok {
		child.explain(path+".<name>", meanings)
	}
	if s.Items != nil {
		s.Items.explain(path+"[]", meanings)
	}
}

// kinds are the types of JSON Schema as people call them.
var kinds = map[string]string{
	"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "array": "list", "object": "mapping",
}

// kindWord is the type, before finish takes it apart.
func (s *Schema) kindWord() string {
	switch {
	case s.Pattern == durationPattern:
		return "duration"
	case s.Pattern == sizePattern:
		return "size"
	case s.Enum != nil:
		return "one of these words"
	case s.AnyOf != nil:
		return "a word or a list"
	}
	for _, name := range s.Type {
		if kind := kinds[name]; kind != "" { // null has none
			return kind
		}
	}
	return ""
}

func meaningsByPath() map[string]Meaning {
	all := make(map[string]Meaning, len(meanings))
	for _, m := range meanings {
		all[m.Path] = m
	}
	return all
}

// finish lets text with an expansion stand wherever the loader does: it becomes a number, or a word, only when it is read.
func (s *Schema) finish() {
	for _, child := range s.Properties {
		child.finish()
	}
	if child, ok := s.Additional.(*Schema); ok {
		child.finish()
	}
	for _, child := range s.AnyOf {
		child.finish()
	}
	if s.Items != nil {
		s.Items.finish()
	}
	scalar := len(s.Type) > 0 && s.Type[0] != "object" && s.Type[0] != "array"
	free := slices.Contains(s.Type, "string") && s.Pattern == "" && s.Enum == nil
	if !scalar || free {
		return
	}
	if s.Enum != nil {
		s.Type = nil
	}
	plain := &Schema{Type: s.Type, Enum: s.Enum, Pattern: s.Pattern, Minimum: s.Minimum}
	s.AnyOf = []*Schema{plain, {Type: []string{"string"}, Pattern: `\$`}}
	if s.Pattern == durationPattern { // of numbers, only 0 needs no unit
		plain.Type = []string{"string"}
		s.AnyOf = append(s.AnyOf, &Schema{Enum: []any{0}})
	}
	s.Type, s.Enum, s.Pattern, s.Minimum, s.MinLength = nil, nil, "", nil, 0
}
