package tinyufo

import (
	"math/bits"
	"runtime"
	"unsafe"
)

const (
	slotCount = 6 // with the word and the link: 64 bytes, one cache line

	usesMax = 3  // the hits that can be counted for a slot
	usesBit = 48 // of a word, where the uses of the first slot are

	lanes    = 0x0000_0101_0101_0101 // a one in each lane
	tagFound = 0x80 * lanes

	locked = 1 << 63 // a goroutine changes which keys the chain that begins here holds
	moved  = 1 << 62 // the chain is in the next table, or just on its way there

	depthMax = 4 // buckets in one chain: two bits of a place. With a mean of 5 one chain in 10^9 is longer

	// loadMean is how many entries a table that is full has for each of its buckets. One bucket in seven has
	// then a second one, and one hit in eighteen reads it. Above loadMost the table grows.
	loadMean = 4.25
	loadMost = 5

	// moveStep is how many buckets each insertion moves while a table grows: more than what the entries that it
	// takes to fill the next table would need.
	moveStep = 2
)

// bucket is one cache line. A lane of its word describes the slot of the same number, and so do two bits of uses.
//
//	word   63 locked │ 62 moved │ 59…58 uses 5 │ … │ 49…48 uses 0 │ 47…40 tag 5 │ … │ 7…0 tag 0
//	slots  six entries
//	next   the next bucket of the chain, or nil
//
// A tag is eight bits of the hash, never zero: a lane that is zero belongs to an empty slot, for which a late reader
// may have left a use. Uses say how often readers have hit the entry since the policy last looked, three at most.
// locked and moved of the first bucket hold for its chain.
type bucket[K comparable, V any] struct {
	word sharedWord
	slot [slotCount]sharedPointer[entry[K, V]]
	next sharedPointer[bucket[K, V]]
}

// table is a hash table of chains of buckets. When it is too small, next is one of twice the size, and its
// chains move there one by one: each before it is changed, and some more with each insertion.
type table[K comparable, V any] struct {
	hasher  *hasher[K]
	buckets []bucket[K, V]

	next   sharedPointer[table[K, V]]
	cursor sharedCount // the first bucket that no insertion has been told to move
	left   sharedCount // buckets that have not moved
}

func newTable[K comparable, V any](h *hasher[K], buckets int) *table[K, V] {
	t := &table[K, V]{hasher: h, buckets: make([]bucket[K, V], max(1, buckets))}
	t.left.Store(int64(len(t.buckets)))
	return t
}

// home is the first bucket for a hash. The product keeps the order of hashes: a table of any length is filled
// evenly, and in one of twice the length the hashes of a bucket are in two neighbours.
func (t *table[K, V]) home(hash uint32) *bucket[K, V] {
	return t.bucket(t.index(hash))
}

// index is the number of home.
func (t *table[K, V]) index(hash uint32) uint64 { return uint64(hash) * uint64(len(t.buckets)) >> 32 }

func (t *table[K, V]) bucket(i uint64) *bucket[K, V] {
	// SAFETY: i < len(t.buckets), for home because hash < 2^32. Without the check of bounds a hit is 3 % cheaper.
	first := unsafe.Pointer(unsafe.SliceData(t.buckets))
	return (*bucket[K, V])(unsafe.Add(first, i*uint64(unsafe.Sizeof(bucket[K, V]{}))))
}

// tagOf is the tag of a hash as it stands in a lane. Its bits are those that home needs last.
func tagOf(hash uint32) uint64 {
	tag := uint64(hash) & 0xff
	return tag + (tag-1)>>63
}

// match returns the top bit of each lane of word that equals the lane of tags. Above such a lane it may return the bit
// of a lane that differs by one, too, because of a borrow: the lowest is always right, and any other is a slot to look
// into.
func match(word, tags uint64) uint64 {
	differ := word ^ tags
	return (differ - lanes) &^ differ & tagFound
}

// laneOf is the lane of the lowest match, as the number of its first bit.
func laneOf(found uint64) uint { return uint(bits.TrailingZeros64(found)) &^ 7 }

// usesAt is the first bit of the uses of the slot of a lane.
func usesAt(lane uint) uint { return usesBit + lane/4 }

// at is the slot that a lane, given as the number of its first bit, describes.
func (b *bucket[K, V]) at(lane uint) *sharedPointer[entry[K, V]] {
	// SAFETY: a lane has 8 bits and a slot 8 bytes, so the number of the bit is the offset, and below 8*slotCount.
	return (*sharedPointer[entry[K, V]])(unsafe.Add(unsafe.Pointer(&b.slot), lane))
}

