package forward

import (
	"math/bits"

	"github.com/edge-proxy/edge/engine"
)

// waits has the arrays in which bodies had to wait, for the next ones: where a backend answers faster than a client
// takes it, each large answer needs one. Their memory is counted as kept. Owned by a reactor.
type waits [][]byte

// waitsMax is how many arrays are kept: each has a read of the engine, 256 KiB at most as a rule.
const waitsMax = 8

// take returns an empty array for n bytes or more.
func (w *waits) take(r *engine.Reactor, n int) []byte {
	last := len(*w) - 1
	if last < 0 || n <= heldKept || cap((*w)[last]) < n {
		return make([]byte, 0, 1<<bits.Len(uint(n-1))) // sizes that the next ones can use as well
	}
	p := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	r.Keep(-cap(p))
	r.Account(-cap(p)) // the Body counts it
	return p
}

// put takes p over, which is counted. Under pressure all arrays are given up.
func (w *waits) put(r *engine.Reactor, p []byte) {
	switch {
	case len(*w) == waitsMax:
		r.Account(-cap(p))
	case r.Keep(cap(p)):
		*w = append(*w, p[:0])
	default:
		for _, p := range *w {
			r.Keep(-cap(p))
			r.Account(-cap(p))
		}
		*w = nil
	}
}
