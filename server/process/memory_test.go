package process

import (
	"math"
	"runtime/debug"
	"testing"
)

// What is outside of the heap is taken from the limit of the collector while it is there.
func TestLimitMemory_reserve(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	reserve := limitMemory(1 << 30)
	for _, c := range []struct{ bytes, want int64 }{{256 << 20, 768 << 20}, {0, 1 << 30}} {
		if reserve(c.bytes); debug.SetMemoryLimit(-1) != c.want {
			t.Errorf("with %d bytes the limit is %d, want %d", c.bytes, debug.SetMemoryLimit(-1), c.want)
		}
	}
	t.Setenv("GOMEMLIMIT", "off")
	debug.SetMemoryLimit(math.MaxInt64)
	if limitMemory(0)(256 << 20); debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("there is a limit of %d where there was none", debug.SetMemoryLimit(-1))
	}
}
