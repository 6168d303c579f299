package main

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// memoryShare is how much of the cgroup's limit the Go runtime may fill, in percent. The rest is for what it does not count:
// the program's own pages, and what the kernel holds for its sockets.
const memoryShare = 90

// limitMemory has the collector work harder before the process would be killed for its memory: the limit of the cgroup,
// which is that of the container, becomes the runtime's. GOMEMLIMIT in the environment overrides it.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := cgroupMemory(os.DirFS("/")); limit < math.MaxInt64 {
		debug.SetMemoryLimit(limit / 100 * memoryShare)
	}
}

// cgroupMemory returns the memory limit of this process's cgroup, the least of those of it and of all above it, in bytes, and
// math.MaxInt64 if there is none. Both versions of cgroups are looked at, as a system may have both. What cannot be read sets
// no limit.
func cgroupMemory(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	for _, g := range memoryGroups(root) {
		for dir := g.dir; ; dir = path.Dir(dir) {
			limit = min(limit, limitIn(root, path.Join(dir, g.file)))
			if dir == g.mount || dir == "." {
				break
			}
		}
	}
	return limit
}

// memoryGroup is where a cgroup of this process keeps its memory limit.
type memoryGroup struct {
	mount, dir, file string // without the leading slash, as fs wants them
}

func memoryGroups(root fs.FS) []memoryGroup {
	paths := ownGroups(root)
	text, _ := fs.ReadFile(root, "proc/self/mountinfo") // none outside Linux
	var groups []memoryGroup
	for line := range strings.Lines(string(text)) {
		// "id parent device root mount options optional… - type source options"
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 {
			continue
		}
		kind, file := "", "memory.max"
		switch {
		case r[0] == "cgroup2":
		case r[0] == "cgroup" && slices.Contains(strings.Split(r[2], ","), "memory"):
			kind, file = "memory", "memory.limit_in_bytes"
		default:
			continue
		}
		own, ok := paths[kind]
		if !ok {
			continue
		}
		mount := strings.TrimPrefix(path.Clean(l[4]), "/")
		groups = append(groups, memoryGroup{mount: mount, dir: path.Join(mount, below(own, l[3])), file: file})
	}
	return groups
}

// ownGroups returns the paths of this process's cgroups: that of version 2 under "", that of version 1 under "memory".
func ownGroups(root fs.FS) map[string]string {
	text, _ := fs.ReadFile(root, "proc/self/cgroup") // none outside Linux
	groups := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // "number:controllers:path"
		switch {
		case len(f) < 3:
		case f[0] == "0" && f[1] == "":
			groups[""] = f[2]
		case slices.Contains(strings.Split(f[1], ","), "memory"):
			groups["memory"] = f[2]
		}
	}
	return groups
}

// below returns where a cgroup's path lies under the part of the hierarchy that is mounted. In a container the mount is
// often the process's own cgroup, whatever its path is called outside.
func below(own, mounted string) string {
	rest, ok := strings.CutPrefix(path.Clean(own), strings.TrimSuffix(path.Clean(mounted), "/"))
	if !ok || rest != "" && rest[0] != '/' || strings.Contains(rest, "..") {
		return ""
	}
	return rest
}

// limitIn reads a limit. Version 2 writes "max" for none, version 1 the largest number of whole pages.
func limitIn(root fs.FS, file string) int64 {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n <= 0 || n > 1<<60 {
		return math.MaxInt64
	}
	return n
}
