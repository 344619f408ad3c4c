package observe

import (
	"math"
	"sync/atomic"
)

// Ring carries lines from one producer to the writer of its Sink. It never waits: what finds no
// room is dropped and counted. Owned by its producer, but for Dropped.
//
// Positions only grow; a position's place in buf is its value modulo len(buf). A line always lies
// in one piece, so that it also reaches the output in one piece: where the end of buf is too near,
// the producer leaves a gap up to the end of the lap and says where it begins.
//
//	            tail    head          gapAt  lap end
//	     ┌────────┬───────┬─────────────┬───────┐
//	buf  │ newer  │ free  │ older lines │  gap  │   tail is one lap ahead of head
//	     └────────┴───────┴─────────────┴───────┘
//
//	head <= tail; tail-head <= len(buf)
//	bytes in [head, tail) but for the gap belong to the writer, all others to the producer
//	there is at most one gap between head and tail
//
// Ordering. The producer fills its bytes, stores gapAt, then tail; the writer loads tail, then
// gapAt, then reads bytes. Go's atomics are sequentially consistent, so a reader that sees a tail sees
// the bytes and the gap below it. A gapAt newer than the tail just loaded lies at or above that
// tail and is not met yet; it cannot have replaced a gap still needed, since the producer makes a
// gap only when head, stored by the writer after its reads, has left the lap before. The same
// store of head hands the bytes below it back.
type Ring struct {
	sink *Sink
	buf  []byte
	size uint64

	tail    atomic.Uint64  // written by the producer
	gapAt   atomic.Uint64  // written by the producer
	at      uint64         // where the reserved bytes begin
	room    uint64         // how many were reserved
	seen    uint64         // head as last loaded by the producer
	dropped *atomic.Uint64 // apart: counters are read for as long as the program runs, also when the ring is gone
	// Written by the writer, but once per piece of many lines: a cache line of its own made no
	// difference in BenchmarkRing_write.
	head atomic.Uint64
	_    [32]byte // up to 128, to keep two rings apart
}

func newRing(sink *Sink, size int) *Ring {
	r := &Ring{sink: sink, buf: make([]byte, size), size: uint64(size), dropped: new(atomic.Uint64)}
	r.gapAt.Store(math.MaxUint64)
	return r
}

// Reserve returns an empty slice with a capacity of n bytes to append one line to, newline
// included, or nil when there is no room for n; then the line counts as dropped. The slice is
// borrowed until Commit; a Reserve without Commit has no effect. n above half of the ring never
// fits.
func (r *Ring) Reserve(n int) []byte {
	if n <= 0 || uint64(n) > r.size/2 || r.sink.state.Load() == closed {
		r.dropped.Add(1)
		return nil
	}
	tail := r.tail.Load()
	at, want := tail, uint64(n)
	if left := r.size - tail&(r.size-1); left < want {
		at += left
		want += left
	}
	if tail-r.seen+want > r.size {
		r.seen = r.head.Load()
		if tail-r.seen+want > r.size {
			r.dropped.Add(1)
			return nil
		}
	}
	r.at, r.room = at, uint64(n)
	r.checkReserved()
	from := at & (r.size - 1)
	return r.buf[from : from : from+uint64(n)]
}

// Commit passes the first n bytes of the reserved slice on to the writer. They are whole lines.
func (r *Ring) Commit(n int) {
	if n <= 0 || uint64(n) > r.room {
		panic("observe: Commit without a Reserve of that size")
	}
	r.room = 0
	if tail := r.tail.Load(); tail != r.at {
		r.gapAt.Store(tail)
	}
	r.tail.Store(r.at + uint64(n))
	r.check()
	// The writer sets state before it looks at tail a last time, we set tail before we look at
	// state: one of us sees the other.
	if state := r.sink.state.Load(); state != awake {
		r.rouse(state)
	}
}

// Write is Reserve, copy and Commit. It reports whether the line found room; line is borrowed
// until return.
func (r *Ring) Write(line []byte) bool {
	b := r.Reserve(len(line))
	if b == nil {
		return false
	}
	r.Commit(copy(b[:len(line)], line))
	return true
}

// Dropped is how many lines found no room. Safe for any goroutine.
func (r *Ring) Dropped() uint64 { return r.dropped.Load() }

// rouse wakes the writer if it wants to be woken for what lies in r.
func (r *Ring) rouse(state uint32) {
	if state == dozing {
		tail := r.tail.Load()
		if tail-r.seen < r.size/4 {
			return
		}
		if r.seen = r.head.Load(); tail-r.seen < r.size/4 {
			return
		}
	}
	r.sink.rouse(state)
}

// peek returns lines that lie in one piece, nil when there are none. Writer only.
func (r *Ring) peek() []byte {
	tail := r.tail.Load()
	head := r.head.Load()
	if head == tail {
		return nil
	}
	r.check()
	gap := r.gapAt.Load()
	if head == gap {
		head = lapEnd(head, r.size)
		r.head.Store(head)
	}
	end := min(tail, lapEnd(head, r.size))
	if head < gap && gap < end {
		end = gap
	}
	from := head & (r.size - 1)
	return r.buf[from : from+end-head]
}

// advance hands n peeked bytes back to the producer. Writer only.
func (r *Ring) advance(n int) {
	r.head.Store(r.head.Load() + uint64(n))
	r.check()
}

// holds is how many bytes of the ring are in use. Writer only.
func (r *Ring) holds() uint64 { return r.tail.Load() - r.head.Load() }

// lapEnd is the first multiple of size above at.
func lapEnd(at, size uint64) uint64 { return (at | (size - 1)) + 1 }
