package cgroup

import (
	"os"
	"testing"
	"testing/fstest"
)

func TestMemory(t *testing.T) {
	const v1 = "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/system.slice\n"
	for _, c := range []struct {
		name  string
		self  string // "": there is no such file
		files map[string]string
		want  int64
	}{
		{"no cgroup", "", nil, 0},
		{"no limit", "0::/a/b\n", map[string]string{
			"memory.max": "max\n", "a/memory.max": "max\n", "a/b/memory.max": "max\n"}, 0},
		{"the cgroup itself", "0::/a/b\n", map[string]string{
			"a/memory.max": "max\n", "a/b/memory.max": "1000\n"}, 1000},
		{"a slice between", "0::/a/b/c\n", map[string]string{"memory.max": "9000\n",
			"a/memory.max": "8000\n", "a/b/memory.max": "500\n", "a/b/c/memory.max": "7000\n"}, 500},
		{"the root", "0::/a\n", map[string]string{"memory.max": "300\n", "a/memory.max": "max\n"}, 300},
		{"a cgroup of others", "0::/a\n", map[string]string{"a/memory.max": "2000\n", "b/memory.max": "100\n",
			"a/b/memory.max": "100\n"}, 2000},
		{"seen from a container", "0::/\n", map[string]string{"memory.max": "600\n"}, 600},
		{"mounted from elsewhere", "0::/kubepods/pod1/abc\n", map[string]string{"memory.max": "600\n"}, 600},
		{"beside the namespace", "0::/../other\n", map[string]string{
			"memory.max": "600\n", "other/memory.max": "400"}, 600},
		{"a slice that is not to be seen", "0::/a/b/c\n", map[string]string{
			"a/memory.max": "800\n", "a/b/c/memory.max": "900\n"}, 800},
		{"no file of the process", "", map[string]string{"memory.max": "700\n"}, 700},
		{"no number", "0::/a\n", map[string]string{"a/memory.max": "lots\n", "memory.max": "-5\n"}, 0},
		{"version 1", v1, map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n",
			"memory/docker/memory.limit_in_bytes":     "5000\n",
			"memory/docker/abc/memory.limit_in_bytes": "6000\n"}, 5000},
		{"version 1 in a container", v1, map[string]string{"memory/memory.limit_in_bytes": "4000\n"}, 4000},
		{"version 1 without a limit", v1, map[string]string{
			"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"both", v1, map[string]string{"system.slice/memory.max": "10\n",
			"memory/docker/abc/memory.limit_in_bytes": "20\n"}, 10},
	} {
		root := fstest.MapFS{}
		if c.self != "" {
			root["proc/self/cgroup"] = &fstest.MapFile{Data: []byte(c.self)}
		}
		for name, text := range c.files {
			root["sys/fs/cgroup/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := MemoryIn(root); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestMemory_ofThisMachine(t *testing.T) {
	if n := Memory(); n < 0 {
		t.Errorf("%d bytes", n)
	}
}

func TestCPUs(t *testing.T) {
	for _, c := range []struct {
		name, self string
		files      map[string]string
		want       float64
	}{
		{"no cgroup", "", nil, 0},
		{"no quota", "0::/a\n", map[string]string{"a/cpu.max": "max 100000\n"}, 0},
		{"half a CPU", "0::/a\n", map[string]string{"a/cpu.max": "50000 100000\n"}, 0.5},
		{"a slice above", "0::/a/b\n", map[string]string{
			"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 1.5},
		{"no number", "0::/a\n", map[string]string{"a/cpu.max": "lots\n", "cpu.max": "1 0\n"}, 0},
		{"version 1", "3:cpu,cpuacct:/x\n", map[string]string{"cpu/x/cpu.cfs_quota_us": "200000\n",
			"cpu/x/cpu.cfs_period_us": "100000\n", "cpu/cpu.cfs_quota_us": "-1\n"}, 2},
	} {
		root := fstest.MapFS{"proc/self/cgroup": {Data: []byte(c.self)}}
		for name, text := range c.files {
			root["sys/fs/cgroup/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := CPUsIn(root); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if n := CPUsIn(os.DirFS("/")); n < 0 {
		t.Errorf("%v CPUs here", n)
	}
}
