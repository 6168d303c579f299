package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"relay/mapping"
)

// fileLines returns the lines of the file that errors are about; nil if it cannot be read.
func fileLines(all mapping.Errors) []string {
	if len(all) == 0 {
		return nil
	}
	data, err := os.ReadFile(all[0].File)
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\n")
}

// snippetOf returns the line of the file that an error is about, where it may be shown, without a line end.
func snippetOf(lines []string, e *mapping.Error) string {
	if e.Line < 1 || e.Line > len(lines) {
		return ""
	}
	return strings.TrimPrefix(snippet(lines, e), "\n")
}

var (
	expressionPath = regexp.MustCompile(`\.(where|body)$`)
	expressionKey  = regexp.MustCompile(`^\s*(where|body): `)
	expressionHead = regexp.MustCompile(`^\s*(where|body): *[|>][0-9+-]*\s*$`)
	keyAtStart     = regexp.MustCompile(`^(\s*(?:- +)?)[A-Za-z0-9_.-]+:`)
)

// snippet returns the error's line of the file with a caret under the place. Of values only expressions are shown: any other
// may be a secret, above all where its key is misspelt.
func snippet(lines []string, e *mapping.Error) string {
	line := []rune(strings.TrimRight(lines[e.Line-1], "\r"))
	before := line[:min(max(0, e.Column-1), len(line))]
	shown := ""
	key := keyAtStart.FindStringSubmatch(string(line))
	switch {
	case expressionPath.MatchString(e.Path) && (expressionKey.MatchString(string(line)) || insideExpression(lines, e.Line-1)):
		shown = string(line)
	case key != nil && key[1] == string(before): // the key itself
		shown = key[0] + " …"
	case key != nil && key[0] == strings.TrimRight(string(before), " "): // its value
		shown = string(before) + "…"
	default:
		return ""
	}
	margin := fmt.Sprintf("%5d | ", e.Line)
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(before))
	return "\n" + margin + shown + "\n" + strings.Repeat(" ", len(margin)-2) + "| " + indent + "^"
}

// insideExpression reports whether a line, counted from 0, is part of an expression of several lines.
func insideExpression(lines []string, at int) bool {
	indent := func(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
	least := indent(lines[at])
	for i := at - 1; i >= 0 && least > 0; i-- {
		switch n := indent(lines[i]); {
		case strings.TrimSpace(lines[i]) == "":
		case n < least && expressionHead.MatchString(lines[i]):
			return true // all lines between are further in, and so belong to it
		default:
			least = min(least, n)
		}
	}
	return false
}
