package table

import (
	"encoding/binary"
	"hash/maphash"
)

const (
	pieceBits = 18
	pieceMax  = 1 << pieceBits
	piecesMax = 1 << (32 - pieceBits)
)

// values are the texts that a map leads to, each of them once. They lie in pieces on the Go heap, which have no
// pointers: a value keeps its piece alive. A ref is the number of a piece and a place in it. No ref is 0.
// Immutable once it is built.
type values struct {
	pieces [][]byte
}

// get returns the value of a ref that is not 0.
func (v *values) get(ref uint32) []byte {
	at := v.pieces[ref>>pieceBits][ref&(pieceMax-1):]
	end := 2 + int(binary.LittleEndian.Uint16(at))
	return at[2:end:end]
}

// collector builds values. Owned by one goroutine.
type collector struct {
	values
	owner *memory // counts the pieces
	seed  maphash.Seed
	slots []uint64 // as for texts; the lower half is a ref
	left  int      // bytes of the values that are still to come, and 2 for each
	room  int      // in the last piece
}

// init is for at most n values, which have size bytes together. They are counted in owner; scratch is for the time of
// the build.
func (c *collector) init(owner, scratch *memory, n, size int) (err error) {
	c.owner, c.seed, c.left = owner, maphash.MakeSeed(), size+2*n
	c.slots, err = slice[uint64](scratch, slotsFor(n))
	return err
}

// ref returns the ref of a value, which it adds when it is new, or 0 when there is no memory for it.
func (c *collector) ref(value []byte) uint32 {
	c.left -= 2 + len(value)
	hash := maphash.Bytes(c.seed, value)
	mask := uint64(len(c.slots) - 1)
	slot := hash & mask
	for ; c.slots[slot] != 0; slot = (slot + 1) & mask {
		word := c.slots[slot]
		if (word^hash)&tagMask == 0 && string(c.get(uint32(word))) == string(value) {
			return uint32(word)
		}
	}
	ref := c.add(value)
	if ref != 0 {
		c.slots[slot] = hash&tagMask | uint64(ref)
	}
	return ref
}

// add appends a value to the last piece, or to a new one.
func (c *collector) add(value []byte) uint32 {
	n := 2 + len(value)
	if c.room < n {
		size := min(pieceMax, n+max(c.left, 0)+1)
		if len(c.pieces) == piecesMax || !c.owner.count(int64(size)) {
			return 0
		}
		c.pieces = append(c.pieces, make([]byte, size))
		c.room = size
		if len(c.pieces) == 1 {
			c.room-- // no ref is 0
		}
	}
	last := len(c.pieces) - 1
	piece := c.pieces[last]
	at := len(piece) - c.room
	binary.LittleEndian.PutUint16(piece[at:], uint16(len(value)))
	copy(piece[at+2:], value)
	c.room -= n
	return uint32(last)<<pieceBits | uint32(at)
}
