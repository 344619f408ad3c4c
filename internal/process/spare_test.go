package process

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// A reload gets a processor where the reactors have them all, and puts collections off. What was before is there again
// after the last of several, whatever the process was given.
func TestSpare(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	for _, c := range []struct {
		has, reactors, percent      int
		wantProcessors, wantPercent int
	}{
		{1, 1, 100, 2, sparePercent}, {3, 3, 50, 4, sparePercent}, {2, 4, 100, 5, sparePercent},
		{3, 2, 100, 3, sparePercent}, {1, 1, -1, 2, -1}, {1, 1, 400, 2, 400},
	} {
		runtime.GOMAXPROCS(c.has)
		debug.SetGCPercent(c.percent)
		var s spare
		first := s.borrow(c.reactors)
		second := s.borrow(c.reactors)
		first()
		if n, p := runtime.GOMAXPROCS(0), percent(); n != c.wantProcessors || p != c.wantPercent {
			t.Errorf("%+v: meanwhile %d processors, GOGC %d", c, n, p)
		}
		second()
		if n, p := runtime.GOMAXPROCS(0), percent(); n != c.has || p != c.percent {
			t.Errorf("%+v: afterwards %d processors, GOGC %d", c, n, p)
		}
	}
}

// What a large reload has left behind is collected at its end: a request would have to help with it later.
func TestSpare_collects(t *testing.T) {
	var s spare
	var before, after runtime.MemStats
	for _, c := range []struct{ bytes, want int }{{1 << 10, 0}, {4 * collectAfter, 1}} {
		runtime.GC()
		giveBack := s.borrow(runtime.GOMAXPROCS(0))
		runtime.ReadMemStats(&before)
		held = make([]byte, c.bytes)
		giveBack()
		held = nil
		if runtime.ReadMemStats(&after); int(after.NumForcedGC-before.NumForcedGC) != c.want {
			t.Errorf("after %d bytes: %d collections", c.bytes, after.NumForcedGC-before.NumForcedGC)
		}
	}
}

// held is memory that a collection does not free.
var held []byte
