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

// Memory returns how many bytes the process may have: the least limit of its cgroup and of those above it, in either
// version; 0 when there is none.
func Memory() int64 { return memory(os.DirFS("/")) }

// memory is Memory in a system whose files are root.
//
// The path of a cgroup is that below the root of its hierarchy, or of the namespace. In a container it may be one that
// is not to be seen there: then what is mounted is its own, or one above it, and the walk gets there.
func memory(root fs.FS) int64 {
	least := int64(0)
	text, _ := fs.ReadFile(root, "proc/self/cgroup") // else what is mounted is all that is known
	lines := append(strings.Split(string(text), "\n"), "0::/", "0:memory:/")
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, ":")
		controllers, at, ok := strings.Cut(rest, ":")
		mount, file := "sys/fs/cgroup", "memory.max"
		switch {
		case !ok:
			continue
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case controllers != "":
			continue
		}
		if strings.HasPrefix(at, "/..") { // beside the namespace: another one may have that name here
			at = "/"
		}
		for at = path.Clean("/" + at); ; at = path.Dir(at) {
			limit := number(root, path.Join(mount, at, file))
			if limit > 0 && (least == 0 || limit < least) {
				least = limit
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}

// number reads a limit from a file; 0 when there is none, which version 2 calls "max".
func number(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= unlimited {
		return 0
	}
	return max(n, 0)
}
