package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// repository is the root of the repository, seen from this package.
const repository = "../.."

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, name))
	require.NoError(t, err)
	return string(text)
}

var (
	yamlBlock  = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	mdLink     = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	pathLike   = regexp.MustCompile(`^(\.?[a-z]+)(/[A-Za-z0-9_.-]+)*/?$`)
	topFolders = []string{"cdc", "mapping", "delivery", "cmd", "internal", "examples", "docs", ".golangci.yml", ".ci"}
)

// docs are the texts whose YAML, links and paths are checked.
var docs = []string{
	"README.md", "ARCHITECTURE.md", "docs/performance.md", "docs/configuration.md", "docs/concepts.md", "docs/failover.md", operationsDoc, troubleshootingDoc, webhooksDoc, "examples/README.md", "examples/receivers/README.md",
	"examples/debezium/README.md", compose + "/README.md", kubernetes + "/README.md", "examples/systemd/README.md", "examples/prometheus/README.md",
}

func TestEveryYAMLInTheDocsLoads(t *testing.T) {
	t.Parallel()
	for _, doc := range docs {
		for i, block := range yamlBlock.FindAllStringSubmatch(readDoc(t, doc), -1) {
			_, err := mapping.Parse(doc, []byte(block[1]), func(string) (string, bool) { return "", false })
			require.NoError(t, err, "%s, block %d", doc, i+1)
		}
	}
	require.NotEmpty(t, yamlBlock.FindAllString(readDoc(t, "README.md"), -1))
}

func TestEveryPathInTheDocsExists(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, doc := range docs {
		text := readDoc(t, doc)
		for _, link := range mdLink.FindAllStringSubmatch(text, -1) {
			require.FileExists(t, filepath.Join(repository, filepath.Dir(doc), link[1]), doc)
		}
		for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
			if !isPath(span[1]) {
				continue
			}
			checked++
			_, err := os.Stat(filepath.Join(repository, span[1]))
			require.NoError(t, err, "%s names %s", doc, span[1])
		}
	}
	require.Greater(t, checked, 15)
}

func isPath(span string) bool {
	if !pathLike.MatchString(span) && span != ".golangci.yml" {
		return false
	}
	top, _, _ := strings.Cut(span, "/")
	return slices.Contains(topFolders, top)
}

func TestEveryCommandIsInTheReadmeOrTheChangelog(t *testing.T) {
	t.Parallel()
	text := readDoc(t, "README.md") + readDoc(t, "CHANGELOG.md")
	for _, cmd := range newRoot(newConsole(nil, nil, nil)).Commands() {
		if cmd.Name() != "help" {
			require.Contains(t, text, cmd.Name())
		}
	}
}

func TestTheExamplesWriteAnOutbox(t *testing.T) {
	t.Parallel()
	path, url := databaseConfig(t, "")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // a test's connection
	for _, script := range []string{"examples/sql/schema.sql", "examples/sql/order.sql"} {
		_, err := conn.Exec(t.Context(), readDoc(t, script))
		require.NoError(t, err, script)
	}
	run := exec.CommandContext(t.Context(), "go", "run", "./examples/orders")
	run.Dir, run.Env = repository, append(os.Environ(), "DATABASE_URL="+url)
	text, err := run.CombinedOutput()
	require.NoError(t, err, string(text))
	var events int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM outbox o JOIN orders ON o.key = 'order-' || orders.id
		WHERE type = 'order.created' AND (payload->>'total')::numeric = total`).Scan(&events))
	require.Equal(t, 2, events)
}
