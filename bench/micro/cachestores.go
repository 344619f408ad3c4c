package micro

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/elastic/go-freelru"
	hashicorp "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/maypok86/otter/v2"
	phuslu "github.com/phuslu/lru"
	"github.com/puzpuzpuz/xsync/v4"

	"github.com/edge-proxy/edge/tinyufo"
)

// cacheKey are the keys that every cache here takes.
type cacheKey interface{ uint64 | string }

// store is a cache as loops of one kind of cache each, so that no call in them goes through an interface.
type store[K cacheKey, V any] struct {
	get     func(keys []K) (hits int)
	set     func(keys []K, value V) (refused int)
	entries func() int
	settle  func()     // waits until goroutines of the cache have done what is to be done; nil: there are none
	close   func()     // nil: nothing to close
	offHeap func() int // memory in bytes that the cache has from the kernel; nil: none
}

// maker makes one kind of cache.
type maker[K cacheKey, V any] struct {
	who, about string
	bound      bool // it evicts
	timed      bool // it has times to live
	make       func(entries int, ttl time.Duration) (*store[K, V], error)
}

// makers has tinyufo first. hash is for those that have no hash function of their own. Values of numbers have no
// pointers here, so that Flat takes them.
func makers[K cacheKey, V any](hash func(K) uint32) []maker[K, V] {
	all := generalMakers[K, V](hash)
	if _, isNumber := any(*new(K)).(uint64); isNumber {
		all = slices.Insert(all, 1, maker[K, V]{"flat", "tinyufo.Flat, in arrays", true, true, flatStore[K, V]})
	}
	return all
}

func generalMakers[K cacheKey, V any](hash func(K) uint32) []maker[K, V] {
	return []maker[K, V]{
		{"edge", "tinyufo", true, true, tinyufoStore[K, V]},
		{"otter", "otter v2; maintenance on goroutines of its own", true, true, otterStore[K, V]},
		{"theine", "theine; its policy runs on a goroutine of its own", true, true, theineStore[K, V]},
		{"ristretto", "ristretto v2; its policy runs on a goroutine of its own; sets are dropped when it is late",
			true, true, ristrettoStore[K, V]},
		{"golang-lru", "golang-lru v2, LRU under one mutex", true, true, hashicorpStore[K, V]},
		{"phuslu", "phuslu/lru, LRU in shards with a mutex each", true, true, phusluStore[K, V]},
		{"freelru", "elastic/go-freelru, LRU in shards with a mutex each", true, true,
			func(entries int, ttl time.Duration) (*store[K, V], error) {
				return freelruStore[K, V](entries, ttl, hash)
			}},
		{"xsync.Map", "xsync v4 Map, a map without a bound", false, false, xsyncStore[K, V]},
		{"sync.Map", "sync.Map, a map without a bound", false, false, syncMapStore[K, V]},
	}
}

func tinyufoStore[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	c := tinyufo.New(tinyufo.Options[K, V]{Entries: entries, TTL: ttl})
	return &store[K, V]{
		get:     func(keys []K) int { return count(keys, func(k K) bool { _, ok := c.Get(k); return ok }) },
		set:     func(keys []K, v V) int { return count(keys, func(k K) bool { c.Set(k, v); return false }) },
		entries: c.Len, close: c.Close,
	}, nil
}

func flatStore[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	c := tinyufo.NewFlat[K, V](tinyufo.FlatOptions{Entries: entries, TTL: ttl})
	return &store[K, V]{
		get:     func(keys []K) int { return count(keys, func(k K) bool { _, ok := c.Get(k); return ok }) },
		set:     func(keys []K, v V) int { return count(keys, func(k K) bool { c.Set(k, v); return false }) },
		entries: c.Len, close: c.Close,
	}, nil
}

func otterStore[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	return otterWith[K, V](entries, ttl, nil)
}

// otterCoarse spares otter the reading of the clock for each hit, as tinyufo does by itself.
func otterCoarse[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	clock := otter.NewCoarseClock(10 * time.Millisecond)
	s, err := otterWith[K, V](entries, ttl, clock)
	if err != nil {
		return nil, err
	}
	stop := s.close
	s.close = func() { stop(); clock.Stop() }
	return s, nil
}

func otterWith[K cacheKey, V any](entries int, ttl time.Duration, clock otter.Clock) (*store[K, V], error) {
	o := otter.Options[K, V]{MaximumSize: entries, Clock: clock}
	if ttl > 0 {
		o.ExpiryCalculator = otter.ExpiryWriting[K, V](ttl)
	}
	c, err := otter.New(&o)
	return &store[K, V]{
		get:     func(keys []K) int { return count(keys, func(k K) bool { _, ok := c.GetIfPresent(k); return ok }) },
		set:     func(keys []K, v V) int { return count(keys, func(k K) bool { c.Set(k, v); return false }) },
		entries: c.EstimatedSize, settle: c.CleanUp, close: func() { c.StopAllGoroutines() },
	}, err
}

