package pgtemp

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// BinEnv names the environment variable that says where initdb and postgres are, if not where FindBin looks.
const BinEnv = "RELAY_PG_BIN"

// ErrNoBin says that this machine has no Postgres server binaries.
var ErrNoBin = errors.New("no Postgres server binaries (initdb and postgres) found: install them " +
	"(Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql), " +
	"or set " + BinEnv + " to the folder that has them")

// places are where packages put the server, which not all of them put into PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",                               // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                        // the project's own RPMs
	"/usr/local/pgsql/bin",                                    // built from source
	"/opt/homebrew/opt/postgresql*/bin",                       // Homebrew on arm64
	"/usr/local/opt/postgresql*/bin",                          // Homebrew on amd64
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",          // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/[0-9]*/bin", // Postgres.app
}

// FindBin returns the folder of initdb and postgres: the one RELAY_PG_BIN names, else that of PATH, else the newest
// version where packages put it.
func FindBin() (string, error) {
	if dir := os.Getenv(BinEnv); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("%s is %s, which lacks initdb or postgres", BinEnv, dir)
		}
		return dir, nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(real)) {
			return filepath.Dir(real), nil
		}
	}
	return newest(places)
}

func newest(patterns []string) (string, error) {
	var found []string
	for _, pattern := range patterns {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		found = append(found, slices.DeleteFunc(dirs, func(dir string) bool { return !complete(dir) })...)
	}
	if len(found) == 0 {
		return "", ErrNoBin
	}
	return slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) }), nil
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

var number = regexp.MustCompile(`(\d+(?:\.\d+)?)/bin$`)

// version reads the version out of a path such as /usr/lib/postgresql/15/bin; 0 when it has none.
func version(dir string) float64 {
	match := number.FindStringSubmatch(dir)
	if match == nil {
		return 0
	}
	v, _ := strconv.ParseFloat(match[1], 64) // the expression lets only numbers through
	return v
}
