// Package cgroup reads what the kernel lets the process have.
package cgroup

import (
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// unlimited is where limits begin that are none: version 1 says so by a number near the largest.
const unlimited = math.MaxInt64 / 2

// Text returns the file of a controller ("cpu", "memory", "pids") in the cgroup of the process, or in the nearest one
// above it that has such a file, in a system whose files are root; "" where none has.
func Text(root fs.FS, controller, file string) (text string) {
	walk(root, controller, func(dir string, _ bool) {
		if b, err := fs.ReadFile(root, path.Join(dir, file)); err == nil && text == "" {
			text = string(b)
		}
	})
	return text
}

// Memory returns how many bytes the process may have: the least limit of its cgroup and of those above it, in either
// version; 0 when there is none.
func Memory() int64 { return MemoryIn(os.DirFS("/")) }

// MemoryIn is Memory in a system whose files are root.
func MemoryIn(root fs.FS) int64 {
	least := int64(0)
	walk(root, "memory", func(dir string, v1 bool) {
		file := "memory.max"
		if v1 {
			file = "memory.limit_in_bytes"
		}
		if limit := number(root, path.Join(dir, file)); limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	})
	return least
}

// CPUsIn returns how many CPUs' worth of time the process may have in a system whose files are root: the least quota of
// its cgroup and of those above it, in either version; 0 when there is none.
func CPUsIn(root fs.FS) float64 {
	least := 0.0
	walk(root, "cpu", func(dir string, v1 bool) {
		var quota, period int64
		if v1 {
			quota = number(root, path.Join(dir, "cpu.cfs_quota_us"))
			period = number(root, path.Join(dir, "cpu.cfs_period_us"))
		} else if text, err := fs.ReadFile(root, path.Join(dir, "cpu.max")); err == nil {
			if fields := strings.Fields(string(text)); len(fields) == 2 {
				quota, period = parse(fields[0]), parse(fields[1])
			}
		}
		if quota <= 0 || period <= 0 {
			return
		}
		if n := float64(quota) / float64(period); least == 0 || n < least {
			least = n
		}
	})
	return least
}

// walk visits the folder of the process's cgroup and those above it, in each hierarchy where controller sets limits.
//
// The path of a cgroup is that below the root of its hierarchy, or of the namespace. In a container it may be a path
// that cannot be seen there: then its own cgroup is mounted, or one above it, and the walk gets there.
func walk(root fs.FS, controller string, visit func(dir string, v1 bool)) {
	text, _ := fs.ReadFile(root, "proc/self/cgroup") // else only the mounted cgroup is known
	lines := append(strings.Split(string(text), "\n"), "0::/", "0:"+controller+":/")
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, ":")
		controllers, at, ok := strings.Cut(rest, ":")
		mount, v1 := "sys/fs/cgroup", slices.Contains(strings.Split(controllers, ","), controller)
		switch {
		case !ok || controllers != "" && !v1:
			continue
		case v1:
			mount += "/" + controller
		}
		if strings.HasPrefix(at, "/..") { // beside the namespace: another one may have that name here
			at = "/"
		}
		for at = path.Clean("/" + at); ; at = path.Dir(at) {
			visit(path.Join(mount, at), v1)
			if at == "/" {
				break
			}
		}
	}
}

// number reads a limit from a file; 0 when there is none.
func number(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	return parse(string(text))
}

// parse is the number that text is; 0 when it is none, which version 2 calls "max".
func parse(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n >= unlimited {
		return 0
	}
	return max(n, 0)
}
