package tinyufo

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"time"
)

// Forever is a time to live that does not end. As Options.TTL it makes a cache in which entries live until they are
// evicted, unless SetTTL or TTLFunc says otherwise for one.
const Forever time.Duration = math.MaxInt64

// Options say what a cache holds and for how long. One of Entries and Weight is needed; the zero value of all
// else is good.
type Options[K comparable, V any] struct {
	// Entries is how many entries the cache holds at most.
	Entries int

	// Weight is how much the entries may weigh together, as Weigher says. The cache gives each of its shards an
	// equal part; an entry that is heavier than half of that is not taken in (see Cache.Set). A weight of 0
	// pins an entry: it is never evicted, and is not counted. Weigher must not use the cache: it may be called
	// with a lock held, as may TTLFunc and Clock.
	Weight  int64
	Weigher func(K, V) uint32

	// TTL is how long an entry may be returned after it was set; 0 means that the cache has no times to live at
	// all, which makes entries smaller and hits cheaper. TTLFunc says it for one entry, TTL for those for which
	// it returns 0.
	TTL     time.Duration
	TTLFunc func(K, V) time.Duration

	// TTI is how long an entry may be returned after it was last returned or set. It works with a TTL of 0 or
	// Forever.
	TTI time.Duration

	// Stale is how long after its time Load may still return an entry, while one goroutine loads it anew.
	Stale time.Duration

	// Negative is for how long Load remembers that its loader has returned ErrNotFound. 0: not at all. What is
	// remembered takes the room of an entry and counts in Stats, and OnEvict is not called for it: it has no value.
	Negative time.Duration

	// OnEvict is called once for each entry that has left the cache, by the goroutine that made it leave, after
	// that is visible and with no lock held. OnReplace is called for a value when another has taken its place.
	// Either may use the cache. An OnEvict that sets a key each time it is called calls itself without end once
	// the cache is full: each Set makes another entry leave.
	OnEvict   func(K, V, Cause)
	OnReplace func(K, V)

	// Clock returns the time in ns of a monotonic clock, 0 or more. It is called for each hit of a cache that
	// has times to live, so it should be no more than a load: the cached time of an event loop. Nil: a
	// goroutine, until Close, keeps the time in steps of Resolution and drops what has expired.
	Clock func() int64

	// Resolution is how much later than its time an entry may be returned. 0: a 128th of the shortest of the
	// times above, at least 1 ms and at most 1 s.
	Resolution time.Duration

	// Stats makes Cache.Stats count hits and misses too, which costs about 5 ns each.
	Stats bool

	// Shards is in how many parts the policy works, a power of two. 0: with Entries four for each processor, of 128
	// entries at least; with Weight 8.
	Shards int
}

// Cause says why an entry has left the cache.
type Cause uint8

// The causes.
const (
	Evicted  Cause = iota + 1 // there was no room for it
	Expired                   // its time to live ended
	Deleted                   // Delete, DeleteFunc, Purge or Compute
	TooHeavy                  // it was too heavy to be taken in
)

var causeText = [...]string{Evicted: "evicted", Expired: "expired", Deleted: "deleted", TooHeavy: "too heavy"}

// String is the cause in lower case.
func (c Cause) String() string {
	if c-Evicted > TooHeavy-Evicted {
		return fmt.Sprintf("Cause(%d)", uint8(c))
	}
	return causeText[c]
}

// check panics when the options contradict each other: that is a mistake in a program, not in what it is given.
func (o *Options[K, V]) check() {
	switch {
	case o.Entries < 0 || o.Weight < 0:
		panic("tinyufo: Options.Entries and Options.Weight are not negative")
	case (o.Entries > 0) == (o.Weight > 0):
		panic("tinyufo: Options need one of Entries and Weight")
	case (o.Weight > 0) != (o.Weigher != nil):
		panic("tinyufo: Options.Weight and Options.Weigher need each other")
	case o.Shards&(o.Shards-1) != 0 || o.Shards < 0:
		panic("tinyufo: Options.Shards is a power of two")
	case o.Shards > max(o.Entries, int(min(o.Weight, math.MaxInt32))):
		panic("tinyufo: Options.Shards is more than the budget")
	case o.TTL < 0 || o.TTI < 0 || o.Stale < 0 || o.Negative < 0 || o.Resolution < 0:
		panic("tinyufo: times in Options are not negative")
	case o.TTI > 0 && (o.TTL != 0 && o.TTL != Forever || o.TTLFunc != nil):
		panic("tinyufo: Options.TTI works with a TTL of 0 or Forever")
	}
}

// timed reports whether entries need times to live.
func (o *Options[K, V]) timed() bool {
	return o.TTL > 0 || o.TTI > 0 || o.TTLFunc != nil || o.Negative > 0
}

func (o *Options[K, V]) shards() int {
	const least = 128 // entries of a shard: with 16 the hit ratio is two points lower, with 64 a quarter of one
	if o.Shards > 0 {
		return o.Shards
	}
	if o.Weight > 0 {
		return weightShards(o.Weight)
	}
	n := 1 << bits.Len(uint(4*runtime.GOMAXPROCS(0)-1))
	for n > 1 && o.Entries/n < least {
		n /= 2
	}
	return n
}

// weightShards is how many shards a budget of weight has. They are few on every machine, since none takes in an entry
// that is heavier than half of its part: an eighth leaves room for one of a sixteenth of the budget.
func weightShards(weight int64) int {
	n := 8
	for n > 1 && weight/int64(n) < 16 {
		n /= 2
	}
	return n
}

// resolution is how often the time is told.
func (o *Options[K, V]) resolution() time.Duration {
	if o.Resolution > 0 {
		return o.Resolution
	}
	shortest := 128 * time.Second
	for _, d := range []time.Duration{o.TTL, o.TTI, o.Negative} {
		if d > 0 {
			shortest = min(shortest, d)
		}
	}
	if o.TTLFunc != nil || o.TTL == Forever {
		shortest = min(shortest, time.Second) // how short the times of single entries are is not known
	}
	return min(max(shortest/128, time.Millisecond), time.Second)
}
