package tinyufo

import (
	"github.com/edge-proxy/edge/tinyufo/internal/sketch"
)

const (
	sweepStep = 4 // nodes that a change looks at for entries that have expired

	// flatSketch is how large the sketch is beside the sketch of a Cache: 4 bytes for an entry instead of 10.
	flatSketch = 0.4
)

// flatShard is the part of a Flat for some of the hashes. A node stands for an entry in the queues, as in a shard of
// Cache, and there is a slot for each. Everything is written under mu; readers take no lock.
//
// An entry is in the cache while its slot is live. The index leads to it for all that time:
//
//	add      slot busy │ key │ number, tag │ value │ slot live
//	change   slot busy │ value │ slot live
//	remove   slot free │ tag cleared
type flatShard[K comparable, V any] struct {
	mu mutex

	cache *Flat[K, V] // immutable, as is first
	first uint32      // the slot of node 0

	// Guarded by mu.
	policy
	counts Stats
	cursor uint32 // the node that sweep looks at next

	_ [64]byte // so that no other shard's mutex is in the same cache line
}

// init makes the shard ready for so many entries. Its first slot has a number.
func (s *flatShard[K, V]) init(c *Flat[K, V], first uint32, capacity int64, seed uint64) {
	s.cache, s.first = c, first
	s.policy.init(capacity, int(capacity)+1, false, seed)
	s.sketch = sketch.Sketch{}
	s.sketch.Extend(int(flatSketch * float64(len(s.nodes))))
	s.setAges(s.ages)
}

// locate is the node of key, and word 0 of its slot, which is 0 when key is absent. The caller holds mu, as for all
// that follows.
func (s *flatShard[K, V]) locate(hash uint64, key K) (i uint32, word uint64) {
	x := &s.cache.index
	mark, tags := x.mark(hash), flatTag(uint32(hash))*lanes
	for depth := 0; ; {
		b := x.after(uint32(hash), depth)
		state := b.word.Load()
		for found := flatMatch(state, tags); found != 0; found &= found - 1 {
			n := b.at(laneOf(found)).Load() ^ mark
			if n >= x.slots {
				continue
			}
			if slot := s.cache.slot(n); equalsKey(slot, key) {
				return n - s.first, slot.Load()
			}
		}
		if depth++; depth == depthMax || state>>passedShift == 0 {
			return 0, 0
		}
	}
}

func (s *flatShard[K, V]) slot(i uint32) *sharedWord { return s.cache.slot(s.first + i) }

// outdated reports whether the entry of node i must not be returned any more.
func (s *flatShard[K, V]) outdated(i, now uint32) bool { return s.cache.outdated(s.first+i, now) }

// store makes value the value of key, which is a use of a present one.
func (s *flatShard[K, V]) store(hash uint64, key K, value *V, expiry uint32) {
	i, word := s.locate(hash, key)
	if word == 0 {
		s.insert(hash, key, value, expiry)
		return
	}
	b := s.cache.index.bucketAt(uint32(hash), s.at[i])
	b.use(b.word.Load(), s.at[i].lane())
	s.change(i, value, expiry)
}

// change gives node i another value.
func (s *flatShard[K, V]) change(i uint32, value *V, expiry uint32) {
	slot := s.slot(i)
	word := begun(slot.Load())
	slot.Store(word)
	s.finish(i, slot, word, value, expiry)
}

// finish writes the value of a slot, which is busy with word, and makes it live.
func (s *flatShard[K, V]) finish(i uint32, slot *sharedWord, word uint64, value *V, expiry uint32) {
	if s.cache.timed {
		s.cache.expiry[s.first+i].Store(expiry)
	}
	tail := storeWords(valueAt[K](slot), value, true)
	slot.Store(uint64(tail)<<tailShift | word&versionMask | slotLive)
}

// insert adds a key that is absent, and evicts what is too much.
func (s *flatShard[K, V]) insert(hash uint64, key K, value *V, expiry uint32) {
	if s.cache.hasher.lost(key) {
		s.counts.Insertions++
		s.counts.count(Evicted)
		return
	}
	s.fetch(uint32(hash), s)
	s.judge(uint32(hash), s)
	i := s.takeNode()
	slot := s.slot(i)
	word := begun(slot.Load())
	slot.Store(word)
	storeWords(keyAt(slot), &key, false)
	at := s.lead(hash, s.first+i)
	s.finish(i, slot, word, value, expiry)
	s.nodes[i].hash, s.at[i] = uint32(hash), at
	s.counts.Insertions++
	s.enqueue(i)
	s.settle(s)
}

// lead makes the index lead a hash to a slot. If there is no room an entry moves to its other line, or leaves.
func (s *flatShard[K, V]) lead(hash uint64, slot uint32) place {
	h := uint32(hash)
	x, number, tag := &s.cache.index, slot|s.cache.index.mark(hash), flatTag(h)
	at, added := x.add(h, number, tag, 0)
	if !added {
		s.makeRoom(h)
		at, _ = x.add(h, number, tag, 0)
	}
	return at
}

// makeRoom empties a place in the buckets of a hash, which are full.
func (s *flatShard[K, V]) makeRoom(hash uint32) {
	unused, least := uint32(0), uint64(usesMax+1)
	moved := s.cache.index.crowd(hash, func(slot uint32, uses uint64) bool {
		i := slot - s.first
		to, moved := s.cache.index.advance(s.nodes[i].hash, s.at[i])
		if moved {
			s.at[i] = s.at[i]&(queueMask|young) | to
		}
		if uses < least {
			unused, least = i, uses
		}
		return moved
	})
	if !moved {
		s.drop(unused, s)
	}
}

// clear takes the entry of node i out of the cache. Its node is still in the queues.
func (s *flatShard[K, V]) clear(i uint32) {
	slot := s.slot(i)
	slot.Store(slot.Load() &^ stateMask) // the next writer's version is another
	s.cache.index.remove(s.nodes[i].hash, s.at[i])
}

// remove takes the entry of node i out of the cache, and its node out of the queues.
func (s *flatShard[K, V]) remove(i uint32, cause Cause) {
	s.clear(i)
	s.dequeue(i)
	s.freeNode(i)
	s.counts.count(cause)
}

// sweep looks at a few entries and drops the expired ones.
func (s *flatShard[K, V]) sweep(now uint32) {
	for range sweepStep {
		if s.cursor++; s.cursor >= uint32(len(s.nodes)) {
			s.cursor = nodeMin
		}
		if s.at[s.cursor].queue() != inNone && s.outdated(s.cursor, now) {
			s.remove(s.cursor, Expired)
		}
	}
}

func (s *flatShard[K, V]) unlock() {
	s.check()
	s.mu.Unlock()
}

// lane is where the policy finds the uses of an entry.
func (s *flatShard[K, V]) lane(i uint32) (*sharedWord, uint) {
	at := s.at[i]
	return &s.cache.index.bucketAt(s.nodes[i].hash, at).word, at.lane()
}

// evict is called by the policy.
func (s *flatShard[K, V]) evict(i uint32) {
	s.clear(i)
	s.counts.count(Evicted)
}
