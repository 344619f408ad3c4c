package upstream

import (
	"math/bits"
	"sync/atomic"
)

// census is a number for each reactor, which that reactor writes and the others read, and a bit for each number that
// may not be 0. A reader that looks for the others reads one cache line for 64 reactors and one for each bit that is
// set. Safe for any goroutine, but for the two ways to write, of which each census has one.
//
// All operations are sequentially consistent. mark keeps the bit of a number that became 0: connections are parked and
// taken all the time, and every reactor reads and writes the line of the bits. The reader clears such a bit, and then
// looks at the number once more; the writer stores the number and then looks at the bit. So at least one of the two
// sees the other, and a bit that is clear for good stands for 0. In between a reader may miss a number. tell keeps bit
// and number together: the bit is set before tell returns, and the writer may then look whether what it waits for has
// come.
type census struct {
	cells []cell
	some  []word
}

// cell is a number that one reactor writes and the others read: alone on its cache line, since it is written with
// every connection that is parked or taken.
type cell struct {
	atomic.Int64
	_ [56]byte
}

// word is the bits of 64 reactors, apart from all else: processors fetch cache lines by twos.
type word struct {
	atomic.Uint64
	_ [120]byte
}

func newCensus(reactors int) census {
	return census{make([]cell, reactors), make([]word, (reactors+63)/64)}
}

// mark stores the number of reactor i, which the readers may miss for a moment. On reactor i only, and not with tell.
func (c *census) mark(i int, n int64) {
	c.cells[i].Store(n)
	if w, bit := &c.some[i/64], uint64(1)<<(i%64); n != 0 && w.Load()&bit == 0 {
		w.Or(bit)
	}
}

// unmark clears the bit of reactor i, whose number was read as 0, unless it is another one by now.
func (c *census) unmark(i int) {
	w, bit := &c.some[i/64], uint64(1)<<(i%64)
	w.And(^bit)
	if c.cells[i].Load() != 0 {
		w.Or(bit)
	}
}

// tell stores the number of reactor i, which no reader misses from then on. On reactor i only, and not with mark.
func (c *census) tell(i int, n int64) {
	w, bit := &c.some[i/64], uint64(1)<<(i%64)
	c.cells[i].Store(n)
	switch has := w.Load()&bit != 0; {
	case n != 0 && !has:
		w.Or(bit)
	case n == 0 && has:
		w.And(^bit)
	}
}

// next returns the first reactor from i on whose bit is set, -1 when there is none.
func (c *census) next(i int) int {
	for k := i / 64; k < len(c.some); k++ {
		set := c.some[k].Load()
		if k == i/64 {
			set &= ^uint64(0) << (i % 64)
		}
		if set != 0 {
			return k*64 + bits.TrailingZeros64(set)
		}
	}
	return -1
}
