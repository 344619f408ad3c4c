package hitratio

import (
	"github.com/Yiling-J/theine-go"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/hashicorp/golang-lru/arc/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/maypok86/otter/v2"

	"github.com/edge-proxy/edge/tinyufo"
)

// libraryCache is a cache that a program would use, with a key and a value of 8 bytes, driven as most programs do: get,
// and set after a miss. Where a cache does its work on another goroutine, each set waits for it, so that a table does
// not depend on how fast the machine is.
type libraryCache struct {
	get  func(key uint64) (uint64, bool)
	set  func(key uint64)
	stop func() // nil if it has no goroutines
}

func (c libraryCache) Access(key uint64) bool {
	_, ok := c.get(key)
	if !ok {
		c.set(key)
	}
	return ok
}

func (c libraryCache) Close() {
	if c.stop != nil {
		c.stop()
	}
}

func newLRU(capacity int) Policy {
	c, err := simplelru.NewLRU[uint64, uint64](capacity, nil)
	return libraryCache{get: must(c, err).Get, set: func(key uint64) { c.Add(key, key) }}
}

func newARC(capacity int) Policy {
	c, err := arc.NewARC[uint64, uint64](capacity)
	return libraryCache{get: must(c, err).Get, set: func(key uint64) { c.Add(key, key) }}
}

func newTinyUFO(capacity int) Policy { return newTinyUFOShards(capacity, 0) }

func newTinyUFOShards(capacity, shards int) Policy {
	c := tinyufo.New(tinyufo.Options[uint64, uint64]{Entries: capacity, Shards: shards})
	return libraryCache{get: c.Get, set: func(key uint64) { c.Set(key, key) }}
}

// newOtter has a cache that does its maintenance in the caller.
func newOtter(capacity int) Policy {
	c := otter.Must(&otter.Options[uint64, uint64]{MaximumSize: capacity, Executor: func(fn func()) { fn() }})
	return libraryCache{c.GetIfPresent, func(key uint64) { c.Set(key, key) }, func() { c.StopAllGoroutines() }}
}

func newTheine(capacity int) Policy {
	c, err := theine.NewBuilder[uint64, uint64](int64(capacity)).Build()
	return libraryCache{must(c, err).Get, func(key uint64) {
		c.Set(key, key, 1)
		c.Wait()
	}, c.Close}
}

// newRistretto gives it ten counters per entry, as its documentation asks for.
func newRistretto(capacity int) Policy {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, uint64]{
		NumCounters: 10 * int64(capacity), MaxCost: int64(capacity), BufferItems: 64, IgnoreInternalCost: true,
	})
	return libraryCache{must(c, err).Get, func(key uint64) {
		c.Set(key, key, 1)
		c.Wait()
	}, c.Close}
}

// must returns cache. Its constructor fails only for options that are not used here.
func must[C any](cache C, err error) C {
	if err != nil {
		panic(err)
	}
	return cache
}
