package micro

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/warm"
)

const (
	cacheTTL   = time.Hour // nothing expires while it is measured
	cacheBatch = 4096      // operations that a goroutine takes over at once
	cacheSmall = 65_536    // entries, where a million keys are asked for

	valueBytes = 96 // of the caches of []byte: a class of the allocator, so that nothing is rounded up
)

const (
	cacheReads   = "cache: hits"
	cacheWrites  = "cache: get and set, set"
	cacheMemory  = "cache: memory and garbage collection"
	cacheCounted = "; wall time through the operations of all goroutines, with what the cache's own goroutines " +
		"have left to do. cpu-ns/op is the processor time of the process"
)

// goroutines are how many work at once: one, two, and as many as there are processors.
func goroutines() []int {
	if n := runtime.GOMAXPROCS(0); n > 2 {
		return []int{1, 2, n}
	}
	return []int{1, 2}
}

// cacheEntries come last of all: the cache that was filled last stays.
var cacheEntries = slices.Concat(
	hitEntries("100", fewNumbers, hashOfNumber, 0),
	hitEntries("65536", someNumbers, hashOfNumber, 0),
	hitEntries("65536-ttl", someNumbers, hashOfNumber, cacheTTL),
	hitEntries("65536-string", someNames, hashOfString, 0),
	hitEntries("1M", manyNumbers, hashOfNumber, 0),
	mixedEntries("uint64", skewedNumbers, hashOfNumber),
	mixedEntries("string", skewedNames, hashOfString),
	newKeyEntries(),
	tailEntries(),
	presentKeyEntries("65536", someNumbers),
	presentKeyEntries("1M", manyNumbers),
	arrayHeapEntries(),
	bytesHeapEntries(),
)

// cacheFamily has an entry for each maker, the first of which is ours. what is completed by what the maker says.
func cacheFamily[K cacheKey, V any](group, name, what string, of []maker[K, V],
	bench func(m maker[K, V], b *testing.B)) (entries []Entry) {
	for _, m := range of {
		entries = append(entries, Entry{name + "/" + m.who, group, m.about + ": " + what,
			func(b *testing.B) { bench(m, b) }})
	}
	return entries
}

// crewFamilies has a family for each number of goroutines of crews, which is at the end of its name.
func crewFamilies[K cacheKey, V any](group, name, what string, crews []int, of []maker[K, V],
	bench func(m maker[K, V], b *testing.B, crew int, name string)) (all []Entry) {
	for _, n := range crews {
		family := name + "-all"
		if n <= 2 {
			family = fmt.Sprint(name, "-", n, "g")
		}
		all = append(all, cacheFamily(group, family, what, of,
			func(m maker[K, V], b *testing.B) { bench(m, b, n, family+m.who) })...)
	}
	return all
}

// filled is the cache of the last benchmark. Package testing calls a benchmark several times, with more and more
// operations: all of them find the cache that the first one has filled.
var filled struct {
	name  string
	store any
	close func()
}

// forget closes the cache of the last benchmark.
func forget() {
	if filled.close != nil {
		filled.close()
	}
	filled.name, filled.store, filled.close = "", nil, nil
	runtime.GC()
}

// fillOnce returns the cache of a benchmark, made by fill.
func fillOnce[K cacheKey, V any](b *testing.B, name string, fill func() *store[K, V]) *store[K, V] {
	if filled.name != name || b.N == 1 {
		forget()
		s := fill()
		filled.name, filled.store, filled.close = name, s, s.close
	}
	return filled.store.(*store[K, V])
}

// fillWith is fillOnce with all keys of set, which fit.
func fillWith[K cacheKey, V any](b *testing.B, name string, m maker[K, V], set *keySet[K], entries int,
	ttl time.Duration, value V) *store[K, V] {
	return fillOnce(b, name, func() *store[K, V] {
		s := m.open(b, entries, ttl)
		s.fill(b, set.keys, value)
		return s
	})
}

// hit gets the keys of a set, all of which are there.
func hit[K cacheKey, V any](b *testing.B, crew int, s *store[K, V], set *keySet[K]) {
	if hits := inParallel(b, crew, s.settle, onRing(set.ring, crew, s.get)); hits < b.N-b.N/100-1 {
		b.Fatalf("%d hits of %d", hits, b.N)
	}
}

