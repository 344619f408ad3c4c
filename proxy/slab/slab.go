package slab

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/edge-proxy/edge/internal/invariant"
)

// chunkSize is for how many holders memory is made at once: the bits of a word.
const chunkSize = 64

// kindsMax bounds the kinds. A program that reaches it makes them while it runs, and would have them for ever.
const kindsMax = 4096

// kinds is how many there are.
var kinds atomic.Int64

// Kind is a type of which each holder has one value.
type Kind[T any] struct{ slot int }

// NewKind returns a Kind of its own. It is never given back: make it once, as a variable of a package. Safe for any
// goroutine.
func NewKind[T any]() Kind[T] {
	n := kinds.Add(1)
	if n > kindsMax {
		panic("slab: more than 4096 kinds: each is to be made once, as a variable of a package")
	}
	return Kind[T]{int(n - 1)}
}

// Used says of which kinds a holder has values: a bit for each of the first 63, the last one for all others.
type Used uint64

func bitOf(slot int) Used { return 1 << min(slot, 63) }

// Set has the values of all holders of one owner. The zero value is empty.
//
//	free[i] has the bit j set == number 64*i+j is nobody's
//	a chunk i exists in a column => free[i] is not all ones
type Set struct {
	free []uint64 // owner
	low  int      // no chunk before it has a free number; owner

	grow    sync.Mutex // held to change columns, and chunks of columns
	columns atomic.Pointer[[]column]
	bytes   atomic.Int64
}

// column has the values of one Kind.
type column interface {
	size() int // of an entry
	has(chunk int) bool
	clear(n uint32)
	drop(s *Set, chunk int)
}

type columnOf[T any] struct {
	chunks atomic.Pointer[[]*[chunkSize]entry[T]]
}

// entry is a value and whether it is used. Where it is not, the value is zero.
type entry[T any] struct {
	value T
	used  bool
}

// Bytes returns how much memory the values take. Safe for any goroutine.
func (s *Set) Bytes() int64 { return s.bytes.Load() }

// Size returns how many bytes the values take that used names. Its share of the memory that its neighbours have not
// used is not among them.
func (s *Set) Size(used Used) (n int) {
	all := s.all()
	for ; used != 0; used &= used - 1 {
		slot := bits.TrailingZeros64(uint64(used))
		if slot < 63 {
			n += all[slot].size()
			continue
		}
		for _, c := range all[63:] {
			if c != nil {
				n += c.size()
			}
		}
	}
	return n
}

// Take returns the number of a new holder: the least that is free.
func (s *Set) Take() uint32 {
	for ; s.low < len(s.free); s.low++ {
		if w := s.free[s.low]; w != 0 {
			j := bits.TrailingZeros64(w)
			s.free[s.low] = w &^ (1 << j)
			return uint32(s.low*chunkSize + j)
		}
	}
	s.free = append(s.free, ^uint64(1))
	return uint32(s.low * chunkSize)
}

// Return says that a holder, which was cleared, is no more. Where its neighbours are none either, their memory is given
// back.
func (s *Set) Return(n uint32) {
	i := int(n / chunkSize)
	s.free[i] |= 1 << (n % chunkSize)
	s.low = min(s.low, i)
	if s.free[i] != ^uint64(0) {
		return
	}
	s.grow.Lock()
	defer s.grow.Unlock()
	for _, c := range s.all() {
		if c != nil {
			c.drop(s, i)
		}
	}
	if invariant.On {
		s.check()
	}
}

// Clear zeroes what the holder n has of the kinds in used.
func (s *Set) Clear(n uint32, used Used) {
	all := s.all()
	for ; used != 0; used &= used - 1 {
		slot := bits.TrailingZeros64(uint64(used))
		if slot < 63 {
			all[slot].clear(n)
			continue
		}
		for _, c := range all[63:] {
			if c != nil {
				c.clear(n)
			}
		}
	}
}

func (s *Set) all() []column {
	if all := s.columns.Load(); all != nil {
		return *all
	}
	return nil
}

// Of returns the value that the holder n has of k, zero when it was not asked for since Clear, and notes it in used. It
// allocates for the first one of 64 holders.
func (k Kind[T]) Of(s *Set, n uint32, used *Used) *T {
	var c *columnOf[T]
	if all := s.columns.Load(); all != nil && k.slot < len(*all) {
		c, _ = (*all)[k.slot].(*columnOf[T])
	}
	if c == nil {
		c = k.column(s)
	}
	at := n / chunkSize
	var chunk *[chunkSize]entry[T]
	if chunks := c.chunks.Load(); chunks != nil && int(at) < len(*chunks) {
		chunk = (*chunks)[at]
	}
	if chunk == nil {
		chunk = c.add(s, int(at))
	}
	e := &chunk[n%chunkSize]
	if !e.used {
		e.used = true
		*used |= bitOf(k.slot)
	}
	return &e.value
}

// column returns the column of k, which it makes.
func (k Kind[T]) column(s *Set) *columnOf[T] {
	s.grow.Lock()
	defer s.grow.Unlock()
	all := slices.Clone(s.all())
	for len(all) <= k.slot {
		all = append(all, nil)
	}
	c, _ := all[k.slot].(*columnOf[T])
	if c == nil {
		c = &columnOf[T]{}
		all[k.slot] = c
		s.columns.Store(&all)
	}
	return c
}

// add makes the chunk at i, unless there is one.
func (c *columnOf[T]) add(s *Set, i int) *[chunkSize]entry[T] {
	s.grow.Lock()
	defer s.grow.Unlock()
	var chunks []*[chunkSize]entry[T]
	if old := c.chunks.Load(); old != nil {
		chunks = slices.Clone(*old)
	}
	for len(chunks) <= i {
		chunks = append(chunks, nil)
	}
	if chunks[i] == nil {
		chunks[i] = new([chunkSize]entry[T])
		s.bytes.Add(int64(unsafe.Sizeof(*chunks[i])))
		c.chunks.Store(&chunks)
	}
	return chunks[i]
}

func (c *columnOf[T]) size() int { return int(unsafe.Sizeof(entry[T]{})) }

func (c *columnOf[T]) has(i int) bool {
	chunks := c.chunks.Load()
	return chunks != nil && i < len(*chunks) && (*chunks)[i] != nil
}

func (c *columnOf[T]) clear(n uint32) {
	if i := int(n / chunkSize); c.has(i) {
		(*c.chunks.Load())[i][n%chunkSize] = entry[T]{}
	}
}

// drop gives the chunk i back. Set.grow is held.
func (c *columnOf[T]) drop(s *Set, i int) {
	if !c.has(i) {
		return
	}
	chunks := slices.Clone(*c.chunks.Load())
	s.bytes.Add(-int64(unsafe.Sizeof(*chunks[i])))
	chunks[i] = nil
	c.chunks.Store(&chunks)
}

// check panics when an invariant of s does not hold.
func (s *Set) check() {
	for i, free := range s.free {
		invariant.That(i >= s.low || free == 0, "slab: number %d is free before the first chunk with one", i*chunkSize)
		for _, c := range s.all() {
			invariant.That(c == nil || free != ^uint64(0) || !c.has(i), "slab: nobody has a number of chunk %d", i)
		}
	}
}