// lookup finds the entry of key, its bucket and its lane, for a caller that may change it. The bucket is nil when there
// is none. Where a chain is on its way lookup waits: the slot that an entry goes to is the mover's until the slot that
// it comes from is empty.
func (t *table[K, V]) lookup(hash uint32, key K) (b *bucket[K, V], lane uint, e *entry[K, V]) {
	for {
		if b, lane, e = t.inChain(hash, key); b != nil {
			return b, lane, e
		}
		next := t.successor(hash)
		if next == nil {
			return nil, 0, nil
		}
		t.awaitMove(hash)
		t = next
	}
}

// inChain is lookup in this table alone.
func (t *table[K, V]) inChain(hash uint32, key K) (b *bucket[K, V], lane uint, e *entry[K, V]) {
	tags := tagOf(hash) * lanes
	for b = t.home(hash); b != nil; b = b.next.Load() {
		for found := match(b.word.Load(), tags); found != 0; found &= found - 1 {
			lane = laneOf(found)
			if e = b.at(lane).Load(); e != nil && e.key == key {
				return b, lane, e
			}
		}
	}
	return nil, 0, nil
}

// awaitMove waits until a chain that has begun to move has moved.
func (t *table[K, V]) awaitMove(hash uint32) {
	head := t.home(hash)
	head.lock()
	head.unlock()
}

// successor is the table to look in after this one for a key that was not found: nil, unless its chain has moved.
// An entry is in the next table before it leaves this one, and moved is set before both.
func (t *table[K, V]) successor(hash uint32) *table[K, V] {
	if t.home(hash).word.Load()&moved == 0 {
		return nil
	}
	return t.next.Load()
}

// use counts a hit of the entry in lane, where word is what the reader saw. It tries once: losing means that
// another reader, or a writer, has changed the word of the bucket.
func (b *bucket[K, V]) use(word uint64, lane uint) {
	if at := usesAt(lane); word>>at&usesMax != usesMax {
		b.word.CompareAndSwap(word, word+1<<at)
	}
}

// lock makes the caller alone in changing which keys the chain of b holds. It is held for some tens of ns.
func (b *bucket[K, V]) lock() {
	for spins := 1; ; spins++ {
		word := b.word.Load()
		if word&locked == 0 && b.word.CompareAndSwap(word, word|locked) {
			return
		}
		if spins%16 == 0 {
			runtime.Gosched() // its holder may have been preempted
		}
	}
}

func (b *bucket[K, V]) unlock() { b.word.And(^uint64(locked)) }

// lockHome locks the chain of a hash in the newest table that it is in. When a table grows the chain is moved
// before.
func (t *table[K, V]) lockHome(hash uint32) (*table[K, V], *bucket[K, V]) {
	for {
		head := t.home(hash)
		head.lock()
		next := t.next.Load()
		if next == nil {
			return t, head
		}
		if head.word.Load()&moved == 0 {
			t.move(t.index(hash), next)
		}
		head.unlock()
		t = next
	}
}

// place says where in its chain an entry is. It stays the same as long as the key is cached, also when the
// table grows.
//
//	queue 2 │ young 1 │ depth 2 │ lane 3
type place uint8

func (p place) lane() uint { return uint(p) & 7 * 8 }

func (p place) depth() int { return int(p >> 3 & 3) }

// bucketAt is the bucket of a chain that p is in, in the newest table that the chain has moved to.
func (t *table[K, V]) bucketAt(hash uint32, p place) *bucket[K, V] {
	b := t.home(hash)
	for b.word.Load()&moved != 0 {
		t.awaitMove(hash)
		t = t.next.Load()
		b = t.home(hash)
	}
	for range p.depth() {
		b = b.next.Load()
	}
	return b
}

