package pgtemp

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlaces_AreThoseOfTheInstallScript(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("install.sh")
	require.NoError(t, err)
	for _, place := range places {
		require.Contains(t, string(script), "\t\t"+place)
	}
}

func TestNewest_ComparesVersionsAsNumbers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, v := range []string{"9.6", "10", "17", "18"} {
		dir := filepath.Join(root, v, "bin")
		require.NoError(t, os.MkdirAll(dir, 0o700))
		if v == "18" {
			continue // a client without a server
		}
		for _, name := range []string{"initdb", "postgres"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o700))
		}
	}

	dir, err := newest([]string{filepath.Join(root, "*", "bin")})

	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, "17", "bin"), dir)
}

func TestNewest_NamesTheRemedyWhenThereIsNone(t *testing.T) {
	t.Parallel()
	_, err := newest([]string{filepath.Join(t.TempDir(), "*")})
	require.ErrorIs(t, err, ErrNoBin)
	require.ErrorContains(t, err, "apt-get install postgresql")
}