func theineStore[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	c, err := theine.NewBuilder[K, V](int64(entries)).Build()
	return &store[K, V]{
		get: func(keys []K) int { return count(keys, func(k K) bool { _, ok := c.Get(k); return ok }) },
		set: func(keys []K, v V) int {
			return count(keys, func(k K) bool { c.SetWithTTL(k, v, 1, ttl); return false })
		},
		entries: c.Len, settle: c.Wait, close: c.Close,
	}, err
}

func ristrettoStore[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	c, err := ristretto.NewCache(&ristretto.Config[K, V]{
		NumCounters: 10 * int64(entries), MaxCost: int64(entries), BufferItems: 64, IgnoreInternalCost: true,
	})
	return &store[K, V]{
		get:     func(keys []K) int { return count(keys, func(k K) bool { _, ok := c.Get(k); return ok }) },
		set:     func(keys []K, v V) int { return count(keys, func(k K) bool { return !c.SetWithTTL(k, v, 1, ttl) }) },
		entries: func() int { return int(c.MaxCost() - c.RemainingCost()) }, settle: c.Wait, close: c.Close,
	}, err
}

// hashicorpStore is lru.Cache, or expirable.LRU where there are times to live.
func hashicorpStore[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	if ttl > 0 {
		c := expirable.NewLRU[K, V](entries, nil, ttl)
		return lruStore(c.Get, c.Add, c.Len), nil
	}
	c, err := hashicorp.New[K, V](entries)
	return lruStore(c.Get, c.Add, c.Len), err
}

// lruStore calls by way of functions: a nanosecond beside a mutex.
func lruStore[K cacheKey, V any](get func(K) (V, bool), add func(K, V) bool, entries func() int) *store[K, V] {
	return &store[K, V]{
		get:     func(keys []K) int { return count(keys, func(k K) bool { _, ok := get(k); return ok }) },
		set:     func(keys []K, v V) int { return count(keys, func(k K) bool { add(k, v); return false }) },
		entries: entries,
	}
}

func phusluStore[K cacheKey, V any](entries int, ttl time.Duration) (*store[K, V], error) {
	if ttl > 0 {
		c := phuslu.NewTTLCache[K, V](entries)
		add := func(k K, v V) bool { _, replaced := c.Set(k, v, ttl); return replaced }
		return lruStore(c.Get, add, c.Len), nil
	}
	c := phuslu.NewLRUCache[K, V](entries)
	return lruStore(c.Get, func(k K, v V) bool { _, replaced := c.Set(k, v); return replaced }, c.Len), nil
}

func freelruStore[K cacheKey, V any](entries int, ttl time.Duration, hash func(K) uint32) (*store[K, V], error) {
	c, err := freelru.NewSharded[K, V](uint32(entries), hash)
	if err != nil {
		return nil, err
	}
	c.SetLifetime(ttl)
	return lruStore(c.Get, c.Add, c.Len), nil
}

func xsyncStore[K cacheKey, V any](entries int, _ time.Duration) (*store[K, V], error) {
	c := xsync.NewMap[K, V](xsync.WithPresize(entries))
	return &store[K, V]{
		get:     func(keys []K) int { return count(keys, func(k K) bool { _, ok := c.Load(k); return ok }) },
		set:     func(keys []K, v V) int { return count(keys, func(k K) bool { c.Store(k, v); return false }) },
		entries: c.Size,
	}, nil
}

func syncMapStore[K cacheKey, V any](int, time.Duration) (*store[K, V], error) {
	c := new(sync.Map)
	return &store[K, V]{
		get: func(keys []K) int { return count(keys, func(k K) bool { _, ok := c.Load(k); return ok }) },
		set: func(keys []K, v V) int { return count(keys, func(k K) bool { c.Store(k, v); return false }) },
		entries: func() (n int) {
			c.Range(func(any, any) bool { n++; return true })
			return n
		},
	}, nil
}

// count counts the keys of which is is true. It is inlined, and the function that it is given with it.
func count[K any](keys []K, is func(K) bool) (n int) {
	for _, k := range keys {
		if is(k) {
			n++
		}
	}
	return n
}

// getElseSet gets each key, and sets it after a miss.
func (s *store[K, V]) getElseSet(keys []K, value V) (hits int) {
	for i := range keys {
		if key := keys[i : i+1]; s.get(key) > 0 {
			hits++
		} else {
			s.set(key, value)
		}
	}
	return hits
}

// open makes a cache or ends b.
func (m *maker[K, V]) open(b *testing.B, entries int, ttl time.Duration) *store[K, V] {
	s, err := m.make(entries, ttl)
	if err != nil {
		b.Fatal(err)
	}
	if s.settle == nil {
		s.settle = func() {}
	}
	if s.close == nil {
		s.close = func() {}
	}
	return s
}

// fill sets keys until all of them are cached: some caches refuse a few when they have much to do.
func (s *store[K, V]) fill(b *testing.B, keys []K, value V) {
	left := keys
	for range 100 {
		s.set(left, value)
		s.settle()
		if s.get(left) == len(left) {
			return
		}
		var missing []K
		for i := range left {
			if s.get(left[i:i+1]) == 0 {
				missing = append(missing, left[i])
			}
		}
		left = missing
	}
	if len(left) > len(keys)/1000 {
		b.Fatalf("%d of %d keys cannot be cached", len(left), len(keys))
	}
}
