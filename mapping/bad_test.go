package mapping_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

// badCase is a file and the exact text of what is said about it.
type badCase struct{ file, want string }

func badCases(t testing.TB) []badCase {
	t.Helper()
	data, err := os.ReadFile("testdata/bad.txt")
	require.NoError(t, err)
	var cases []badCase
	for _, text := range strings.Split(string(data), "=====\n")[1:] {
		file, want, ok := strings.Cut(text, "\n-----\n")
		require.True(t, ok, text)
		cases = append(cases, badCase{file, strings.TrimSuffix(want, "\n")})
	}
	return cases
}

func badEnv(name string) (string, bool) {
	value, ok := map[string]string{"SECRET": "s3cr3t", "N": "x9y", "EMPTY": ""}[name]
	return value, ok
}

func TestParse_NamesEveryMistakeAtItsPlace(t *testing.T) {
	t.Parallel()
	for _, c := range badCases(t) {
		_, err := mapping.Parse("relay.yaml", []byte(c.file), badEnv)
		require.Error(t, err, c.file)
		require.Equal(t, c.want, err.Error(), c.file)
		require.NotContains(t, err.Error(), "s3cr3t")
		require.NotContains(t, err.Error(), "hunter2")
		var errs mapping.Errors
		require.ErrorAs(t, err, &errs)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(mapping.Sample))
	for _, c := range badCases(f) {
		f.Add(c.file)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file") {
			t.Skip("would read files")
		}
		cfg, err := mapping.Parse("relay.yaml", []byte(text), badEnv)
		if err != nil {
			require.Nil(t, cfg)
			require.NotContains(t, err.Error(), "s3cr3t")
			return
		}
		require.NotEmpty(t, cfg.Endpoints)
		for _, ep := range cfg.Endpoints {
			require.NotEmpty(t, ep.URL)
			require.NotEmpty(t, ep.Hash())
			require.Positive(t, ep.Concurrency)
			require.Positive(t, ep.Timeout)
		}
	})
}
