package forward

import (
	"math/bits"

	"github.com/edge-proxy/edge/engine"
)

// Waits has the arrays in which bodies had to wait, for the next bodies of a reactor: where a backend answers faster
// than a client takes it, each large answer needs one. Their memory is counted as kept. Owned by the reactor.
type Waits struct {
	Reactor *engine.Reactor
	free    [][]byte
}

const (
	heldKept = 4 << 10   // the capacity that a free Body keeps
	waitMost = 256 << 10 // of an array that is kept: the largest read of the engine
	waitsMax = 8         // arrays
)

// take returns an empty array for n bytes or more, and not for many more: a body is charged for all of it.
func (w *Waits) take(n int) []byte {
	last := len(w.free) - 1
	if last < 0 || n <= heldKept || cap(w.free[last]) < n || cap(w.free[last]) > 16*n {
		return make([]byte, 0, min(1<<bits.Len(uint(n-1)), max(n+n/4, waitMost))) // for later bodies, or too large
	}
	p := w.free[last]
	w.free[last], w.free = nil, w.free[:last]
	w.uncount(p) // the Body counts it
	return p
}

// put takes p over, which is counted. Under pressure all arrays are given up.
func (w *Waits) put(p []byte) {
	switch {
	case len(w.free) == waitsMax, cap(p) > waitMost:
		w.Reactor.Account(-cap(p))
	case w.Reactor.Keep(cap(p)):
		w.free = append(w.free, p[:0])
	default:
		for _, p := range w.free {
			w.uncount(p)
		}
		w.free = nil
	}
}

func (w *Waits) uncount(p []byte) {
	w.Reactor.Keep(-cap(p))
	w.Reactor.Account(-cap(p))
}
