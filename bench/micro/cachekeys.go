package micro

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"testing"
)

const (
	ringReads = 1 << 20 // keys at most in the order in which they are asked for, again and again
	ringMixed = 1 << 23 // many more than are measured: keys that come again in the same order are easier to cache
)

// keysMany is a million, but for a test that only looks whether everything runs.
func keysMany() int {
	if testing.Testing() && flag.Lookup("test.bench").Value.String() == "" {
		return 20_000
	}
	return 1_000_000
}

// spread makes the numbers 0, 1, 2 … the keys that a hash function has no easy life with.
func spread(i int) uint64 {
	x := uint64(i) * 0x9e37_79b9_7f4a_7c15
	return (x ^ x>>32) * 0xd6e8_feb8_6659_fd93
}

func hashOfNumber(k uint64) uint32 { return uint32(k * 0x9e37_79b9_7f4a_7c15 >> 32) }

var stringSeed = maphash.MakeSeed()

func hashOfString(k string) uint32 { return uint32(maphash.String(stringSeed, k)) }

func numbers(n int) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = spread(i)
	}
	return keys
}

// names are n keys of 16 bytes, in one piece of memory so that the garbage collector has nothing to do with them.
func names(n int) []string {
	var all strings.Builder
	for i := range n {
		_, _ = all.WriteString(nameOf(i))
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = all.String()[16*i : 16*i+16]
	}
	return keys
}

// nameOf is 16 digits, in memory of its own.
func nameOf(i int) string {
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], spread(i))
	return hex.EncodeToString(number[:])
}

// keySet is a set of keys, and the order in which they are asked for. Immutable.
type keySet[K cacheKey] struct {
	keys []K // the most popular first
	ring []K
}

// zipfKeys makes the key set once for all benchmarks: the key of rank r is asked for with a weight of r^-s.
func zipfKeys[K cacheKey](n func() int, s float64, ring int, keys func(n int) []K) func() *keySet[K] {
	return sync.OnceValue(func() *keySet[K] {
		set := &keySet[K]{keys: keys(n())}
		set.ring = make([]K, min(ring, 16*len(set.keys)))
		upTo, sum := make([]float64, len(set.keys)), 0.0
		for r := range upTo {
			sum += math.Pow(float64(r+1), -s)
			upTo[r] = sum
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range set.ring {
			set.ring[i] = set.keys[min(sort.SearchFloat64s(upTo, rng.Float64()*sum), len(upTo)-1)]
		}
		return set
	})
}

func exactly(n int) func() int { return func() int { return n } }

var (
	fewNumbers    = zipfKeys(exactly(100), 1.0, ringReads, numbers)
	someNumbers   = zipfKeys(exactly(65_536), 1.0, ringReads, numbers)
	someNames     = zipfKeys(exactly(65_536), 1.0, ringReads, names)
	manyNumbers   = zipfKeys(keysMany, 1.0, ringReads, numbers)
	skewedNumbers = zipfKeys(keysMany, 1.03, ringMixed, numbers)
	skewedNames   = zipfKeys(keysMany, 1.03, ringMixed, names)
)
