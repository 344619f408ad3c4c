package tinyufo

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"
)

// entry is one key with its value. Immutable once it is in the table: another value is another entry.
type entry[K comparable, V any] struct {
	key   K
	value V

	// node is the index of the shard's node. It is given before the entry is published, and handed on to the
	// entry that replaces it. It stands last: a key of 8 bytes, a value of 100 and these 4 fill the allocator's
	// class of 112.
	node uint32
}

// timed is what an entry is in a cache whose entries have times to live or weights. The table points to its
// first field. With a key and a value of 8 bytes it takes 32.
type timed[K comparable, V any] struct {
	entry[K, V]

	// expiry is the time at which the entry expires, in ns of the cache's clock, or never. A hit moves it when
	// entries live from their last use. It is below zero, and so past for all who want a value, when a loader
	// has said that there is none: that is forgotten at -expiry.
	expiry atomic.Int64
}

// heavy is what an entry is in a cache whose entries have weights.
type heavy[K comparable, V any] struct {
	timed[K, V]
	weight uint32 // immutable
}

// never is the expiry of an entry that lives until it is evicted.
const never = math.MaxInt64

// timedOf is the whole of an entry of a cache that is not plain.
func timedOf[K comparable, V any](e *entry[K, V]) *timed[K, V] {
	// SAFETY: makeEntry allocates every entry of such a cache as a timed, and entry is its first field.
	return (*timed[K, V])(unsafe.Pointer(e))
}

// heavyOf is the whole of an entry of a cache with weights.
func heavyOf[K comparable, V any](e *entry[K, V]) *heavy[K, V] {
	// SAFETY: makeEntry allocates every entry of such a cache as a heavy, and entry is the first field of its first.
	return (*heavy[K, V])(unsafe.Pointer(e))
}

// makeEntry makes an entry that is not yet in the table. The time to live counts when the cache has such; 0 is the
// cache's own.
func (c *Cache[K, V]) makeEntry(key K, value V, ttl time.Duration) *entry[K, V] {
	if c.plain {
		return &entry[K, V]{key: key, value: value}
	}
	x := makeTimed(c.weighed, key, value)
	if c.weighed {
		heavyOf(&x.entry).weight = c.weigher(key, value)
	}
	if c.timed {
		x.expiry.Store(c.expiry(key, value, ttl))
	}
	return &x.entry
}

// makeTimed makes an entry of a cache that is not plain. It weighs 1.
func makeTimed[K comparable, V any](weighed bool, key K, value V) *timed[K, V] {
	if !weighed {
		return &timed[K, V]{entry: entry[K, V]{key: key, value: value}}
	}
	x := &heavy[K, V]{weight: 1}
	x.key, x.value = key, value
	return &x.timed
}
