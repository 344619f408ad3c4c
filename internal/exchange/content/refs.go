package content

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Refs counts who uses something that is given back at once, after the last of them. Safe for any goroutine.
type Refs struct{ n atomic.Int32 }

// Init counts the owner. It is the first call.
func (r *Refs) Init() { r.n.Store(1) }

// Take counts one more, unless the last one is gone.
func (r *Refs) Take() bool {
	for n := r.n.Load(); n > 0; n = r.n.Load() {
		if r.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// Drop counts one less. It reports whether that was the last one.
func (r *Refs) Drop() (last bool) {
	n := r.n.Add(-1)
	if invariant.On {
		invariant.That(n >= 0, "something is released once too often")
	}
	return n == 0
}
