package mapping

import (
	"fmt"
	"regexp"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces ${VAR}, ${VAR:-default} and ${file:path} in a value, and $$ by a dollar. What it puts in is not expanded
// again, except for a default, which is text of the file.
func (d *decoder) expand(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "{"):
			end := closing(after)
			if end < 0 {
				return "", fmt.Errorf("found ${ without its }, expected ${VAR}, ${VAR:-default} or ${file:/path}; $$ is a dollar")
			}
			text, err := d.variable(after[1:end])
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			s = after[end+1:]
		default:
			b.WriteByte('$')
			s = after
		}
	}
}

// closing returns the index of the brace that closes the one s starts with, or -1.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == '{' && (i == 0 || s[i-1] == '$'):
			depth++
		case s[i] == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func (d *decoder) variable(text string) (string, error) {
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		if path == "" {
			return "", fmt.Errorf("found ${file:} without a path, expected ${file:/path}")
		}
		data, err := d.readFile(path)
		if err != nil {
			return "", fmt.Errorf("found ${file:%s}, but %s", path, fileProblem(err))
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
	}
	name, fallback, hasFallback := strings.Cut(text, ":-")
	if !envName.MatchString(name) {
		return "", fmt.Errorf("found ${%s}, expected ${VAR}, ${VAR:-default} or ${file:/path}; $$ is a dollar", shorten(name))
	}
	value, ok := d.lookup(name)
	switch {
	case hasFallback && value == "":
		return d.expand(fallback)
	case !ok:
		return "", fmt.Errorf("found ${%s}, but the environment has no %s; set it, or give a default: ${%s:-…}", name, name, name)
	}
	return value, nil
}
