package cache

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/cache/policy"
)

// growth is an answer on its way to the store: a record, of which the head is here and the body comes, to the record or
// to a file. Written by the reactor of its fill, before mark says so. Any reactor may read the bytes below mark.
//
//	bytes below mark are never written again; mark never falls
type growth struct {
	buf    *buffer
	bytes  []byte // of buf: the record
	length int64  // of the body; below 0: it is not stated
	file   *body  // has the body; nil: the record has
	from   source
	// unasked is the size up to which the body is fetched without a follower, as the route was charged for it; 0:
	// it was not charged; below 0: there is no bound.
	unasked int64

	mark  atomic.Int64  // bytes of the body that are here
	taken atomic.Uint64 // up to where a follower has taken it, where it is in a file
	paced atomic.Bool   // the backend waits for that, or is about to
}

// source is where an answer is from. Only the answer of a backend is written to disk.
type source uint8

const (
	aBackend source = iota
	theStore        // a backend has confirmed it, or has failed
	aDisk
)

const (
	aheadMax  = 8 << 20 // bytes that the backend may be ahead of the fastest follower
	finishMax = 8 << 20 // bytes that are fetched, or were, when there is no follower any more
)

// begin makes g, which is free, ready for another answer.
func (g *growth) begin() {
	g.length, g.from, g.unasked = -1, aBackend, 0
	g.mark.Store(0)
	g.taken.Store(0)
	g.paced.Store(false)
}

// keep makes head, and room for the body after it, the record.
func (g *growth) keep(z *Zone, head record, room int, stamp, confirmed uint64) {
	head.setStamps(stamp, confirmed)
	g.buf = z.takeBuffer(len(head) + room)
	g.bytes = g.buf.bytes[:len(head)+room]
	copy(g.bytes, head)
}

// draft returns the draft of the body; nil: it is not written to disk while it comes.
func (g *growth) draft() *draft {
	if g.file == nil {
		return nil
	}
	return g.file.draft
}

// headLen returns where the body begins in bytes, which has a head.
func (g *growth) headLen() int { return record(g.bytes).headLen() }

// makeRoom makes room for n further bytes of a body that has most of them at most. It returns why they are not stored.
func (g *growth) makeRoom(b *bodies, n int, most int64) policy.Reason {
	mark := g.mark.Load()
	switch need := mark + int64(n); {
	case need > min(most, b.largest()):
		return policy.ReasonTooLarge
	case g.file != nil:
		if !g.file.grow(need) {
			return policy.ReasonCrowd
		}
	case need > bodyMax:
		file := b.begin(need)
		if file == nil {
			return policy.ReasonCrowd
		}
		if !file.write(g.bytes[g.headLen():][:mark], 0) {
			file.Release()
			return policy.ReasonCrowd
		}
		g.file = file
	}
	return policy.ReasonNone
}

// write adds p to the body. It reports false where the system has no memory for it.
func (g *growth) write(p []byte) bool {
	mark := g.mark.Load()
	if g.file == nil {
		copy(g.bytes[g.headLen()+int(mark):], p)
	} else if !g.file.write(p, mark) {
		return false
	}
	g.mark.Add(int64(len(p)))
	return true
}

// took notes up to where a follower has taken the body. It reports whether the backend, which waits for that, goes on.
func (g *growth) took(n int) bool {
	if g.file == nil {
		return false
	}
	raise(&g.taken, uint64(n))
	return g.paced.Load() && !g.isAhead() && g.paced.CompareAndSwap(true, false)
}

// isAhead reports whether the backend is too far ahead of followers.
func (g *growth) isAhead() bool { return g.mark.Load()-int64(g.taken.Load()) > aheadMax }

// waits reports whether the backend waits until took says that it goes on.
func (g *growth) waits() bool {
	g.paced.Store(g.isAhead())
	return g.paced.Load() && g.isAhead() // once more: took, on another reactor, may have found that it is not paced
}

// rest returns how many bytes of the body are to come, or may be; worth says that they are few enough to be fetched
// although g has no follower.
func (g *growth) rest() (n int64, worth bool) {
	n = g.mark.Load()
	if g.length < 0 {
		return finishMax, n <= finishMax
	}
	n = g.length - n
	return n, n <= finishMax
}

// record returns the record once the answer is whole, and gives its body to b if that is in a file. It uses memory.
func (g *growth) record(b *bodies, memory []byte) (r record, used []byte) {
	n := g.mark.Load()
	if g.file != nil {
		g.file.settle()
		b.keep(g.file)
		r = record(append(memory[:0], g.bytes[:g.headLen()]...)).appendFile(g.file.number, n)
		return r, r
	}
	if r = g.bytes[:g.headLen()+int(n)]; g.length < 0 { // no follower reads it yet
		r.setBodyLen(int(n))
	}
	return r, memory
}

// free gives back what g has.
func (g *growth) free(z *Zone) {
	if g.buf != nil {
		z.giveBuffer(g.buf)
		g.buf, g.bytes = nil, nil
	}
	if g.file != nil {
		g.file.Release()
		g.file = nil
	}
}
