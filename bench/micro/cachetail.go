package micro

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/warm"
)

const (
	cacheTail = "cache: the slowest sets"

	tailShare = 10_000 // one operation in so many takes longer than what is reported
	tailHits  = 8      // gets for each set, where there are any
	tailSpin  = 500    // ns that a set takes at best in a cache of that size
	tailSlow  = 10_000 // ns from which on a set may have been preempted
)

// tailEntries time each set by itself, while a cache of a million entries is full. A set in which the kernel took the
// processor away from its thread, for another process, says nothing and is left out. What the machine adds all the
// same, its interrupts and what its host takes, shows in the row of none, where nothing is set: that takes tailSpin.
func tailEntries() (all []Entry) {
	of := slices.Insert(bounded(makers[uint64, uint64](hashOfNumber))[:5], 1, maker[uint64, uint64]{
		"none", "no cache; half a microsecond of reading the clock", true, true, spinStore})
	const counted = ", in a full cache of a million entries. ns/op is what one set in 10 000 takes longer than, wall " +
		"time with two reads of the clock; clock-ns is what these take. Sets that were preempted are left out, " +
		"preempted-ppm of all"
	for _, f := range []struct {
		name, what string
		hits       int
	}{
		{"new", "set of a key that was never there" + counted, 0},
		{"among-hits", "set of a key that was never there, after eight gets by Zipf 1.0" + counted, tailHits},
	} {
		all = append(all, crewFamilies(cacheTail, "cache/slowest-set-"+f.name, f.what, goroutines(), of,
			func(m maker[uint64, uint64], b *testing.B, crew int, name string) {
				timeEach(b, fillOnce(b, name, func() *store[uint64, uint64] { return fullStore(b, m) }), crew, f.hits)
			})...)
	}
	return all
}

// spinStore takes as long as a cache.
func spinStore(int, time.Duration) (*store[uint64, uint64], error) {
	return &store[uint64, uint64]{
		get:     func([]uint64) int { return 0 },
		set:     func([]uint64, uint64) int { spin(tailSpin); return 0 },
		entries: func() int { return 0 },
	}, nil
}

func spin(d time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; {
	}
}

// timeEach does b.N sets of new keys, each after some gets, and reports the slowest.
func timeEach(b *testing.B, s *store[uint64, uint64], goroutines, hits int) {
	var popular []uint64
	if hits > 0 {
		popular = manyNumbers().ring
	}
	clock := clockCost()
	crew := make([]stopwatch, goroutines)
	var wg sync.WaitGroup
	runtime.GC()
	b.ResetTimer()
	before := warm.CPUTime(b)
	for g := range crew {
		w, n, at := &crew[g], (b.N+g)/goroutines, g*cacheBatch
		w.took = make([]uint32, 0, n)
		wg.Go(func() {
			w.start(b)
			defer w.stop()
			keys := make([]uint64, cacheBatch)
			for i := range n {
				if i%cacheBatch == 0 {
					nextKeys(keys)
				}
				if hits > 0 {
					at = (at + hits) % (len(popular) - hits)
					_ = s.get(popular[at : at+hits])
				}
				key := keys[i%cacheBatch:][:1]
				from := w.now()
				w.refused += s.set(key, 1)
				w.note(from)
			}
		})
	}
	wg.Wait()
	s.settle()
	b.StopTimer()
	b.ReportMetric(float64(warm.CPUTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(clock), "clock-ns")
	reportSlowest(b, crew)
}

// stopwatch times operations of one goroutine, which has its thread for itself meanwhile.
type stopwatch struct {
	b         *testing.B
	begun     time.Time
	ended     time.Duration // the last operation
	preempted int64         // times that the kernel has taken the processor from this thread
	left      int           // operations that are left out
	took      []uint32      // ns
	refused   int
	_         [64]byte // so that two goroutines do not write to one cache line
}

func (w *stopwatch) start(b *testing.B) {
	runtime.LockOSThread()
	w.b, w.begun = b, time.Now()
	w.wasPreempted()
}

func (w *stopwatch) stop() { runtime.UnlockOSThread() }

// now is the time before an operation.
func (w *stopwatch) now() time.Duration {
	now := time.Since(w.begun)
	if now-w.ended > tailSlow {
		w.wasPreempted() // between two operations
		now = time.Since(w.begun)
	}
	return now
}

// note takes down the operation that has begun at from.
func (w *stopwatch) note(from time.Duration) {
	w.ended = time.Since(w.begun)
	took := w.ended - from
	if took > tailSlow && w.wasPreempted() && len(w.took) > 0 { // a run of one set has that one
		w.left++
		return
	}
	w.took = append(w.took, uint32(min(took, 1<<32-1)))
}

// wasPreempted reports whether the thread has been since the last call.
func (w *stopwatch) wasPreempted() bool {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		w.b.Error(err)
	}
	was := u.Nivcsw != w.preempted
	w.preempted = u.Nivcsw
	return was
}

// reportSlowest reports what b is about as its ns/op.
func reportSlowest(b *testing.B, crew []stopwatch) {
	var all []uint32
	left, refused := 0, 0
	for i := range crew {
		all = append(all, crew[i].took...)
		left += crew[i].left
		refused += crew[i].refused
	}
	slices.Sort(all)
	after := func(share int) float64 { return float64(append(all, 0)[max(0, len(all)-1-len(all)/share)]) }
	b.ReportMetric(after(tailShare), "ns/op")
	b.ReportMetric(after(100), "p99-ns")
	b.ReportMetric(after(len(all)+1), "max-ns")
	b.ReportMetric(1e6*float64(left)/float64(b.N), "preempted-ppm")
	b.ReportMetric(100*float64(refused)/float64(b.N), "refused-%")
}

// clockCost is what timing one operation adds to it, in ns: the median of timing none.
func clockCost() uint32 {
	took := make([]uint32, 1001)
	begun := time.Now()
	for i := range took {
		from := time.Since(begun)
		took[i] = uint32(time.Since(begun) - from)
	}
	slices.Sort(took)
	return took[len(took)/2]
}