// reportPart reports which part of the operations n is.
func reportPart(b *testing.B, n int, unit string) { b.ReportMetric(100*float64(n)/float64(b.N), unit) }

// inParallel does b.N operations on goroutines that take batches of them. work does n operations, of the given
// goroutine, and says for how many of them something was so.
func inParallel(b *testing.B, crew int, settle func(), work func(goroutine, n int) int) (sum int) {
	var taken, total atomic.Int64
	var wg sync.WaitGroup
	before := warm.CPUTime(b)
	b.ResetTimer()
	for g := range crew {
		wg.Go(func() {
			mine := 0
			for {
				begin := taken.Add(cacheBatch) - cacheBatch
				if begin >= int64(b.N) {
					break
				}
				mine += work(g, int(min(cacheBatch, int64(b.N)-begin)))
			}
			total.Add(int64(mine))
		})
	}
	wg.Wait()
	settle()
	b.StopTimer()
	b.ReportMetric(float64(warm.CPUTime(b)-before)/float64(b.N), "cpu-ns/op")
	return int(total.Load())
}

// onRing calls visit with the next keys of each goroutine. They begin at different places of a ring, and in each run at
// others.
func onRing[K cacheKey](ring []K, crew int, visit func(keys []K) int) func(goroutine, n int) int {
	type place struct {
		at int
		_  [56]byte // a cache line each
	}
	places := make([]place, crew)
	first := rand.IntN(len(ring))
	for g := range places {
		places[g].at = (first + g*len(ring)/crew) % len(ring)
	}
	return func(goroutine, n int) (sum int) {
		p := &places[goroutine]
		for n > 0 {
			m := min(n, len(ring)-p.at)
			sum += visit(ring[p.at : p.at+m])
			n -= m
			p.at = (p.at + m) % len(ring)
		}
		return sum
	}
}

// room is a budget in which so many keys fit also when they are not spread evenly over shards.
func room(keys int) int { return max(keys+keys/8, 4096) }

func hitEntries[K cacheKey](name string, keys func() *keySet[K], hash func(K) uint32,
	ttl time.Duration) []Entry {
	of := makers[K, uint64](hash)
	what := "get of a present key, asked for by Zipf 1.0"
	if ttl > 0 {
		of = slices.DeleteFunc(of, func(m maker[K, uint64]) bool { return !m.timed })
		of = slices.Insert(of, 2, maker[K, uint64]{"otter-coarse", "otter v2 with its CoarseClock of 10 ms", true, true,
			otterCoarse[K, uint64]})
		what += ", with a time to live"
	}
	return crewFamilies(cacheReads, "cache/hit-"+name, what+cacheCounted, goroutines(), of,
		func(m maker[K, uint64], b *testing.B, crew int, name string) {
			set := keys()
			hit(b, crew, fillWith(b, name, m, set, room(len(set.keys)), ttl, 1), set)
		})
}

// bounded are the makers of caches that evict.
func bounded[K cacheKey, V any](of []maker[K, V]) []maker[K, V] {
	return slices.DeleteFunc(of, func(m maker[K, V]) bool { return !m.bound })
}

func mixedEntries[K cacheKey](name string, keys func() *keySet[K], hash func(K) uint32) []Entry {
	return crewFamilies(cacheWrites, "cache/get-else-set-"+name, "get, and set after a miss; Zipf 1.03 over a million "+
		"keys, 65 536 entries. hit-% is the part of the gets that were hits"+cacheCounted, goroutines()[1:],
		bounded(makers[K, uint64](hash)), func(m maker[K, uint64], b *testing.B, crew int, name string) {
			mix(b, crew, name, m, keys(), cacheSmall, 4, 1)
		})
}

// mix gets keys and sets those that miss, in a cache that has taken one part of so many of the ring.
func mix[K cacheKey, V any](b *testing.B, crew int, name string, m maker[K, V], set *keySet[K], size, part int,
	value V) {
	visit := func(s *store[K, V]) func([]K) int {
		return func(keys []K) int { return s.getElseSet(keys, value) }
	}
	s := fillOnce(b, name, func() *store[K, V] {
		s := m.open(b, size, 0)
		visit(s)(set.ring[:len(set.ring)/part])
		s.settle()
		return s
	})
	reportPart(b, inParallel(b, crew, s.settle, onRing(set.ring, crew, visit(s))), "hit-%")
}

