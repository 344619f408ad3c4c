package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The environment of Run.
const (
	envSeed  = "EDGE_SIM_SEED"  // run this seed only
	envSeeds = "EDGE_SIM_SEEDS" // run so many seeds, whatever the test asks for
	envTimes = "EDGE_SIM_TIMES" // run so many times the seeds that the test asks for
	envFirst = "EDGE_SIM_FIRST" // the first of them, for a run that shall see others than the last one
)

// Run calls f with a new World for each of the seeds 1 to seeds and stops at the first that fails, by t or by misuse
// of a kernel. It says which it was, how to run it again, and what the World looked like.
//
// A World is for one goroutine, in which the race detector finds nothing and takes its time: in a short run with it a
// test gets a tenth of its seeds, for the assertions.
//
// The cleanups that f registers run at the end of each seed.
//
// EDGE_SIM_SEED=n runs that seed alone; EDGE_SIM_SEEDS=n sets how many, EDGE_SIM_TIMES=n multiplies what the test asks
// for, EDGE_SIM_FIRST=n sets where they begin.
func Run(t testing.TB, seeds int, f func(t testing.TB, w *World)) {
	t.Helper()
	first, count := uint64(1), uint64(seeds)
	if testutil.RaceOn && testing.Short() {
		count = (count + 9) / 10
	}
	if n, ok := environment(t, envTimes); ok {
		count *= n
	}
	if n, ok := environment(t, envSeeds); ok {
		count = n
	}
	if n, ok := environment(t, envFirst); ok {
		first = n
	}
	last := first + count - 1
	if n, ok := environment(t, envSeed); ok {
		first, last = n, n
	}
	failedBefore := t.Failed()
	for seed := first; seed <= last; seed++ {
		one(t, NewWorld(seed), f, failedBefore)
		if t.Failed() && !failedBefore {
			return
		}
	}
}

// one runs f and tells the seed however f ends: by return, FailNow or panic.
func one(t testing.TB, w *World, f func(t testing.TB, w *World), failedBefore bool) {
	s, returned := &seedTB{TB: t}, false
	defer s.end() // after a failure, once the World is printed
	defer func() {
		if returned && (failedBefore || !t.Failed()) || t.Skipped() {
			return
		}
		what := fmt.Sprintf("sim: seed %d failed; again: %s=%d go test -run '^%s$'\n%s",
			w.seed, envSeed, w.seed, t.Name(), w.Dump())
		if !returned && !t.Failed() {
			fmt.Fprintln(os.Stderr, what) // a panic: the log of t would be lost
			return
		}
		t.Log(what)
	}()
	f(s, w)
	if w.err != nil {
		t.Error(w.err)
	}
	s.end()
	returned = true
}

// seedTB is the TB of one seed. It runs the cleanups itself: the test would run them, and so keep the engines of all
// seeds, until the last seed is over.
type seedTB struct {
	testing.TB
	cleanups []func()
}

func (s *seedTB) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// end runs the cleanups, the last one first, and those that they register. A second call has none left.
func (s *seedTB) end() {
	for n := len(s.cleanups); n > 0; n = len(s.cleanups) {
		f := s.cleanups[n-1]
		s.cleanups = s.cleanups[:n-1]
		f()
	}
}

// MustFail runs f like Run and fails unless a seed makes f fail: f tests something that is known to be wrong, and a
// simulation that finds no fault with it finds none elsewhere. It returns the seed that did.
func MustFail(t testing.TB, seeds int, f func(t testing.TB, w *World)) uint64 {
	t.Helper()
	for seed := range uint64(seeds) {
		q := &quiet{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if recover() != nil {
					q.failed = true
				}
			}()
			w := NewWorld(seed + 1)
			f(q, w)
			q.failed = q.failed || w.err != nil
		}()
		<-done
		if q.failed {
			return seed + 1
		}
	}
	t.Errorf("sim: %d seeds did not find a fault that is there", seeds)
	return 0
}

func environment(t testing.TB, name string) (uint64, bool) {
	v := os.Getenv(name)
	if v == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// quiet is a TB that fails without telling.
type quiet struct {
	testing.TB
	failed bool
}

func (q *quiet) Error(...any)          { q.failed = true }
func (q *quiet) Errorf(string, ...any) { q.failed = true }
func (q *quiet) Fail()                 { q.failed = true }
func (q *quiet) Failed() bool          { return q.failed }
func (q *quiet) Log(...any)            {}
func (q *quiet) Logf(string, ...any)   {}
func (q *quiet) Helper()               {}
func (q *quiet) Fatal(...any)          { q.FailNow() }
func (q *quiet) Fatalf(string, ...any) { q.FailNow() }

func (q *quiet) FailNow() {
	q.failed = true
	runtime.Goexit()
}
