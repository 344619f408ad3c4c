package process

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/edge-proxy/edge/internal/cgroup"
)

// spareProcessor sets GOMAXPROCS so that other goroutines than reactors have a processor of Go (a P) where one is
// free. Where none is free, one more P would cost every request a switch. Reactors that sleep on threads of their
// own always get one more: without it the other goroutines would wait until the runtime notices, 10 ms at worst.
func spareProcessor(reactors int, ownThreads bool) {
	if ownThreads || reactors < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(reactors + 1)
	}
}

// limitMemory gives the garbage collector a limit: the one of the configuration, else GOMEMLIMIT, else 80 % of
// what the cgroup allows.
func limitMemory(limit int64) {
	if limit == 0 && os.Getenv("GOMEMLIMIT") == "" {
		limit = cgroup.Memory() / 5 * 4
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}
