package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	// Where a command line ends and something else begins: a comment, a pipe, the next command.
	commandEnd  = regexp.MustCompile(` #| \||;| &| >|, `)
	commandLine = regexp.MustCompile(`(?m)^ *(relay [a-z].*)$`)
	shownBlock  = regexp.MustCompile("(?ms)^```(?:sh|text)\n(.*?)^```|(?:^ {4}[^\n]*\n)+")
)

// commandsOf returns the command lines that a text shows, in blocks and in code spans.
func commandsOf(text string) []string {
	var all []string
	for _, block := range shownBlock.FindAllString(text, -1) {
		for _, m := range commandLine.FindAllStringSubmatch(block, -1) {
			all = append(all, m[1])
		}
	}
	for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(span[1], "relay ") {
			all = append(all, span[1])
		}
	}
	return all
}

// What changes something is run by other tests; that every command line in the docs is one, with flags that exist, is seen here.
func TestEveryCommandInTheDocsIsOne(t *testing.T) {
	t.Parallel()
	root, checked := newRoot(newConsole(nil, nil, nil)), 0
	for _, doc := range append([]string{"docs/testing.md"}, docs...) {
		for _, line := range commandsOf(readDoc(t, doc)) {
			words := strings.Fields(commandEnd.Split(line+" ", 2)[0])[1:]
			checked++
			cmd, rest, err := root.Find(words)
			require.NoError(t, err, "%s: %s", doc, line)
			require.NotEqual(t, root, cmd, "%s: %s", doc, line)
			cmd.InitDefaultHelpFlag()
			for _, word := range rest {
				name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
				if !strings.HasPrefix(word, "-") || name == "" {
					continue
				}
				known := cmd.Flag(name) != nil || cmd.InheritedFlags().Lookup(name) != nil ||
					len(name) == 1 && (cmd.Flags().ShorthandLookup(name) != nil || cmd.InheritedFlags().ShorthandLookup(name) != nil)
				require.True(t, known, "%s: %s has no flag %s", doc, line, word)
			}
		}
	}
	require.Greater(t, checked, 60)
}

// The pages that say which test holds what name tests that exist.
func TestEveryTestInTheDocsExists(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	require.NoError(t, filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	}))
	named := 0
	for _, doc := range []string{"docs/concepts.md", "docs/testing.md", troubleshootingDoc, "README.md"} {
		for _, name := range testName.FindAllStringSubmatch(readDoc(t, doc), -1) {
			named++
			require.True(t, strings.Contains(code.String(), "func "+name[1]+"("), "%s names %s", doc, name[1])
		}
	}
	require.Greater(t, named, 20)
}
