package tinyufo

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
	"unsafe"
)

// Cache is a cache in memory with a budget. Safe for any goroutine. It must not be copied; New makes one.
type Cache[K comparable, V any] struct {
	table  sharedPointer[table[K, V]]
	hasher hasher[K]
	plain  bool // neither timed nor weighed
	hits   hitKind
	mask   uint64
	shards []shard[K, V]
	stats  *hitStats // nil when they are not counted
	times[K, V]

	weighed bool
	weigher func(K, V) uint32
	heavy   atomic.Int64 // the most that one entry may weigh

	resizing mutex

	onEvict   func(K, V, Cause)
	onReplace func(K, V)
	loads     loads[K, V]
	stop      context.CancelFunc // ends keepTime
}

// New makes a cache. It panics when the options contradict each other. A cache with times to live and without a
// Clock has a goroutine: it must be closed.
func New[K comparable, V any](o Options[K, V]) *Cache[K, V] {
	o.check()
	n := o.shards()
	c := &Cache[K, V]{hasher: newHasher[K](), mask: uint64(n - 1), weighed: o.Weight > 0, weigher: o.Weigher,
		onEvict: o.OnEvict, onReplace: o.OnReplace, stop: func() {}}
	c.times.init(&o)
	c.plain = !c.timed && !c.weighed
	if o.Stats {
		c.stats = new(hitStats)
	}
	c.hits = o.hits()
	c.table.Store(newTable[K, V](&c.hasher, int(float64(o.Entries)/loadMean)+1))
	c.shards = make([]shard[K, V], n)
	for i, capacity := range split(max(int64(o.Entries), o.Weight), n) {
		c.shards[i].init(c, capacity, rand.Uint64())
	}
	c.heavy.Store(c.shards[n-1].capacity / 2)
	if c.timed && c.clock == nil {
		ctx, stop := context.WithCancel(context.Background())
		c.stop = stop
		go c.keepTime(ctx, o.resolution())
	}
	return c
}

// split divides a budget into n parts that differ by one at most, the larger ones first.
func split(budget int64, n int) []int64 {
	parts := make([]int64, n)
	for i := range parts {
		parts[i] = (budget + int64(n-1-i)) / int64(n)
	}
	return parts
}

// Close ends the goroutine of a cache with times to live. What is cached stays, and from then on does not expire.
func (c *Cache[K, V]) Close() { c.stop() }

func (c *Cache[K, V]) shardOf(hash uint64) *shard[K, V] { return &c.shards[hash>>48&c.mask] }

// Get returns the value of key. It takes no lock, waits for no goroutine and allocates nothing.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	var hash uint64 // hasher.of, which the compiler does not inline: a tenth of a hit
	if unsafe.Sizeof(key) == 8 && c.hasher.kind == hashWord {
		hash = c.hasher.word(key)
	} else {
		hash = c.hasher.other(key)
	}
	b := c.table.Load().home(uint32(hash))
	word := b.word.Load()
	// Nine hits of ten end here. Whatever else there may be is left to search, which begins anew: so nothing has to
	// be kept for it on the stack.
	if found := match(word, tagOf(uint32(hash))*lanes); found != 0 {
		lane := laneOf(found)
		if e := b.at(lane).Load(); e != nil && e.key == key {
			if c.hits == hitPlain ||
				c.hits == hitCoarse && timedOf(e).expiry.Load() > c.coarse.Load() || c.hit(e) {
				b.use(word, lane)
				return e.value, true
			}
			return value, false
		}
	}
	return c.search(hash, key)
}

// hitKind says what a hit has to look at beside the key.
type hitKind uint8

const (
	hitPlain  hitKind = iota // nothing
	hitCoarse                // the expiry, by the time that keepTime tells
	hitOther                 // all that there is
)

func (o *Options[K, V]) hits() hitKind {
	switch {
	case o.Stats:
		return hitOther
	case !o.timed():
		return hitPlain
	case o.Clock == nil && o.TTI == 0:
		return hitCoarse
	}
	return hitOther
}

// hit reports whether an entry that was found may be returned, and counts what is counted.
func (c *Cache[K, V]) hit(e *entry[K, V]) bool {
	if c.timed && !c.fresh(e) {
		c.stats.miss()
		return false
	}
	c.stats.hit()
	return true
}

// search is Get for a key that is not in the first slot of its tag.
func (c *Cache[K, V]) search(hash uint64, key K) (value V, ok bool) {
	for t := c.table.Load(); t != nil; t = t.successor(uint32(hash)) {
		if b, lane, e := t.inChain(uint32(hash), key); b != nil {
			if c.hits != hitPlain && !c.hit(e) {
				return value, false
			}
			b.use(b.word.Load(), lane)
			return e.value, true
		}
	}
	c.stats.miss()
	return value, false
}

// Set makes value the value of key, which any Get that begins after it returns: until the entry is evicted,
// which may be at once, or expires. An entry that is heavier than half a shard's budget is not taken in: then
// key has no value, and OnEvict is told TooHeavy. A key that is not equal to itself, a NaN, is evicted at once.
func (c *Cache[K, V]) Set(key K, value V) { c.set(key, value, 0) }

// SetTTL is Set for an entry with a time to live of its own; a time that is not positive deletes key. So does any in a
// cache without times to live (Options.TTL of Forever gives it such) or with a TTI: it would return the entry for
// longer.
func (c *Cache[K, V]) SetTTL(key K, value V, ttl time.Duration) {
	if ttl <= 0 || !c.timed || c.tti > 0 {
		c.Delete(key)
		return
	}
	c.set(key, value, ttl)
}

