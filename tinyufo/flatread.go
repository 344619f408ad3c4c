package tinyufo

import (
	"encoding/binary"
	"unsafe"
)

// lookTries is how often a reader looks at one slot, until it waits for the writer of it.
const lookTries = 64

// slot is word 0 of a slot.
func (c *Flat[K, V]) slot(n uint32) *sharedWord {
	// SAFETY: n < c.index.slots: readers compare, and slots of a shard's nodes are.
	first := unsafe.Pointer(unsafe.SliceData(c.slots))
	return (*sharedWord)(unsafe.Add(first, uintptr(n)*slotBytes[K, V]()))
}

// outdated reports whether the entry of a slot must not be returned any more. now is in granules.
func (c *Flat[K, V]) outdated(n, now uint32) bool {
	if !c.timed {
		return false
	}
	at := c.expiry[n].Load()
	return at != 0 && at <= now
}

// Get returns a copy of the value of key. It takes no lock and allocates nothing.
func (c *Flat[K, V]) Get(key K) (value V, ok bool) {
	if unsafe.Sizeof(key) != 8 || !c.quick {
		return c.lookUp(c.hasher.of(key), key)
	}
	// This is look for the first bucket of an integer, without a call, and with what is out of the ordinary left to
	// lookUp. With the calls of look a hit takes twice as many instructions, and among a million keys half as long
	// again: the processor waits for fewer memory accesses at once.
	k := *(*uint64)(unsafe.Pointer(&key)) // SAFETY: quick says that K is an integer of 8 bytes
	hash := c.hasher.word(key)
	b := c.index.bucket(c.index.home(uint32(hash)))
	word := b.word.Load()
	for found := flatMatch(word, flatTag(uint32(hash))*lanes); found != 0; found &= found - 1 {
		lane := laneOf(found)
		n := b.at(lane).Load() ^ c.index.mark(hash)
		if n >= c.index.slots {
			continue
		}
		slot := c.slot(n)
		state := slot.Load()
		if keyAt(slot).Load() != k {
			continue
		}
		if unsafe.Sizeof(value) == 8 {
			// SAFETY: V has 8 bytes and no pointers. They may lie at any address.
			binary.NativeEndian.PutUint64((*[8]byte)(unsafe.Pointer(&value))[:], valueAt[K](slot).Load())
		} else {
			loadWords(&value, valueAt[K](slot), true, uint32(state>>tailShift))
		}
		if state&stateMask != slotLive || c.timed && c.outdated(n, uint32(c.coarse.Load()>>granule)) ||
			slot.Load() != state {
			return c.lookUp(hash, key)
		}
		b.use(word, lane)
		return value, true
	}
	if b.passedNow() == 0 {
		return value, false
	}
	return c.lookUp(hash, key)
}

// lookUp is Get for what is not quick.
func (c *Flat[K, V]) lookUp(hash uint64, key K) (value V, ok bool) {
	ok = c.get(&value, hash, key, true)
	if ok {
		c.stats.hit()
	} else {
		c.stats.miss()
	}
	return value, ok
}

// Peek is Get without being a use: it changes neither what stays in the cache nor the statistics.
func (c *Flat[K, V]) Peek(key K) (value V, ok bool) {
	ok = c.get(&value, c.hasher.of(key), key, false)
	return value, ok
}

// get copies the value of key into into, which is zero.
func (c *Flat[K, V]) get(into *V, hash uint64, key K, use bool) bool {
	now := c.granules()
	saw := c.look(into, hash, key, now, use)
	if saw == sawWriter {
		s := c.shardOf(hash)
		s.mu.Lock()
		saw = c.look(into, hash, key, now, use)
		s.unlock()
	}
	if saw != sawValue {
		*into = *new(V)
	}
	return saw == sawValue
}

// What a reader has found.
type sight uint8

const (
	sawNothing sight = iota
	sawValue
	sawOutdated
	sawWriter // the slot was written again and again, or its writer is stopped
)

// look copies the value of key into into, without a lock. It counts a use when the entry may be returned and use is
// true.
func (c *Flat[K, V]) look(into *V, hash uint64, key K, now uint32, use bool) sight {
	x := &c.index
	mark, tags := x.mark(hash), flatTag(uint32(hash))*lanes
	for depth := 0; ; {
		b := x.after(uint32(hash), depth)
		word := b.word.Load()
		for found := flatMatch(word, tags); found != 0; found &= found - 1 {
			lane := laneOf(found)
			n := b.at(lane).Load() ^ mark
			if n >= x.slots {
				continue
			}
			saw := c.read(into, n, key, now)
			if saw == sawValue && use {
				b.use(word, lane)
			}
			if saw != sawNothing {
				return saw
			}
		}
		if depth++; depth == depthMax || b.passedNow() == 0 {
			return sawNothing
		}
	}
}

// read copies the value of a slot into into, if its key is key.
func (c *Flat[K, V]) read(into *V, n uint32, key K, now uint32) sight {
	slot := c.slot(n)
	for range lookTries {
		word := slot.Load()
		switch {
		case word&stateMask == slotFree:
			return sawNothing
		case word&stateMask == slotBusy:
			continue
		case !equalsKey(slot, key):
			return sawNothing // if the slot was written meanwhile, its key has left, and that is so too
		}
		loadWords(into, valueAt[K](slot), true, uint32(word>>tailShift))
		outdated := c.outdated(n, now)
		switch {
		case slot.Load() != word:
			continue
		case outdated:
			return sawOutdated
		}
		return sawValue
	}
	return sawWriter
}

// copyOf copies the entry of a slot of a shard.
func (c *Flat[K, V]) copyOf(s *flatShard[K, V], n, now uint32) (key K, value V, ok bool) {
	slot := c.slot(n)
	for tries := 1; ; tries++ {
		if tries%lookTries == 0 {
			s.mu.Lock()
			s.unlock() // its writer has written
		}
		word := slot.Load()
		switch word & stateMask {
		case slotFree:
			return key, value, false
		case slotBusy:
			continue
		}
		loadWords(&key, keyAt(slot), false, 0)
		loadWords(&value, valueAt[K](slot), true, uint32(word>>tailShift))
		outdated := c.outdated(n, now)
		if slot.Load() == word {
			return key, value, !outdated
		}
	}
}
