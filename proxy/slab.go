package proxy

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// chunkSize is for how many holders memory is made at once: the bits of a word.
const chunkSize = 64

// localsMax bounds the Locals. A program that reaches it makes them while it runs, and would have them for ever.
const localsMax = 4096

// locals is how many there are.
var locals atomic.Int64

// Local is state that filters keep with an exchange: a T for each, without an allocation. It is zero at the beginning
// and zeroed when the log record was written. Make it once, as a variable of a package: there may be 4096 in a process,
// and none is given back.
//
//	var user = proxy.NewLocal[User]()
//
//	func request(x *proxy.Exchange) proxy.Verdict {
//		user.Of(x).Name = …
type Local[T any] struct{ slot int }

// NewLocal makes a Local. Safe for any goroutine.
func NewLocal[T any]() Local[T] {
	n := locals.Add(1)
	if n > localsMax {
		panic("proxy: more than 4096 Locals: each is to be made once, as a variable of a package")
	}
	return Local[T]{int(n - 1)}
}

// slabUsed says of which Locals a holder has values: a bit for each of the first 63, the last one for all others.
type slabUsed uint64

func bitOf(slot int) slabUsed { return 1 << min(slot, 63) }

// slab keeps the values of all Locals for the exchanges of a reactor, without an allocation for each: a slot of every
// Local for every exchange, its holder, found by the number of the exchange. The zero value is empty.
//
//	Local ─► slab.columns[slot] ─► chunks[number/64] ─► entry[number%64] ─► value
//	one in a process    one for each reactor       made when an entry of it is used, given back when its numbers are
//
// Owned by its reactor, which alone takes and returns numbers and clears what they have. Local.of may also be called by
// the goroutine that owns the holder of a number at the time; the two meet where a slab grows, which a mutex guards.
// Values do not move: a pointer holds until its number is cleared.
//
//	free[i] has the bit j set == number 64*i+j is free
//	a chunk i exists in a column => free[i] is not all ones
type slab struct {
	free []uint64 // owner
	low  int      // no chunk before it has a free number; owner

	grow    sync.Mutex // held to change columns, and chunks of columns
	columns atomic.Pointer[[]column]
	bytes   atomic.Int64
}

// column has the values of one Local.
type column interface {
	size() int // of an entry
	has(chunk int) bool
	clear(n uint32)
	copy(s *slab, from, to uint32)
	drop(s *slab, chunk int)
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
func (s *slab) Bytes() int64 { return s.bytes.Load() }

// Size returns how many bytes the values take that used names. Its share of the memory that its neighbours have not
// used is not among them.
func (s *slab) Size(used slabUsed) (n int) {
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
func (s *slab) Take() uint32 {
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
func (s *slab) Return(n uint32) {
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

// Copy gives the holder to, which has no values, copies of those that from has of the Locals in used. It returns used.
func (s *slab) Copy(from, to uint32, used slabUsed) slabUsed {
	all := s.all()
	for rest := used; rest != 0; rest &= rest - 1 {
		slot := bits.TrailingZeros64(uint64(rest))
		if slot < 63 {
			all[slot].copy(s, from, to)
			continue
		}
		for _, c := range all[63:] {
			if c != nil {
				c.copy(s, from, to)
			}
		}
	}
	return used
}

// Clear zeroes what the holder n has of the Locals in used.
func (s *slab) Clear(n uint32, used slabUsed) {
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

func (s *slab) all() []column {
	if all := s.columns.Load(); all != nil {
		return *all
	}
	return nil
}

// of returns the value that the holder n has of l, zero when it was not asked for since Clear, and notes it in used. It
// allocates for the first one of 64 holders.
func (l Local[T]) of(s *slab, n uint32, used *slabUsed) *T {
	var c *columnOf[T]
	if all := s.columns.Load(); all != nil && l.slot < len(*all) {
		c, _ = (*all)[l.slot].(*columnOf[T])
	}
	if c == nil {
		c = l.column(s)
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
		*used |= bitOf(l.slot)
	}
	return &e.value
}

// column returns the column of l, which it makes.
func (l Local[T]) column(s *slab) *columnOf[T] {
	s.grow.Lock()
	defer s.grow.Unlock()
	all := slices.Clone(s.all())
	for len(all) <= l.slot {
		all = append(all, nil)
	}
	c, _ := all[l.slot].(*columnOf[T])
	if c == nil {
		c = &columnOf[T]{}
		all[l.slot] = c
		s.columns.Store(&all)
	}
	return c
}

// add makes the chunk at i, unless there is one.
func (c *columnOf[T]) add(s *slab, i int) *[chunkSize]entry[T] {
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

func (c *columnOf[T]) copy(s *slab, from, to uint32) {
	i := int(from / chunkSize)
	if !c.has(i) {
		return
	}
	e := (*c.chunks.Load())[i][from%chunkSize]
	if !e.used {
		return
	}
	if at := int(to / chunkSize); !c.has(at) {
		c.add(s, at)
	}
	(*c.chunks.Load())[to/chunkSize][to%chunkSize] = e
}

// drop gives the chunk i back. slab.grow is held.
func (c *columnOf[T]) drop(s *slab, i int) {
	if !c.has(i) {
		return
	}
	chunks := slices.Clone(*c.chunks.Load())
	s.bytes.Add(-int64(unsafe.Sizeof(*chunks[i])))
	chunks[i] = nil
	c.chunks.Store(&chunks)
}

// check panics when an invariant of s does not hold.
func (s *slab) check() {
	for i, free := range s.free {
		invariant.That(i >= s.low || free == 0, "slab: number %d is free before the first chunk with one", i*chunkSize)
		for _, c := range s.all() {
			invariant.That(c == nil || free != ^uint64(0) || !c.has(i), "slab: nobody has a number of chunk %d", i)
		}
	}
}
