package campaign

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Binary returns the path of the real relay, built once for this process from the tree this package lies in: with
// fail points, and with the race detector if the caller has it. Cleanup removes it.
func Binary() (string, error) {
	built.once.Do(func() { built.path, built.err = build() })
	return built.path, built.err
}

// Cleanup removes what Binary made.
func Cleanup() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a leftover in the temporary folder harms nobody
	}
}

func build() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("build relay: where its source lies is not known")
	}
	dir, err := os.MkdirTemp("", "relay-campaign-")
	if err != nil {
		return "", fmt.Errorf("build relay: %w", err)
	}
	built.dir = dir
	path := filepath.Join(dir, "relay")
	args := []string{"build", "-tags", "failpoint", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "relay/cmd/relay")...)
	cmd.Dir = filepath.Dir(file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build relay: %w\n%s", err, out)
	}
	return path, nil
}