// newKeys is how many keys newKeyEntries has used up: none comes twice.
var newKeys atomic.Int64

func newKeyEntries() []Entry {
	return crewFamilies(cacheWrites, "cache/set-new", "set of a key that was never there, in a full cache of a "+
		"million entries. refused-% is the part that the cache said it would not take"+cacheCounted, goroutines(),
		bounded(makers[uint64, uint64](hashOfNumber)),
		func(m maker[uint64, uint64], b *testing.B, crew int, name string) {
			s := fillOnce(b, name, func() *store[uint64, uint64] { return fullStore(b, m) })
			buffers := make([][]uint64, crew)
			for g := range buffers {
				buffers[g] = make([]uint64, cacheBatch)
			}
			reportPart(b, inParallel(b, crew, s.settle, func(g, n int) int {
				return s.set(nextKeys(buffers[g][:n]), 1)
			}), "refused-%")
		})
}

// fullStore is a cache of a million entries that has evicted some already.
func fullStore(b *testing.B, m maker[uint64, uint64]) *store[uint64, uint64] {
	s := m.open(b, keysMany(), 0)
	for begin := 0; begin < keysMany()+keysMany()/4; begin += cacheBatch {
		s.set(nextKeys(make([]uint64, cacheBatch)), 1)
	}
	s.settle()
	return s
}

func nextKeys(keys []uint64) []uint64 {
	first := int(newKeys.Add(int64(len(keys)))) - len(keys)
	for i := range keys {
		keys[i] = spread(1<<40 + first + i)
	}
	return keys
}

func presentKeyEntries(name string, keys func() *keySet[uint64]) []Entry {
	return crewFamilies(cacheWrites, "cache/set-present-"+name, "set of a present key, chosen by Zipf 1.0"+cacheCounted,
		goroutines(), makers[uint64, uint64](hashOfNumber),
		func(m maker[uint64, uint64], b *testing.B, crew int, name string) {
			set := keys()
			s := fillWith(b, name, m, set, room(len(set.keys)), 0, 1)
			overwrite := func(keys []uint64) int { return s.set(keys, 2) }
			reportPart(b, inParallel(b, crew, s.settle, onRing(set.ring, crew, overwrite)), "refused-%")
		})
}

const heapWhat = "runtime.GC with a full cache of a million entries. empty-gc-ns is the same without it, and " +
	"over-payload-B its memory for an entry beyond key and value"

func arrayHeapEntries() []Entry {
	return cacheFamily(cacheMemory, "cache/heap-array", "uint64 → [100]byte; "+heapWhat,
		makers[uint64, [100]byte](hashOfNumber), func(m maker[uint64, [100]byte], b *testing.B) {
			measureHeap(b, m, 8+100, func(s *store[uint64, [100]byte], i int) {
				s.set([]uint64{spread(i)}, [100]byte{})
			})
		})
}

func bytesHeapEntries() []Entry {
	return cacheFamily(cacheMemory, "cache/heap-bytes", "string of 16 bytes → []byte of 96; "+heapWhat,
		makers[string, []byte](hashOfString), func(m maker[string, []byte], b *testing.B) {
			measureHeap(b, m, 16+16+24+valueBytes, func(s *store[string, []byte], i int) {
				s.set([]string{nameOf(i)}, make([]byte, valueBytes))
			})
		})
}

// measureHeap collects garbage, b.N times, with a million entries that set has set.
func measureHeap[K cacheKey, V any](b *testing.B, m maker[K, V], payload int, set func(s *store[K, V], i int)) {
	var before, after runtime.MemStats
	forget()
	runtime.GC() // what the first one has found is freed by the second
	runtime.ReadMemStats(&before)
	const times = 3
	begun := time.Now()
	for range times {
		runtime.GC()
	}
	empty := time.Since(begun) / times
	s := m.open(b, keysMany(), 0)
	defer s.close()
	for i := range keysMany() + keysMany()/20 { // some more, so that it is full also where it is in parts
		if set(s, i); i%1024 == 0 {
			s.settle()
		}
	}
	s.settle()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	entries := float64(s.entries())
	if entries < 0.98*float64(keysMany()) {
		b.Fatalf("%v entries", entries)
	}
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries-float64(payload), "over-payload-B")
	b.ReportMetric(float64(empty), "empty-gc-ns")
	runtime.KeepAlive(s)
}
