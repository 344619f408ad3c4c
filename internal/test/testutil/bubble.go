package testutil

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// bubbles counts the calls of Bubble that run.
var bubbles struct {
	sync.Mutex
	n, processors int
}

// Bubble is synctest.Test, for tests that wait for a clock. Under the race detector it leaves one processor to all
// goroutines: the detector has one context for the timers of a bubble, and two threads that use it at once crash in
// timer.maybeRunChan. It is safe in tests that are parallel.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if RaceOn {
		enterBubble()
		defer leaveBubble()
	}
	synctest.Test(t, f)
}

func enterBubble() {
	bubbles.Lock()
	defer bubbles.Unlock()
	if bubbles.n++; bubbles.n == 1 {
		bubbles.processors = runtime.GOMAXPROCS(1)
	}
}

func leaveBubble() {
	bubbles.Lock()
	defer bubbles.Unlock()
	if bubbles.n--; bubbles.n == 0 {
		runtime.GOMAXPROCS(bubbles.processors)
	}
}
