package testutil

import (
	"runtime"
	"testing"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Allocs is testing.AllocsPerRun. It is 0 under the race detector, where pools drop objects on purpose (RaceOn), and
// with assertions, whose arguments are allocated. f runs runs + 1 times either way.
func Allocs(runs int, f func()) float64 {
	n := testing.AllocsPerRun(runs, f)
	if RaceOn || invariant.On {
		return 0
	}
	return n
}

// Heap is how many bytes of the heap are alive.
func Heap() int64 {
	runtime.GC()
	runtime.GC() // pools let go in the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
