package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// buildBase builds the relay of a commit, in a worktree that is removed again, and returns its path in dir.
func buildBase(ctx context.Context, commit, dir string) (binary string, err error) {
	progress("build relay of %s", commit)
	tree, binary := filepath.Join(dir, "base"), filepath.Join(dir, "relay-base")
	if err := command(ctx, ".", "git", "worktree", "add", "--detach", tree, commit); err != nil {
		return "", err
	}
	defer func() {
		// Not bound to ctx: an interrupt leaves no worktree behind.
		err = errors.Join(err, command(context.WithoutCancel(ctx), ".", "git", "worktree", "remove", "--force", tree))
	}()
	return binary, command(ctx, tree, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=base", "-o", binary, "./cmd/relay")
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, out)
	}
	return nil
}

// compared is a figure that two relays are held against each other by.
type compared struct {
	name string
	get  func(result) float64
}

var comparedOf = map[kind][]compared{
	draining: {{"deliveries/s", rateOf}, {"CPU-s per 100,000", cpuOf}, {"allocations", allocsOf}, {"peak MiB", memoryOf}},
	steadily: {{"p50 ms", p50Of}, {"p99 ms", p99Of}, {"CPU-s per 100,000", cpuOf}, {"allocations", allocsOf}, {"peak MiB", memoryOf}},
	parking:  {{"parking/s", parkingOf}, {"draining/s", rateOf}, {"CPU-s per 100,000", cpuOf}, {"peak MiB", memoryOf}},
}

// comparison is the report on two relays.
func (o *options) comparison(m *machine, outcomes []outcome) string {
	t := newTable("scenario", "", "base", "least–most", "this", "least–most", "this of base", "")
	for _, out := range outcomes {
		for _, c := range comparedOf[out.kind] {
			base, this := out.values(sysBase, c.get), out.values(sysRelay, c.get)
			t.add(out.String(), c.name, fmt.Sprintf("%.2f", out.median(sysBase, c.get)), out.spread(sysBase, c.get, "%.2f"),
				fmt.Sprintf("%.2f", out.median(sysRelay, c.get)), out.spread(sysRelay, c.get, "%.2f"),
				ratio(out.median(sysRelay, c.get), out.median(sysBase, c.get)), difference(base, this))
		}
	}
	return fmt.Sprintf("%s\n\nThis tree against %s, in turns.\n\n%s", m, o.compare, t)
}

// difference says whether one can be told from values in ascending order: where the ranges overlap, it is not shown.
func difference(base, this []float64) string {
	switch {
	case len(base) < leastRounds || len(this) < leastRounds:
		return "too few rounds to tell"
	case this[0] > base[len(base)-1]:
		return "more"
	case this[len(this)-1] < base[0]:
		return "less"
	default:
		return "no difference shown"
	}
}

// leastRounds is how many it takes for ranges to mean something: of two that are equal, all four of one are above all of the
// other once in 70 times, and below as often.
const leastRounds = 4
