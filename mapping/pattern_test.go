package mapping_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/mapping"
)

// naive matches as the contract puts it: * is any run of characters.
func naive(p, typ string) bool {
	parts := strings.Split(p, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, `.*`) + `\z`).MatchString(typ)
}

func TestPattern_MatchesAsTheNaiveMatcherDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringOfN(rapid.RuneFrom([]rune("ab.*")), 0, 8, -1).Draw(t, "pattern")
		typ := rapid.StringOfN(rapid.RuneFrom([]rune("ab.*")), 0, 10, -1).Draw(t, "type")
		require.Equal(t, naive(p, typ), mapping.Pattern(p).Match(typ))
	})
}

func TestPattern_StarMatchesDotsAndNothing(t *testing.T) {
	t.Parallel()
	require.True(t, mapping.Pattern("order.*").Match("order.line.created"))
	require.True(t, mapping.Pattern("order*").Match("order"))
	require.True(t, mapping.Pattern("*").Match(""))
	require.True(t, mapping.Pattern("a*b*c").Match("a1b2b3c"))
	require.False(t, mapping.Pattern("order.*").Match("orders.created"))
	require.False(t, mapping.Pattern("ab*ba").Match("aba"))
	require.False(t, mapping.Pattern("a.c").Match("abc"))
}

func FuzzPattern(f *testing.F) {
	f.Add("order.*", "order.created")
	f.Add("*a*a*a*", strings.Repeat("a", 50))
	f.Fuzz(func(t *testing.T, p, typ string) {
		if strings.ToValidUTF8(p, "") != p || strings.ToValidUTF8(typ, "") != typ {
			t.Skip("regexp, the model, has characters only")
		}
		require.Equal(t, naive(p, typ), mapping.Pattern(p).Match(typ))
	})
}

func TestPattern_OverlapsWhereSomeTypeMatchesBoth(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]bool{
		{"a", "a"}: true, {"a", "b"}: false, {"*", "x"}: true, {"a*", "*b"}: true, {"a*", "b*"}: false,
		{"order.*", "order.created"}: true, {"order.*", "invoice.*"}: false, {"*.paid", "order.*"}: true, {"a*b*c", "ac"}: false, {"a*", "a"}: true,
	} {
		require.Equal(t, want, mapping.Pattern(pair[0]).Overlaps(mapping.Pattern(pair[1])), pair)
		require.Equal(t, want, mapping.Pattern(pair[1]).Overlaps(mapping.Pattern(pair[0])), pair)
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[ab*]{0,5}`)
		p, q := mapping.Pattern(word.Draw(t, "p")), mapping.Pattern(word.Draw(t, "q"))
		typ := rapid.StringMatching(`[ab]{0,5}`).Draw(t, "type")
		if p.Match(typ) && q.Match(typ) {
			require.True(t, p.Overlaps(q))
		}
	})
}
