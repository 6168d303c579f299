package main

import (
	"math"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const (
	mountsV2     = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountsV1     = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	mountsHybrid = mountsV1 + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	mountsCPU    = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
)

func TestCgroupMemory_IsTheLeastLimitOfTheProcessAndItsParents(t *testing.T) {
	t.Parallel()
	const none = int64(math.MaxInt64)
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"not Linux": {map[string]string{}, none},
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountsV2, "sys/fs/cgroup/memory.max": "67108864\n",
		}, 64 << 20},
		"version 2, no limit": {map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2, "sys/fs/cgroup/app/memory.max": "max\n",
		}, none},
		"version 2, the parent's is less": {map[string]string{
			"proc/self/cgroup": "0::/kube/pod/app\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/kube/pod/app/memory.max": "max\n", "sys/fs/cgroup/kube/pod/memory.max": "104857600\n",
			"sys/fs/cgroup/kube/memory.max": "209715200\n",
		}, 100 << 20},
		"version 2, a neighbour's does not count": {map[string]string{
			"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/a/memory.max": "209715200\n", "sys/fs/cgroup/b/memory.max": "1048576\n",
		}, 200 << 20},
		"version 1": {map[string]string{
			"proc/self/cgroup": "8:pids:/\n4:memory:/app\n0::/\n", "proc/self/mountinfo": mountsCPU + mountsHybrid,
			"sys/fs/cgroup/memory/app/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712\n",
			"sys/fs/cgroup/cpu/app/memory.limit_in_bytes":    "1\n",
		}, 64 << 20},
		"version 1, no limit is a huge number": {map[string]string{
			"proc/self/cgroup": "4:memory:/app\n", "proc/self/mountinfo": mountsV1,
			"sys/fs/cgroup/memory/app/memory.limit_in_bytes": "9223372036854771712\n",
		}, none},
		"version 1 in a container that sees its own cgroup as the root": {map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/abc\n",
			"proc/self/mountinfo":                        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "33554432\n",
		}, 32 << 20},
		"a path outside of what is mounted": {map[string]string{
			"proc/self/cgroup": "0::/../other\n", "proc/self/mountinfo": mountsV2, "sys/fs/cgroup/memory.max": "33554432\n",
		}, 32 << 20},
		"nonsense": {map[string]string{
			"proc/self/cgroup": "0\n::\n4:memory\n0::/\n", "proc/self/mountinfo": "what\n - \n" + mountsV2, "sys/fs/cgroup/memory.max": "lots",
		}, none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for path, text := range c.files {
				root[path] = &fstest.MapFile{Data: []byte(text)}
			}

			require.Equal(t, c.want, cgroupMemory(root))
		})
	}
}
