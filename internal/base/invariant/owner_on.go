//go:build invariants

package invariant

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Owner names the goroutine that owns an object, such as a reactor. The zero Owner names none.
type Owner struct {
	id    atomic.Uint64
	known [16]atomic.Uintptr // blocks that are known to be of the goroutine's stack
}

// Take makes the calling goroutine the owner.
func (o *Owner) Take() { o.id.Store(goroutine()) }

// Drop ends that: the object has no owner.
func (o *Owner) Drop() { o.id.Store(0) }

// stackBlock is the smallest stack: one of that size, at a multiple of it, is of a single goroutine.
const stackBlock = 2048

// OnReactor panics when o names another goroutine than the caller's.
//
// To ask for the number of a goroutine takes longer than what is checked. So it is asked once for each block of the
// stack. When the stack was moved, a block may be another goroutine's: then a fault may be missed, but none is made up.
//
//go:noinline
func OnReactor(o *Owner) {
	id := o.id.Load()
	if id == 0 {
		return
	}
	var here byte
	// SAFETY: the address is only a number here.
	block := uintptr(unsafe.Pointer(&here)) / stackBlock
	if known := &o.known[block%uintptr(len(o.known))]; known.Load() != block {
		That(goroutine() == id, "goroutine %d calls what goroutine %d owns", goroutine(), id)
		known.Store(block)
	}
}

// goroutine returns the number of the calling goroutine: its stack begins with "goroutine 7 [".
func goroutine() (id uint64) {
	var text [64]byte
	runtime.Stack(text[:], false)
	for _, c := range text[len("goroutine "):] {
		if c < '0' || c > '9' {
			break
		}
		id = 10*id + uint64(c-'0')
	}
	return id
}
