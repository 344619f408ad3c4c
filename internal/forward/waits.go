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
		// A power of two is of use to later bodies. A larger array is not kept, and has some room to grow.
		return make([]byte, 0, min(1<<bits.Len(uint(n-1)), max(n+n/4, waitMost)))
	}
	p := w.free[last]
	w.free[last], w.free = nil, w.free[:last]
	w.uncount(p) // the Body counts it
	return p
}

// put keeps p for later bodies, if it is of use to them. Under pressure all arrays are given up.
func (w *Waits) put(p []byte) {
	if len(w.free) == waitsMax || cap(p) > waitMost {
		return
	}
	w.Reactor.Account(cap(p))
	if w.Reactor.Keep(cap(p)) {
		w.free = append(w.free, p[:0])
		return
	}
	for _, p := range w.free {
		w.uncount(p)
	}
	w.free = nil
}

func (w *Waits) uncount(p []byte) {
	w.Reactor.Keep(-cap(p))
	w.Reactor.Account(-cap(p))
}
