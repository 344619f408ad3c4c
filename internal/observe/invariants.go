//go:build invariants

package observe

import (
	"math"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// The walkers compare before they call That, since arguments that are printed are allocated.

// check panics when the invariants of Ring do not hold. Safe for any goroutine: head and tail only grow, so each is
// compared with a value of the other that was loaded on the safe side of it.
func (r *Ring) check() {
	first := r.head.Load()
	tail := r.tail.Load()
	if last := r.head.Load(); first > tail || last < tail && tail-last > r.size {
		invariant.That(false, "head %d to %d, tail %d, %d bytes", first, last, tail, r.size)
	}
}

// checkReserved panics when the reserved bytes of a Ring are not the producer's, not in one piece, or after a second
// gap. Producer only.
func (r *Ring) checkReserved() {
	tail, gap, head := r.tail.Load(), r.gapAt.Load(), r.head.Load()
	end := r.at + r.room
	if r.at < tail || end-head > r.size || end > lapEnd(r.at, r.size) {
		invariant.That(false, "reserved are %d to %d; head %d, tail %d", r.at, end, head, tail)
	}
	if r.at != tail && gap != math.MaxUint64 && gap >= head {
		invariant.That(false, "a gap at %d and one at %d; head %d", gap, tail, head)
	}
}
