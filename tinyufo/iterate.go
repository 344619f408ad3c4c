package tinyufo

import (
	"cmp"
	"iter"
	"slices"

	"github.com/edge-proxy/edge/tinyufo/internal/sketch"
)

// entries goes over all entries, chain by chain: entries of a chain are gathered under its lock and yielded without.
func (c *Cache[K, V]) entries() iter.Seq[*entry[K, V]] {
	return func(yield func(*entry[K, V]) bool) {
		var chain []*entry[K, V]
		t := c.table.Load()
		for i := range t.buckets {
			chain = t.gather(uint64(i), chain[:0])
			for _, e := range chain {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// gather appends the entries of the chain of bucket i, or of the two that it has moved to.
func (t *table[K, V]) gather(i uint64, into []*entry[K, V]) []*entry[K, V] {
	head := t.bucket(i)
	head.lock()
	if head.word.Load()&moved != 0 {
		head.unlock()
		next := t.next.Load()
		return next.gather(2*i+1, next.gather(2*i, into))
	}
	for b := head; b != nil; b = b.next.Load() {
		for lane := range b.slot {
			if e := b.slot[lane].Load(); e != nil {
				into = append(into, e)
			}
		}
	}
	head.unlock()
	return into
}

// All goes over the keys and their values, in no order and without a use of them. Each key comes once at most; a key
// that is cached all the while comes, a key that is set or leaves meanwhile may come or not.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := range c.entries() {
			if c.alive(e) && !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Hottest goes over the n entries that were used most of late, hottest first. Coldest goes over the n that will be
// evicted first if they are not used. Both look at all entries, each shard with its policy stopped.
func (c *Cache[K, V]) Hottest(n int) iter.Seq2[K, V] {
	return c.ordered(n, hottestFirst)
}

// Coldest is the other end of what Hottest goes over.
func (c *Cache[K, V]) Coldest(n int) iter.Seq2[K, V] {
	return c.ordered(n, func(a, b ranked[K, V]) int { return cmp.Compare(a.heat, b.heat) })
}

// ranked is an entry with what the policy knows of it.
type ranked[K comparable, V any] struct {
	*entry[K, V]
	heat int // estimate of the sketch and uses; main above small
}

func (c *Cache[K, V]) ordered(n int, order func(a, b ranked[K, V]) int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		all := c.rank()
		slices.SortStableFunc(all, order)
		for _, r := range all[:min(max(n, 0), len(all))] {
			if c.alive(r.entry) && !yield(r.key, r.value) {
				return
			}
		}
	}
}

func hottestFirst[K comparable, V any](a, b ranked[K, V]) int { return cmp.Compare(b.heat, a.heat) }

// rank lists the entries with their heat.
func (c *Cache[K, V]) rank() (all []ranked[K, V]) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.drain()
		for i := range s.at[nodeMin:] {
			i := uint32(i + nodeMin)
			if at := s.at[i]; at.queue() != inNone {
				all = append(all, ranked[K, V]{s.entryOf(i), s.heat(i)})
			}
		}
		s.unlock(nil)
	}
	return all
}

// heat is how much the entry of node i was used of late.
func (s *shard[K, V]) heat(i uint32) int {
	word, shift := (*residents[K, V])(s).lane(i)
	heat := s.sketch.Estimate(s.nodes[i].hash) + int(word.Load()>>shift&usesMax)
	if s.at[i].queue() != inSmall {
		heat += sketch.Max + usesMax + 1
	}
	return heat
}
