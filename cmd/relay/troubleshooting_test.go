package main

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const troubleshootingDoc = "docs/troubleshooting.md"

var (
	logBlock  = regexp.MustCompile("(?s)```log\n(.*?)\n```")
	msgOfLine = regexp.MustCompile(`msg="([^"]+)"`)
	pieceEnd  = regexp.MustCompile(`…|: |, `) // where a message may be put together
	saysCell  = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

// literals are the string literals of the program's source.
func literals(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range []string{"cdc", "mapping", "delivery", "cmd/relay"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(repository, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files := token.NewFileSet()
			var s scanner.Scanner
			s.Init(files.AddFile(path, -1, len(text)), text, nil, 0)
			for {
				_, tok, lit := s.Scan()
				if tok == token.EOF {
					return nil
				}
				if tok == token.STRING {
					if said, err := strconv.Unquote(lit); err == nil {
						all.WriteString(said + "\n")
					}
				}
			}
		}))
	}
	return all.String()
}

// What the page quotes has to be what relay says, or nobody finds it.
func TestTroubleshooting_QuotesWhatRelaySays(t *testing.T) {
	t.Parallel()
	source, page, quotes := literals(t), readDoc(t, troubleshootingDoc), []string{}
	for _, block := range logBlock.FindAllStringSubmatch(page, -1) {
		for line := range strings.SplitSeq(block[1], "\n") {
			if m := msgOfLine.FindStringSubmatch(line); m != nil {
				require.True(t, strings.Contains(source, "\n"+m[1]+"\n"), "no message of the log: %s", m[1])
				line = m[1]
			}
			quotes = append(quotes, line)
		}
	}
	for _, m := range saysCell.FindAllStringSubmatch(page, -1) {
		quotes = append(quotes, m[1])
	}
	require.Greater(t, len(quotes), 30)
	var missing []string
	for _, quote := range quotes {
		found := 0
		for _, piece := range pieceEnd.Split(quote, -1) {
			if piece = strings.Trim(piece, " :;`"); len(piece) < 8 {
				continue
			}
			found++
			if !strings.Contains(source, piece) {
				missing = append(missing, piece+" (of "+quote+")")
			}
		}
		require.NotZero(t, found, "nothing to look for in %q", quote)
	}
	require.Empty(t, missing, "relay does not say these")
}
