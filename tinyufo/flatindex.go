package tinyufo

import (
	"math/bits"
	"unsafe"
)

const (
	// flatLoad is how many entries a full Flat has for each place of its index: with more of them more chains
	// are full, with fewer an entry takes more memory.
	flatLoad = 0.82

	passed      = 1 << 48 // one entry that has its home here or before, and its place after
	passedShift = 48
)

// flatBucket is half a cache line. A lane of its word describes the number of the same lane.
//
//	word     63…48 passed │ 47…40 lane 5 │ … │ 7…0 lane 0        lane: tag 6 │ uses 2
//	numbers  six: more bits of the hash │ slot
//
// passed counts the entries that were placed further on because this bucket was full.
type flatBucket struct {
	word    sharedWord
	numbers [slotCount]sharedHalf
}

// at is the number that a lane, given as the number of its first bit, describes.
func (b *flatBucket) at(lane uint) *sharedHalf {
	// SAFETY: a lane has 8 bits and a number 4 bytes, so the offset is half the bit, and below 4*slotCount.
	return (*sharedHalf)(unsafe.Add(unsafe.Pointer(&b.numbers), lane/2))
}

// use counts a hit of the entry in lane, where word is what the reader saw. It tries once, as bucket.use does.
func (b *flatBucket) use(word uint64, lane uint) {
	if word>>lane&usesMax != usesMax {
		b.word.CompareAndSwap(word, word+1<<lane)
	}
}

// passedNow is how many entries were placed further on. A reader that has not found its key asks after it has looked at
// the lanes: the entry may have moved on since it loaded their tags, and another may have its lane.
func (b *flatBucket) passedNow() uint64 { return b.word.Load() >> passedShift }

// flatIndex finds slots by hash. Each shard has its part of the buckets, the hashes of which have the same first bits.
// A hash has four buckets, in this order: its home, the other one in the same cache line, and the two of another line
// of its part. Changed under the mutex of the shard, but for the uses; read by any goroutine.
//
// An entry only moves to a later one of its buckets, and is in both until it has moved. A reader looks at them in their
// order, and so does not miss it: as long as it is further on, passed of the buckets before it is not 0.
type flatIndex struct {
	buckets []flatBucket
	bits    uint   // of a number, for the slot; those above are of the hash
	slots   uint32 // how many there are
	shift   uint   // of a hash, to have the number of its shard
	part    uint64 // buckets of a shard, an even number
}

// newFlatIndex makes an index for so many slots in each of so many shards, which is a power of two.
func newFlatIndex(slots, shards int) flatIndex {
	lines := int(float64(slots)/(2*slotCount*flatLoad)) + 1
	all := slots * shards
	return flatIndex{buckets: make([]flatBucket, 2*lines*shards), bits: uint(bits.Len(uint(all))), slots: uint32(all),
		shift: uint(33 - bits.Len(uint(shards))), part: uint64(2 * lines)}
}

// home is the number of the first bucket of a hash.
func (x *flatIndex) home(hash uint32) uint64 { return uint64(hash) * uint64(len(x.buckets)) >> 32 }

func (x *flatIndex) bucket(i uint64) *flatBucket {
	// SAFETY: i < len(x.buckets): home is because hash < 2^32, and after stays in the part of the shard.
	first := unsafe.Pointer(unsafe.SliceData(x.buckets))
	return (*flatBucket)(unsafe.Add(first, i*uint64(unsafe.Sizeof(flatBucket{}))))
}

// after is the bucket of a hash at a depth, 0 … depthMax-1.
func (x *flatIndex) after(hash uint32, depth int) *flatBucket {
	home := x.home(hash)
	if depth >= 2 {
		first := uint64(hash) >> x.shift * x.part
		home = first + uint64(hash*0x9e37_79b1)*x.part>>32
	}
	return x.bucket(home ^ uint64(depth&1))
}

// mark is what a number has above the bits of its slot: with it a slot of another hash is seldom looked at.
func (x *flatIndex) mark(hash uint64) uint32 { return uint32(hash>>32) << (x.bits & 31) }

func (x *flatIndex) bucketAt(hash uint32, p place) *flatBucket {
	return x.after(hash, p.depth())
}

// flatTag is the tag of a hash as it stands in a lane: six bits, never zero.
func flatTag(hash uint32) uint64 {
	tag := uint64(hash) & 0x3f
	return (tag + (tag-1)>>63) << 2
}

// flatMatch returns the top bit of each lane of word whose tag is the tag that each lane of tags has. No lane borrows
// from the next: the two low bits are masked out, so that half of what remains is at most 0x7e.
func flatMatch(word, tags uint64) uint64 {
	const tagMask = 0xfc * lanes
	return (tagFound - ((word&tagMask)^tags)>>1) & tagFound
}

// add leads a hash to a slot, from the first of its buckets from a depth on that has room. It fails when none has. The
// state of its lane is a tag and uses.
func (x *flatIndex) add(hash, number uint32, state uint64, from int) (p place, added bool) {
	for depth := from; depth < depthMax; depth++ {
		b := x.after(hash, depth)
		empty := flatMatch(b.word.Load(), 0)
		if empty == 0 {
			continue
		}
		lane := laneOf(empty)
		for d := range depth { // before the tag: a reader who can find the entry does
			x.after(hash, d).word.Add(passed)
		}
		b.at(lane).Store(number)
		b.word.Add(state << lane)
		return place(depth<<3) | place(lane/8), true
	}
	return 0, false
}

// advance moves an entry from its place to the other line of its hash. It fails when it is there, or that is full.
func (x *flatIndex) advance(hash uint32, p place) (to place, moved bool) {
	if p.depth() >= 2 {
		return 0, false
	}
	b, lane := x.bucketAt(hash, p), p.lane()
	to, moved = x.add(hash, b.at(lane).Load(), b.word.Load()>>lane&0xff, 2)
	if moved {
		x.remove(hash, p)
	}
	return to, moved
}

func (x *flatIndex) remove(hash uint32, p place) {
	x.bucketAt(hash, p).word.And(^(uint64(0xff) << p.lane()))
	for d := range p.depth() {
		x.after(hash, d).word.Add(^uint64(passed - 1))
	}
}

// crowd calls visit with the slots of all entries in the buckets of a hash, which are full, and with their uses, until
// it returns true.
func (x *flatIndex) crowd(hash uint32, visit func(slot uint32, uses uint64) bool) bool {
	for depth := range depthMax {
		b := x.after(hash, depth)
		word := b.word.Load()
		for lane := uint(0); lane < 8*slotCount; lane += 8 {
			if visit(b.at(lane).Load()&(1<<x.bits-1), word>>lane&usesMax) {
				return true
			}
		}
	}
	return false
}
