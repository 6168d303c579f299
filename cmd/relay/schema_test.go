package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

func TestSchema_IsJSONAndInitWritesAFileThatRefersToIt(t *testing.T) {
	t.Parallel()
	got := relayOut(t, "schema")
	require.Zero(t, got.status, got.err)
	require.True(t, json.Valid([]byte(got.out)))
	require.Contains(t, got.out, `"on_slot_lost"`)

	dir := t.TempDir()
	path := filepath.Join(dir, "relay.yaml")
	require.Zero(t, relayOut(t, "init", "-c", path).status)
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(written), "# yaml-language-server: $schema="+schemaFile+"\n"))
	_, err = mapping.Load(path)
	require.NoError(t, err)
	schema, err := os.ReadFile(filepath.Join(dir, schemaFile))
	require.NoError(t, err)
	require.Equal(t, got.out, string(schema))

	require.NoError(t, os.Remove(path))
	require.Zero(t, relayOut(t, "init", "-c", path).status, "a schema that is there is brought up to date")
}
