package table

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/internal/base/yield"
)

const (
	mapLeast = 64 << 10 // smaller ones come from the Go heap: a mapping takes pages, and a process has 65530 of them
	mapPiece = 2 << 20  // so much is got or given back between two pauses
)

// flat are types without pointers: memory that the garbage collector does not see has none.
type flat interface {
	byte | uint32 | uint64 | node | line | record
}

// memory is what a table has of memory outside of the heap, or a build of one has. Its slices are valid until free.
// Owned by one goroutine until it is part of a table; after that free is called once, when nothing refers to the table.
type memory struct {
	budget *Budget
	stays  bool // beyond the build: look-ups go everywhere in it
	mapped [][]byte
	bytes  int64 // of all slices
	pace   yield.Pace
	freed  atomic.Bool
}

// slice returns n zero elements of the memory, or errMemory.
func slice[T flat](m *memory, n int) ([]T, error) {
	size := int64(n) * int64(unsafe.Sizeof(*new(T)))
	if n == 0 {
		return nil, nil
	}
	if !m.count(size) {
		return nil, errMemory
	}
	if size < mapLeast {
		return make([]T, n), nil
	}
	raw, err := mapMemory(int(size), m.stays)
	if err != nil {
		return nil, err
	}
	m.mapped = append(m.mapped, raw)
	// The kernel takes milliseconds for a large page when it has to make one of small ones. In a system call the
	// runtime gives the processor to others meanwhile, in a page fault it does not.
	m.eachPiece(raw, fillPages)
	// SAFETY: raw begins at a page, so it is aligned for T; it has n elements of T, which has no pointers, and all of
	// its bits may have any value. The slice is used until free only, by the comment of memory.
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), n), nil
}

// count adds bytes to those that the memory has, or returns false when the budget has no more.
func (m *memory) count(bytes int64) bool {
	if !m.budget.take(bytes) {
		return false
	}
	m.bytes += bytes
	return true
}

// free gives the mapped memory back, in pieces with pauses: the kernel takes milliseconds for all of a large table.
func (m *memory) free() {
	for _, raw := range m.mapped {
		m.eachPiece(raw, dropPages)
		unmapMemory(raw)
	}
	m.mapped = nil
	m.budget.give(m.bytes)
	m.freed.Store(true)
}

func (m *memory) eachPiece(raw []byte, f func(piece []byte)) {
	for at := 0; at < len(raw); at += mapPiece {
		f(raw[at:min(at+mapPiece, len(raw))])
		m.pace.Step()
	}
}

// isMapped reports whether some of it is outside of the heap.
func (m *memory) isMapped() bool { return len(m.mapped) > 0 }

const (
	collectRounds = 3
	freedWithin   = 200 * time.Millisecond
)

// awaitFree collects garbage until all that nothing refers to is free, and gives up after a while: a processor that is
// short of time may keep the goroutine that frees waiting, and then the next build asks again.
func awaitFree(all []*memory) {
	isFree := func() bool {
		return !slices.ContainsFunc(all, func(m *memory) bool { return !m.freed.Load() })
	}
	for range collectRounds {
		if isFree() {
			return
		}
		runtime.GC()
		for until := time.Now().Add(freedWithin / collectRounds); !isFree() && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
	}
}
