package tinyufo

import (
	"math"
	"math/rand/v2"
	"time"
)

// FlatOptions say how much a Flat holds and for how long. Entries is needed; the zero value of all else is good.
type FlatOptions struct {
	// Entries is how many entries the cache holds at most. The memory for all of them is taken from the heap by
	// NewFlat.
	Entries int

	// TTL is how long an entry may be returned after it was set, at least; at most it is half a second longer. 0 means
	// that the cache has no times to live; Forever, that SetTTL gives them to some entries.
	TTL time.Duration

	// Clock returns the time in ns of a monotonic clock, 0 or more. Nil: when there is a TTL, a goroutine keeps
	// the time until Close. It may be called with a lock held: it must not use the cache.
	Clock func() int64

	// Stats makes Flat.Stats count hits and misses too.
	Stats bool

	// Shards is in how many parts the cache works, a power of two. 0: four for each processor, of 128 entries at
	// least.
	Shards int
}

// Flat is a cache for keys and values without pointers: numbers, and arrays and structs of them. Entries lie in
// arrays, in which the garbage collector has nothing to look at, whatever their number. A value is copied in and
// copied out. The policy is Cache's. Safe for any goroutine; it must not be copied; NewFlat makes one.
//
// Get takes no lock, and nothing allocates. It waits only for a goroutine that is writing the same entry. What
// changes the cache locks a shard.
//
// Keys are compared as == does. So 0 and -0 of a type of floating point are one key, and what is between the fields of
// a struct, or in fields named _, does not count.
type Flat[K comparable, V any] struct {
	hasher hasher[K]
	index  flatIndex
	slots  []sharedWord // and one word: a pointer to a value without words, in the last slot, is one into the array
	expiry []sharedHalf // of each slot, in granules, 0 for never; nil without times to live
	shards []flatShard[K, V]
	timed  bool
	quick  bool // keys are integers of 8 bytes, and a hit neither calls a clock nor is counted
	ttl    time.Duration
	stats  *hitStats // nil when they are not counted
	stopwatch
}

// NewFlat makes a cache. It panics when K or V has pointers, and says where, or when the options contradict each other.
// A cache with a TTL and without a Clock has a goroutine: it must be closed.
func NewFlat[K comparable, V any](o FlatOptions) *Flat[K, V] {
	mustBeFlat[K]("key")
	mustBeFlat[V]("value")
	same := Options[K, V]{Entries: o.Entries, TTL: o.TTL, Shards: o.Shards}
	same.check()
	if o.Entries > math.MaxInt32 {
		panic("tinyufo: FlatOptions.Entries is more than two billion")
	}
	n := same.shards()
	parts := split(int64(o.Entries), n)
	slots := int(parts[0]) + 1 + nodeMin // of each shard
	if int64(n)*int64(slots) > math.MaxInt32 {
		panic("tinyufo: FlatOptions.Entries is more than two billion")
	}
	c := &Flat[K, V]{hasher: newHasher[K](), timed: o.TTL > 0, ttl: o.TTL,
		index: newFlatIndex(slots, n), slots: make([]sharedWord, n*slots*int(slotBytes[K, V]()/8)+1)}
	if c.timed {
		c.expiry = make([]sharedHalf, n*slots)
	} else {
		o.Clock = nil // the time is not needed
	}
	if o.Stats {
		c.stats = new(hitStats)
	}
	c.quick = c.hasher.kind == hashWord && c.stats == nil && o.Clock == nil
	c.shards = make([]flatShard[K, V], n)
	for i, capacity := range parts {
		c.shards[i].init(c, uint32(i*slots), capacity, rand.Uint64())
	}
	c.start(o.Clock, c.timed)
	return c
}

// Close ends the goroutine of a cache with a TTL and without a Clock. From then on nothing expires.
func (c *Flat[K, V]) Close() { c.stop() }

func (c *Flat[K, V]) shardOf(hash uint64) *flatShard[K, V] {
	return &c.shards[uint32(hash)>>c.index.shift]
}

// lock locks the shard of a hash, and drops a few entries of it that have expired.
func (c *Flat[K, V]) lock(hash uint64) *flatShard[K, V] {
	s := c.shardOf(hash)
	s.mu.Lock()
	if c.timed {
		s.sweep(c.granules())
	}
	return s
}

// expiryOf is the granule from which on an entry with a time to live, which is set now, is not returned.
func (c *Flat[K, V]) expiryOf(ttl time.Duration) uint32 {
	if !c.timed {
		return 0
	}
	at := later(c.elapsed(), ttl) >> granule
	if at+2 > math.MaxUint32 {
		return 0
	}
	return uint32(at + 2) // one for what is cut off, and one since the goroutine's time may be a granule old
}

// Set makes value the value of key, which any Get that begins after it returns: until the entry is evicted,
// which may be at once, or expires. A key that is not equal to itself, a NaN, is evicted at once.
func (c *Flat[K, V]) Set(key K, value V) { c.set(key, &value, c.ttl) }

// SetTTL is Set for an entry with a time to live of its own; a time that is not positive deletes key. So does any in a
// cache without times to live, which would return the entry for longer: FlatOptions.TTL of Forever gives it such.
func (c *Flat[K, V]) SetTTL(key K, value V, ttl time.Duration) {
	if ttl <= 0 || !c.timed {
		c.Delete(key)
		return
	}
	c.set(key, &value, ttl)
}

func (c *Flat[K, V]) set(key K, value *V, ttl time.Duration) {
	hash := c.hasher.of(key)
	expiry := c.expiryOf(ttl)
	s := c.lock(hash)
	s.store(hash, key, value, expiry)
	s.unlock()
}

// Delete removes key, and reports whether it had a value.
func (c *Flat[K, V]) Delete(key K) (had bool) {
	hash := c.hasher.of(key)
	s := c.lock(hash)
	if i, word := s.locate(hash, key); word != 0 {
		had = !s.outdated(i, c.granules())
		s.remove(i, Deleted)
	}
	s.unlock()
	return had
}
