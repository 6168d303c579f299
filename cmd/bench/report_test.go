package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func rates(system string, values ...float64) map[string][]result {
	runs := map[string][]result{}
	for _, value := range values {
		runs[system] = append(runs[system], result{rate: value, deliveries: 100_000, usage: usage{cpu: 2 * time.Second}})
	}
	return runs
}

func TestScenarios_HaveNamesOfTheirOwnAndEachSuiteHasSome(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range catalogue() {
		require.False(t, seen[s.name], "two scenarios are called %s", s.name)
		seen[s.name] = true
	}

	quickly, err := parse([]string{"-suite", quick})
	require.NoError(t, err)
	fully, err := parse([]string{"-suite", full})
	require.NoError(t, err)

	require.NotEmpty(t, quickly.scenarios())
	require.Greater(t, len(fully.scenarios()), len(quickly.scenarios()))
}

func TestScenarios_AreChosenByNameAndChangedByFlags(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-run", "drain/20ms/1", "-rows", "2000", "-rounds", "1", "-systems", "pipe,relay"})
	require.NoError(t, err)

	all := o.scenarios()

	require.Len(t, all, 1)
	require.Equal(t, 2000, all[0].rows())
	require.Equal(t, 1, all[0].rounds)
	require.Equal(t, []string{sysPipe, sysRelay}, all[0].systems)
	require.InDelta(t, 3200, all[0].ideal(), 0.1)
}

func TestParse_RefusesWhatCannotBeMeasured(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-suite", "all"},
		{"-run", "nothing of this name"},
		{"-run", "("},
		{"-rows", "5"},
		{"-format", "xml"},
		{"pipe"},
		{"-systems", "kafka"},
	} {
		_, err := parse(args)
		require.Error(t, err, "%s", args)
	}
}

func TestOutcome_GivesTheMedianAndTheRange(t *testing.T) {
	t.Parallel()
	o := outcome{runs: rates(sysRelay, 30, 10, 20)}

	require.InDelta(t, 20, o.median(sysRelay, rateOf), 0)
	require.Equal(t, "10–30", o.spread(sysRelay, rateOf, "%.0f"))
	require.InDelta(t, 2, o.median(sysRelay, cpuOf), 0)
	require.Zero(t, o.median(sysPipe, rateOf))
}

func TestDifference_IsShownOnlyWhereRangesAreApart(t *testing.T) {
	t.Parallel()
	base := []float64{10, 11, 12, 12}
	for want, this := range map[string][]float64{
		"more": {13, 14, 14, 15}, "less": {6, 7, 8, 9}, "no difference shown": {12, 20, 20, 20}, "too few rounds to tell": {20, 20},
	} {
		require.Equal(t, want, difference(base, this))
	}
}

func TestAims_AreHeldAgainstWhatRanInTheSameScenario(t *testing.T) {
	t.Parallel()
	o := outcome{scenario: scenario{name: "drain/0ms/1", kind: draining}, runs: rates(sysRelay, 90)}
	o.runs[sysPipe] = rates(sysPipe, 100)[sysPipe]
	o.runs[sysDirect] = rates(sysDirect, 200)[sysDirect]

	text := aimsTable([]outcome{o}).String()

	require.Regexp(t, `of the net/http pipe +\| at least 0.85 +\| 0.90 +\| met`, text)
	require.Regexp(t, `of the direct pipe +\| at least 0.75 +\| 0.45 +\| missed`, text)
	require.NotContains(t, text, "20 ms", "it was not measured")
}

func TestReadSample_SumsOverEndpoints(t *testing.T) {
	t.Parallel()
	begun := readSample(strings.NewReader("go_memstats_mallocs_total 1000\n"))
	later := readSample(strings.NewReader(`# HELP relay_deliveries_total Deliveries.
go_memstats_mallocs_total 1.5e+03
relay_deliveries_total{endpoint="a",outcome="delivered"} 40
relay_deliveries_total{endpoint="b",outcome="delivered"} 60
relay_deliveries_total{endpoint="b",outcome="parked"} 7
`))

	require.InDelta(t, 5, later.since(begun), 0)
	require.InDelta(t, 7, later.parked, 0)
	require.Zero(t, begun.since(later))
}

func TestReplaceGenerated_LeavesWhatIsWrittenByHand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(path, []byte("before\n"+generatedBegin+"\nold\n"+generatedEnd+"\nafter\n"), 0o600))

	require.NoError(t, replaceGenerated(path, "new\n"))

	page, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before\n"+generatedBegin+"\n\nnew\n\n"+generatedEnd+"\nafter\n", string(page))
	require.NoError(t, os.WriteFile(path, []byte("no markers"), 0o600))
	require.ErrorContains(t, replaceGenerated(path, "new"), "to write between")
}

func TestUsage_SeesItsOwnWork(t *testing.T) {
	t.Parallel()
	before := cpuOfSelf()
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); { // it has to be busy
	}

	require.Greater(t, cpuOfSelf(), before)
	if own := cpuOfFamily(os.Getpid()); own != 0 { // 0 where it cannot be known
		require.InDelta(t, cpuOfSelf().Seconds(), own.Seconds(), 1)
	}
}
