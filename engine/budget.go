package engine

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/base/cgroup"
)

// budget is Options.Memory, from which the reactors take parts as they need them: with uneven load one reactor must
// not refuse its clients while the others have room.
//
//	spare + every reactor's share == as many even shares as there are reactors
//	floor <= every reactor's share
//
// An even share is Options.Memory divided by the reactors, but shareLeast at least. The floor is a quarter of it, so
// that reactors that were busy first leave something to the others.
type budget struct {
	spare atomic.Int64
	floor int64
	chunk int64 // what a reactor takes at once
}

// shareLeast is the smallest even share of a reactor: below it a few connections would be too many.
const shareLeast = 1 << 20

// init shares memory out among so many reactors.
func (b *budget) init(memory int64, reactors int) {
	even := evenShare(memory, reactors)
	b.floor = even
	if reactors > 1 {
		b.floor = even / 4
	}
	b.chunk = even / 8
	b.spare.Store((even - b.floor) * int64(reactors))
}

func evenShare(memory int64, reactors int) int64 { return max(memory/int64(reactors), shareLeast) }

// borrow returns a chunk, or what is left of the spare memory.
func (b *budget) borrow() int64 {
	for {
		n := b.spare.Load()
		k := min(n, b.chunk)
		if k <= 0 {
			return 0
		}
		if b.spare.CompareAndSwap(n, n-k) {
			return k
		}
	}
}

// MemoryLimit returns how many bytes the process may use: the smallest of what GOMEMLIMIT, the cgroup and the machine
// allow.
func MemoryLimit() int64 {
	limit := debug.SetMemoryLimit(-1)
	if n := cgroup.Memory(); n > 0 {
		limit = min(limit, n)
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err == nil && kib > 0 {
			limit = min(limit, kib<<10)
		}
	}
	return limit
}