// add publishes e unless its key is present, or there is no place for it: its chain is full, or its key would
// be lost. where is set before.
func (t *table[K, V]) add(hash uint32, e *entry[K, V], where *place) (added, full bool) {
	if t.hasher.lost(e.key) {
		return false, true
	}
	_, head := t.lockHome(hash)
	tag := tagOf(hash)
	var room, last *bucket[K, V]
	var at, depth place
	for b := head; b != nil; b, depth = b.next.Load(), depth+1 {
		word := b.word.Load()
		for found := match(word, tag*lanes); found != 0; found &= found - 1 {
			if old := b.at(laneOf(found)).Load(); old != nil && old.key == e.key {
				head.unlock()
				return false, false
			}
		}
		if empty := match(word, 0); room == nil && empty != 0 {
			room, at = b, depth<<3|place(laneOf(empty)/8)
		}
		last = b
	}
	switch {
	case room != nil:
		*where = at
		lane := at.lane()
		// The tag comes first: a reader that has read the word long ago may look at the slot before the tag is
		// there, and must not find what others cannot find yet.
		room.word.Add(tag << lane)
		room.at(lane).Store(e)
	case depth < depthMax:
		*where = depth << 3
		b := new(bucket[K, V])
		b.slot[0].Store(e)
		b.word.Store(tag)
		last.next.Store(b)
	default:
		full = true
	}
	head.unlock()
	return !full, full
}

// takeOut empties the slot of a place, and returns what it held last. Guarded by the mutex of the entry's shard.
func (t *table[K, V]) takeOut(hash uint32, p place) *entry[K, V] {
	t, head := t.lockHome(hash)
	return t.clear(head, t.bucketAt(hash, p), p.lane())
}

// takeOutKey is takeOut for a key whose place is not known. It returns nil when the key is absent, or when only
// is neither nil nor what the slot holds.
func (t *table[K, V]) takeOutKey(hash uint32, key K, only *entry[K, V]) *entry[K, V] {
	t, head := t.lockHome(hash)
	b, lane, e := t.lookup(hash, key)
	switch {
	case b == nil:
	case only == nil:
		return t.clear(head, b, lane)
	case only == e && b.at(lane).CompareAndSwap(e, nil):
		t.clear(head, b, lane)
		return e
	}
	head.unlock()
	return nil
}

// clear empties a slot of the chain that begins at head, and unlocks it.
func (t *table[K, V]) clear(head, b *bucket[K, V], lane uint) *entry[K, V] {
	e := b.at(lane).Swap(nil)
	empty := uint64(0xff)<<lane | usesMax<<usesAt(lane)
	if b == head {
		head.word.And(^(empty | locked))
		return e
	}
	b.word.And(^empty)
	head.unlock()
	return e
}

// grow begins to move the chains into a table of twice the size. It fails when they are on their way already.
func (t *table[K, V]) grow() {
	if t.next.Load() == nil {
		t.next.CompareAndSwap(nil, newTable[K, V](t.hasher, 2*len(t.buckets)))
	}
}

// moveSome moves a few chains, if the table grows, and returns the newest table that all of them have moved to.
func (t *table[K, V]) moveSome() *table[K, V] {
	next := t.next.Load()
	if next == nil {
		return t
	}
	for range moveStep {
		i := t.cursor.Add(1) - 1
		if i >= int64(len(t.buckets)) {
			break
		}
		t.moveOnce(uint64(i), next)
	}
	if t.left.Load() == 0 {
		return next
	}
	return t
}

// finish moves all chains that have not moved.
func (t *table[K, V]) finish() {
	next := t.next.Load()
	for i := range t.buckets {
		t.moveOnce(uint64(i), next)
	}
}

// moveOnce moves the chain of bucket i to next unless it has moved.
func (t *table[K, V]) moveOnce(i uint64, next *table[K, V]) {
	head := t.bucket(i)
	head.lock()
	if head.word.Load()&moved == 0 {
		t.move(i, next)
	}
	head.unlock()
}

// move moves the chain of bucket i, which the caller has locked, to next: each entry to the same lane and
// depth. No other goroutine changes the two chains there meanwhile but to replace entries, since the way to them goes
// through this lock.
func (t *table[K, V]) move(i uint64, next *table[K, V]) {
	head := t.bucket(i)
	head.word.Or(moved)
	depth := 0
	for b := head; b != nil; b, depth = b.next.Load(), depth+1 {
		word := b.word.Load()
		for lane := uint(0); lane < 8*slotCount; lane += 8 {
			tag := word >> lane & 0xff
			if tag == 0 {
				continue
			}
			e := b.at(lane).Load()
			to := next.home(uint32(t.hasher.of(e.key)))
			for range depth {
				if to.next.Load() == nil {
					to.next.Store(new(bucket[K, V]))
				}
				to = to.next.Load()
			}
			to.at(lane).Store(e)
			to.word.Or(tag<<lane | word>>usesAt(lane)&usesMax<<usesAt(lane))
			for !b.at(lane).CompareAndSwap(e, nil) { // replaced meanwhile
				e = b.at(lane).Load()
				to.at(lane).Store(e)
			}
		}
	}
	t.left.Add(-1)
}
