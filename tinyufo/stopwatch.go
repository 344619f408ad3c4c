package tinyufo

import (
	"context"
	"math"
	"sync/atomic"
)

// granule is the step of expiry in Bytes and Flat: 2^28 ns, so that 32 bits last for 36 years.
const granule = 28

// stopwatch tells the time since its start, by a clock or by a goroutine that it starts. Times are counted from there
// on, so that a clock may begin anywhere. Immutable once started, but for the time. Safe for any goroutine.
type stopwatch struct {
	clock  func() int64       // nil: there is the goroutine, or no time
	began  int64              // by clock
	coarse atomic.Int64       // the time of the goroutine
	stop   context.CancelFunc // ends the goroutine
}

// start begins with 0. Without a clock, and if timed, it starts the goroutine.
func (w *stopwatch) start(clock func() int64, timed bool) {
	w.clock, w.stop = clock, func() {}
	if clock != nil {
		w.began = clock()
	} else if timed {
		ctx, stop := context.WithCancel(context.Background())
		w.stop = stop
		go everyStep(ctx, 1<<granule, w.coarse.Store)
	}
}

// elapsed is the time since start in ns, never negative.
func (w *stopwatch) elapsed() int64 {
	if w.clock != nil {
		return max(0, w.clock()-w.began)
	}
	return w.coarse.Load()
}

// granules is the time since start in granules.
func (w *stopwatch) granules() uint32 { return uint32(min(w.elapsed()>>granule, math.MaxUint32)) }
