package mapping

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// decoder walks the nodes of one relay.yaml and collects everything that is wrong with it.
type decoder struct {
	file     string
	lines    []string // of the file, for the positions of expressions
	lookup   func(string) (string, bool)
	errs     Errors
	files    map[string][sha256.Size]byte // by name, of what was read
	seen     map[string]*yaml.Node        // where each key path was set, for checks across keys
	root     *yaml.Node
	defaults *Endpoint
	merged   int // how often
}

func newDecoder(file string, data []byte, lookup func(string) (string, bool)) *decoder {
	d := &decoder{
		file: file, lookup: lookup,
		files: map[string][sha256.Size]byte{}, seen: map[string]*yaml.Node{}, defaults: defaultEndpoint(),
	}
	d.root = d.parse(data)
	d.lines = strings.Split(string(data), "\n")
	return d
}

// document returns the mapping at the top of the file.
func (d *decoder) document() (value, bool) {
	if d.root == nil {
		return value{}, false
	}
	return value{d: d, node: d.root}, true
}

// parse returns the root of the file's only document, or nil after reporting why there is none.
func (d *decoder) parse(data []byte) (root *yaml.Node) {
	defer func() {
		// The YAML parser reports by panicking inside; what it does not catch itself must not end the relay.
		if p := recover(); p != nil {
			d.add(0, 0, "", "found something that is not YAML")
			root = nil
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		d.syntax(data, err)
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		d.add(second.Line, second.Column, "", "found a second document (---), expected one")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntax(data, err)
		return nil
	}
	root = doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		d.add(0, 0, "", emptyFile)
		return nil
	}
	return root
}

const emptyFile = "the file is empty, expected at least one endpoint under endpoints; `relay init` writes an example"

var (
	yamlLine  = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	plainKey  = regexp.MustCompile(`^[A-Za-z0-9_.<-]+$`)
	tabIndent = regexp.MustCompile(`(?m)^ *\t[ \t]*\S`)
)

// syntax reports an error of the YAML parser.
func (d *decoder) syntax(data []byte, err error) {
	if errors.Is(err, io.EOF) {
		d.add(0, 0, "", emptyFile)
		return
	}
	if at := tabIndent.FindIndex(data); at != nil && strings.Contains(err.Error(), "token") {
		line := data[bytes.LastIndexByte(data[:at[0]], '\n')+1:]
		d.add(bytes.Count(data[:at[0]], []byte("\n"))+1, bytes.IndexByte(line, '\t')+1, "",
			"found a tab in the indentation, expected spaces")
		return
	}
	line, text := 0, err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	if strings.HasPrefix(text, "unknown anchor") {
		text = "an alias (*name) without its anchor (&name); text that starts with * wants quotes"
	}
	d.add(line, min(line, 1), "", "not valid YAML: "+text)
}

func (d *decoder) add(line, column int, path, message string) {
	d.errs = append(d.errs, &Error{File: d.file, Line: line, Column: column, Path: path, Message: message})
}

func (d *decoder) sorted() Errors {
	slices.SortStableFunc(d.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	// An anchor used twice has its mistakes reported once a use.
	return slices.CompactFunc(d.errs, func(a, b *Error) bool { return *a == *b })
}

// read returns the files that were read besides the configuration.
func (d *decoder) read() []string { return slices.Sorted(maps.Keys(d.files)) }

// readFile reads a file named in the configuration; a relative path starts at the configuration's directory.
func (d *decoder) readFile(path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.file), path)
	}
	data, err := readLimited(path, maxFile)
	d.files[path] = sha256.Sum256(data)
	return data, err
}

// failAt reports a mistake across keys at the first of the key paths that the file has.
func (d *decoder) failAt(message string, paths ...string) {
	for _, path := range paths {
		node := d.seen[path]
		if node == nil {
			continue
		}
		if strings.HasPrefix(paths[0], path+".") {
			path = paths[0] // the place of what it is missing from
		}
		d.add(node.Line, node.Column, path, message)
		return
	}
	d.add(0, 0, paths[0], message)
}

// value is a node with its key path. The node is never an alias.
type value struct {
	d      *decoder
	node   *yaml.Node
	path   string
	secret bool    // its text must never be printed
	about  *Schema // set: there is no file, and what the value may be is described here; see JSONSchema
}

// fields is what a mapping may hold, and what takes each.
type fields map[string]func(value)

type entry struct {
	key   *yaml.Node
	value value
}

func (v value) fail(format string, args ...any) {
	v.d.add(v.node.Line, v.node.Column, v.path, fmt.Sprintf(format, args...))
}

