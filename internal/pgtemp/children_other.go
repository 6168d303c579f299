//go:build !linux

package pgtemp

import (
	"os/exec"
	"strconv"
	"strings"
)

// children returns the pids of a process's children.
func children(pid int) []int {
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil // it has none
	}
	var found []int
	for field := range strings.FieldsSeq(string(out)) {
		if child, err := strconv.Atoi(field); err == nil {
			found = append(found, child)
		}
	}
	return found
}
