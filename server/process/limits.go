package process

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/edge-proxy/edge/internal/cgroup"
)

// spareProcessor gives goroutines that are no reactors a processor (P) of their own where one is free. Where there is
// none, one more would cost every request a switch; unless reactors sleep on threads of their own, for then the others
// would wait until the runtime notices, 10 ms at worst.
func spareProcessor(reactors int, ownThreads bool) {
	if ownThreads || reactors < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(reactors + 1)
	}
}

// limitMemory tells the garbage collector how much there is: what the configuration says, else 80 % of what the cgroup
// allows. GOMEMLIMIT goes before the cgroup.
func limitMemory(limit int64) {
	if limit == 0 && os.Getenv("GOMEMLIMIT") == "" {
		limit = cgroup.Memory() / 5 * 4
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}