func (c *Cache[K, V]) set(key K, value V, ttl time.Duration) {
	hash := c.hasher.of(key)
	c.loads.forget(hash, key)
	c.put(hash, c.makeEntry(key, value, ttl), nil)
	c.loads.forget(hash, key)
}

// put makes e the entry of its key, and returns the entry that it has replaced or nil.
func (c *Cache[K, V]) put(hash uint64, e *entry[K, V], after *departures[K, V]) *entry[K, V] {
	if c.tooHeavy(e) {
		return c.refuse(hash, e, after)
	}
	for {
		b, lane, old := c.table.Load().lookup(uint32(hash), e.key)
		if b == nil {
			if c.shardOf(hash).insert(uint32(hash), e, after) {
				return nil
			}
		} else if c.replace(hash, b, lane, old, e, after) {
			return old
		}
	}
}

// replace makes e the entry of a key whose entry is old. It fails when old is not that any more. The entries differ
// in nothing that the policy knows, unless they have weights or expire.
func (c *Cache[K, V]) replace(hash uint64, b *bucket[K, V], lane uint, old, e *entry[K, V],
	after *departures[K, V]) bool {
	e.node = old.node
	if !b.at(lane).CompareAndSwap(old, e) {
		return false
	}
	b.use(b.word.Load(), lane)
	if !c.plain {
		c.shardOf(hash).revise(old, e, after)
	}
	if c.onReplace != nil && !c.negative(old) {
		c.tell(departures[K, V]{{old, 0}}, after)
	}
	return true
}

// revise tells the policy what has changed from a replaced entry: its weight, or an earlier expiry.
func (s *shard[K, V]) revise(old, e *entry[K, V], after *departures[K, V]) {
	was, is := timedOf(old), timedOf(e)
	sooner := s.cache.timed && is.expiry.Load() < was.expiry.Load()
	if !sooner && !(s.cache.weighed && heavyOf(old).weight != heavyOf(e).weight) {
		return
	}
	s.mu.Lock()
	s.drain()
	// The node may stand for another key by now. What it is told is right for whichever entry it stands for.
	if i := e.node; s.at[i].queue() != inNone {
		if s.cache.weighed {
			s.reweigh(i, heavyOf(s.entryOf(i)).weight)
		}
		if s.cache.timed {
			s.arm(i)
		}
		s.settle((*residents[K, V])(s))
	}
	s.unlock(after)
}

// tooHeavy reports whether e is not to be taken in.
func (c *Cache[K, V]) tooHeavy(e *entry[K, V]) bool {
	return c.weighed && int64(heavyOf(e).weight) > c.heavy.Load()
}

// refuse removes the key of an entry that is too heavy, and returns its entry.
func (c *Cache[K, V]) refuse(hash uint64, e *entry[K, V], after *departures[K, V]) *entry[K, V] {
	s := c.shardOf(hash)
	s.mu.Lock()
	old := s.remove(uint32(hash), e.key, nil)
	s.depart(e, TooHeavy)
	s.unlock(after)
	return old
}

// Delete removes key, and reports whether it had a value. A load that is under way for key is not cached when
// it ends.
func (c *Cache[K, V]) Delete(key K) bool {
	hash := c.hasher.of(key)
	c.loads.forget(hash, key)
	return c.remove(hash, key, nil)
}

// remove takes the entry of key out, and reports whether key had a value.
func (c *Cache[K, V]) remove(hash uint64, key K, after *departures[K, V]) bool {
	if b, _, _ := c.table.Load().lookup(uint32(hash), key); b == nil {
		return false
	}
	s := c.shardOf(hash)
	s.mu.Lock()
	e := s.remove(uint32(hash), key, nil)
	s.unlock(after)
	return e != nil && c.alive(e)
}

// Len is the number of entries, expired ones that have not been dropped yet included. It looks at each shard in
// turn.
func (c *Cache[K, V]) Len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.drain()
		n += s.live
		s.unlock(nil)
	}
	return n
}

// Weight is what the entries weigh together; in a cache of Entries, how many they are. Pinned ones do not count.
func (c *Cache[K, V]) Weight() (w int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.drain()
		w += s.small + s.main
		s.unlock(nil)
	}
	return w
}

// Resize changes the budget, of entries or of weight. Entries beyond it are evicted before it returns, shard by shard.
// It panics when the budget is less than one for each shard.
func (c *Cache[K, V]) Resize(budget int64) {
	if budget < int64(len(c.shards)) {
		panic("tinyufo: Resize to less than the number of shards")
	}
	c.resizing.Lock() // two at once would leave some shards with parts of one budget, some of the other
	parts := split(budget, len(c.shards))
	var out departures[K, V]
	c.heavy.Store(parts[len(parts)-1] / 2)
	if !c.weighed {
		c.growFor(budget)
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.resize(parts[i])
		if more := int(parts[i]) + intakeMax + 1 + nodeMin - len(s.nodes); !c.weighed && more > 0 {
			s.extend(more)
			if c.timed {
				s.wheel.Grow(len(s.nodes))
			}
		}
		s.settle((*residents[K, V])(s))
		s.unlock(&out)
	}
	c.resizing.Unlock()
	c.tell(out, nil)
}

// growFor makes the table large enough for so many entries.
func (c *Cache[K, V]) growFor(entries int64) {
	for t := c.table.Load(); entries > int64(len(t.buckets))*loadMost; t = c.table.Load() {
		t.grow()
		t.finish()
		c.table.CompareAndSwap(t, t.next.Load())
	}
}
