package tinyufo

import (
	"math/rand/v2"
	"sync/atomic"
)

// Stats are counts since the cache was made.
type Stats struct {
	Hits, Misses uint64 // of Get and its kin; 0 without Options.Stats
	Insertions   uint64 // of keys that were absent
	Evictions    uint64 // for want of room
	Expirations  uint64
	Deletions    uint64
	Refusals     uint64 // of entries that were too heavy, and by SetIf
	Loads        uint64 // loaders that have returned
	LoadErrors   uint64 // of these, with an error other than ErrNotFound
}

// HitRatio is the part of the look-ups that were hits, 0 … 1.
func (s Stats) HitRatio() float64 {
	if s.Hits+s.Misses == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

func (s *Stats) count(cause Cause) {
	switch cause {
	case Evicted:
		s.Evictions++
	case Expired:
		s.Expirations++
	case Deleted:
		s.Deletions++
	case TooHeavy:
		s.Refusals++
	}
}

func (s *Stats) take(of *Stats) {
	s.Insertions += of.Insertions
	s.Evictions += of.Evictions
	s.Expirations += of.Expirations
	s.Deletions += of.Deletions
	s.Refusals += of.Refusals
}

// Stats returns the counts.
func (c *Cache[K, V]) Stats() (sum Stats) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		sum.take(&s.counts)
		s.unlock(nil)
	}
	sum.Loads, sum.LoadErrors = c.loads.done.Load(), c.loads.failed.Load()
	c.stats.add(&sum)
	return sum
}

// hitStats counts look-ups in stripes, since readers who all write one counter wait for each other. A nil one
// counts nothing.
type hitStats [64]struct {
	hits, misses atomic.Uint64
	_            [48]byte // a cache line each
}

func (s *hitStats) add(sum *Stats) {
	if s == nil {
		return
	}
	for i := range s {
		sum.Hits += s[i].hits.Load()
		sum.Misses += s[i].misses.Load()
	}
}

func (s *hitStats) hit() {
	if s != nil {
		s[rand.Uint64()%uint64(len(s))].hits.Add(1)
	}
}

func (s *hitStats) miss() {
	if s != nil {
		s[rand.Uint64()%uint64(len(s))].misses.Add(1)
	}
}
