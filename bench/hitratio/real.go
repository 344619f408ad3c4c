package hitratio

import (
	"github.com/Yiling-J/theine-go"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/edge-proxy/edge/tinyufo"
)

// The caches below are what a program would use, with a key and a value of 8 bytes, driven as most programs do: get,
// and set after a miss. Where a cache does its work on another goroutine, each set waits for it, so that a table does
// not depend on how fast the machine is.

type tinyufoCache struct {
	cache *tinyufo.Cache[uint64, uint64]
}

func newTinyUFO(capacity int) Policy {
	return tinyufoCache{tinyufo.New(tinyufo.Options[uint64, uint64]{Entries: capacity})}
}

func (c tinyufoCache) Access(key uint64) bool {
	if _, ok := c.cache.Get(key); ok {
		return true
	}
	c.cache.Set(key, key)
	return false
}

// otterCache does its maintenance in the caller.
type otterCache struct{ cache *otter.Cache[uint64, uint64] }

func newOtter(capacity int) Policy {
	return otterCache{otter.Must(&otter.Options[uint64, uint64]{
		MaximumSize: capacity,
		Executor:    func(fn func()) { fn() },
	})}
}

func (c otterCache) Access(key uint64) bool {
	if _, ok := c.cache.GetIfPresent(key); ok {
		return true
	}
	c.cache.Set(key, key)
	return false
}

func (c otterCache) Close() { c.cache.StopAllGoroutines() }

// waitingCache does its work on another goroutine. Each set waits for it.
type waitingCache struct {
	cache interface {
		Get(key uint64) (uint64, bool)
		Set(key, value uint64, cost int64) bool
		Wait()
		Close()
	}
}

func (c waitingCache) Access(key uint64) bool {
	if _, ok := c.cache.Get(key); ok {
		return true
	}
	c.cache.Set(key, key, 1)
	c.cache.Wait()
	return false
}

func (c waitingCache) Close() { c.cache.Close() }

func newTheine(capacity int) Policy {
	cache, err := theine.NewBuilder[uint64, uint64](int64(capacity)).Build()
	if err != nil {
		panic(err) // only for options that are not used here
	}
	return waitingCache{cache}
}

// newRistretto gives it ten counters per entry, as its documentation asks for.
func newRistretto(capacity int) Policy {
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, uint64]{
		NumCounters: 10 * int64(capacity), MaxCost: int64(capacity), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		panic(err) // only for options that are not used here
	}
	return waitingCache{cache}
}
