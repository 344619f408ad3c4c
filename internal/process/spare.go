package process

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// spare has a processor of Go (P) for a reload where reactors have them all. Without it an event that comes while
// the reload computes waits for the runtime to take the P away, 10 ms at worst, and longer while memory is collected;
// with it the kernel shares a CPU between their threads. Otherwise one more P would cost every request a switch, so it
// is for the time of the reload alone. Collections are put off meanwhile, and made up for before the P goes.
// Safe for any goroutine but a reactor's.
type spare struct {
	mu      sync.Mutex
	borrows int // that are not given back; what follows is of the first of them
	procs   int // GOMAXPROCS before; 0: it was left as it is
	percent int // GOGC before
	heap    uint64
}

const (
	// sparePercent is GOGC while a reload runs: what a reload makes is about as much as what is in use.
	sparePercent = 300
	// collectAfter is how much memory a reload may take without a collection at its end. Less is collected quickly.
	collectAfter = 16 << 20
)

// borrow begins the time of a reload beside so many reactors. giveBack ends it.
func (s *spare) borrow(reactors int) (giveBack func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.borrows++; s.borrows == 1 {
		s.heap = heapBytes()
		if s.procs = 0; runtime.GOMAXPROCS(0) <= reactors {
			s.procs = runtime.GOMAXPROCS(reactors + 1)
		}
		s.percent = debug.SetGCPercent(sparePercent)
		if s.percent < 0 || s.percent > sparePercent {
			debug.SetGCPercent(s.percent)
		}
	}
	return s.giveBack
}

func (s *spare) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.borrows--; s.borrows > 0 {
		return
	}
	debug.SetGCPercent(s.percent)
	if s.percent >= 0 && heapBytes() > s.heap+collectAfter {
		runtime.GC()
	}
	if s.procs == 0 {
		return
	}
	// Where the number was the runtime's, it goes on to follow the limits of the cgroup.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS()
	}
	if runtime.GOMAXPROCS(0) != s.procs {
		runtime.GOMAXPROCS(s.procs)
	}
}

// heapBytes is how much memory objects take, those that may be collected among them.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