// failFound reports that what was found is not what was expected.
func (v value) failFound(expected string) { v.fail("found %s, expected %s", v.found(), expected) }

// found describes the node for a message: never a secret, and never what an expansion gave.
func (v value) found() string {
	switch {
	case v.node.Kind == yaml.MappingNode:
		return "a mapping"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	case v.node.ShortTag() == "!!null":
		return "nothing"
	case v.secret && v.node.ShortTag() == "!!str":
		return "text"
	case v.secret:
		return "a number, a date or the like"
	case v.node.ShortTag() == "!!str":
		return strconv.Quote(shorten(v.node.Value))
	}
	return shorten(v.node.Value)
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// child returns the value of a key of v, with aliases followed.
func (v value) child(key string, node *yaml.Node) value {
	if key != "" && !plainKey.MatchString(key) {
		key = strconv.Quote(shorten(key))
	}
	path := key
	if v.path != "" {
		path = v.path + "." + key
	}
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	v.d.seen[path] = node
	return value{d: v.d, node: node, path: path, secret: v.secret}
}

// isNull reports whether the key stands there with nothing behind it.
func (v value) isNull() bool { return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null" }

// mapping hands each entry to its field. A section whose keys are all commented out is an empty one.
func (v value) mapping(what string, f fields) {
	if v.about != nil {
		v.describeObject(what, f)
		return
	}
	known := slices.Sorted(maps.Keys(f))
	for _, e := range v.entries("a mapping of " + what) {
		if take, ok := f[e.key.Value]; ok {
			take(e.value)
			continue
		}
		v.d.add(e.key.Line, e.key.Column, e.value.path, "unknown key"+Suggest(e.key.Value, known))
	}
}

// entries returns a mapping's entries in the order of the file, with merge keys (<<) resolved as YAML 1.1 has it: a key
// of the mapping itself goes before a merged one.
func (v value) entries(expected string) []entry {
	if v.about != nil {
		return v.describeEntries(expected)
	}
	if v.isNull() {
		return nil
	}
	if v.node.Kind != yaml.MappingNode {
		v.failFound(expected)
		return nil
	}
	var list []entry
	first := map[string]*yaml.Node{}
	var merges []value
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, node := v.node.Content[i], v.node.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merges = append(merges, v.child("<<", node))
			continue
		}
		if key.Kind != yaml.ScalarNode {
			v.d.add(key.Line, key.Column, v.path, "found a key that is not plain text")
			continue
		}
		child := v.child(key.Value, node)
		if was := first[key.Value]; was != nil {
			v.d.add(key.Line, key.Column, child.path, fmt.Sprintf("repeated key, first on line %d", was.Line))
			continue
		}
		first[key.Value] = key
		list = append(list, entry{key, child})
	}
	for _, m := range merges {
		list = v.merge(m.node, list, first, 0)
	}
	return list
}

// An anchor may contain itself, or ten of one that contains ten of another.
const (
	maxMerge  = 8      // how deep merge keys may nest
	maxMerged = 10_000 // merge keys in all
)

func (v value) merge(from *yaml.Node, list []entry, first map[string]*yaml.Node, depth int) []entry {
	v.d.merged++
	switch {
	case from.Kind == yaml.AliasNode:
		return v.merge(from.Alias, list, first, depth)
	case depth > maxMerge || v.d.merged > maxMerged:
		v.fail("merge keys (<<) are nested too deeply")
		return list
	case from.Kind == yaml.SequenceNode:
		for _, node := range from.Content {
			list = v.merge(node, list, first, depth+1)
		}
		return list
	case from.Kind != yaml.MappingNode:
		v.fail("found a merge key (<<) without a mapping, expected an alias of one")
		return list
	}
	for i := 0; i+1 < len(from.Content); i += 2 {
		key, node := from.Content[i], from.Content[i+1]
		switch {
		case key.ShortTag() == "!!merge":
			list = v.merge(node, list, first, depth+1)
		case first[key.Value] == nil:
			first[key.Value] = key
			list = append(list, entry{key, v.child(key.Value, node)})
		}
	}
	return list
}

// list returns the elements of a sequence.
func (v value) list(expected string) ([]value, bool) {
	if v.about != nil {
		return v.describeList(expected), true
	}
	if v.node.Kind != yaml.SequenceNode {
		v.failFound(expected)
		return nil, false
	}
	var list []value
	for i, node := range v.node.Content {
		item := value{d: v.d, path: v.path}.child("", node)
		item.path = fmt.Sprintf("%s[%d]", v.path, i)
		item.secret = v.secret
		list = append(list, item)
	}
	return list, true
}
