package micro

import (
	"encoding/binary"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/coocood/freecache"

	"github.com/edge-proxy/edge/tinyufo"
)

const (
	bytesHits   = "cache of bytes: hits"
	bytesMixed  = "cache of bytes: get and set"
	bytesMemory = "cache of bytes: memory and garbage collection"

	bytesKey    = 8
	bytesValue  = 100
	bytesRecord = bytesKey + bytesValue
	bytesFew    = 8192     // entries: with all that is beside them they fit a second-level cache of 2 MB
	bytesBudget = 32 << 20 // the least that fastcache takes
)

// makersOfBytes make caches of []byte outside of the heap, ours first. They are given a budget of bytes.
func makersOfBytes() []maker[uint64, []byte] {
	return []maker[uint64, []byte]{
		{"edge", "tinyufo.Bytes", true, true, tinyufoBytesStore},
		{"fastcache", "fastcache, FIFO in buckets with a read-write mutex each", true, false, fastcacheStore},
		{"freecache", "freecache, about LRU in segments with a mutex each", true, true, freecacheStore},
	}
}

var bytesEntries = slices.Concat(
	bytesHitEntries("8192", bytesFewNumbers),
	bytesHitEntries("1M", manyNumbers),
	bytesHitEntries("8M", mostNumbers),
	bytesMixedEntries(),
	offHeapEntries("1M", keysMany),
	offHeapEntries("10M", keysMost),
)

var (
	bytesFewNumbers = zipfKeys(exactly(bytesFew), 1.0, ringReads, numbers)
	mostNumbers     = zipfKeys(func() int { return 8 * keysMany() }, 1.0, ringReads, numbers)
	flatNumbers     = zipfKeys(keysMany, 0.8, ringMixed, numbers)
)

func keysMost() int { return 10 * keysMany() }

// bytesRoom is a budget in which so many entries fit in each of the caches.
func bytesRoom(entries int) int { return max(2*entries*bytesRecord, bytesBudget) }

func bytesHitEntries(name string, keys func() *keySet[uint64]) []Entry {
	return crewFamilies(bytesHits, "bytes/hit-"+name, "get of a present key of 8 bytes, asked for by Zipf 1.0; its "+
		"value of 100 bytes is copied"+cacheCounted, goroutines(), makersOfBytes(),
		func(m maker[uint64, []byte], b *testing.B, crew int, name string) {
			set := keys()
			hit(b, crew, fillWith(b, name, m, set, bytesRoom(len(set.keys)), 0, make([]byte, bytesValue)), set)
		})
}

// bytesMixedEntries ask so evenly that the choice of what stays decides: half of the keys do not fit.
func bytesMixedEntries() []Entry {
	return crewFamilies(bytesMixed, "bytes/get-else-set", "get, and set after a miss; Zipf 0.8 over a million keys of "+
		"8 bytes, values of 100 bytes, a budget of 32 MB, which is the least that fastcache takes. hit-% is the part "+
		"of the gets that were hits"+cacheCounted, goroutines(), makersOfBytes(),
		func(m maker[uint64, []byte], b *testing.B, crew int, name string) {
			mix(b, crew, name, m, flatNumbers(), bytesBudget, 2, make([]byte, bytesValue))
		})
}

// offHeapEntries count what the caches have from the kernel, too.
func offHeapEntries(name string, entries func() int) []Entry {
	what := "runtime.GC with a full cache; keys of 8 bytes, values of 100. least-gc-ns is the shortest of them, " +
		"least-empty-gc-ns the same without it, and over-payload-B the memory of the heap and beside it for an entry " +
		"beyond key and value"
	family := "bytes/heap-" + name
	return cacheFamily(bytesMemory, family, what, makersOfBytes(), func(m maker[uint64, []byte], b *testing.B) {
		forget()
		var before, after runtime.MemStats
		empty := collection()
		for range 20 {
			empty = min(empty, collection())
		}
		runtime.ReadMemStats(&before)
		n := entries()
		s := m.open(b, n*(bytesRecord+bytesRecordOver), 0)
		defer s.close()
		keys, value, live := make([]uint64, 1024), make([]byte, bytesValue), 0
		forEach := func(visit func(keys []uint64)) {
			for first := 0; first < n+n/10; first += len(keys) {
				for i := range keys {
					keys[i] = spread(first + i)
				}
				visit(keys)
			}
		}
		forEach(func(keys []uint64) { s.set(keys, value) })
		forEach(func(keys []uint64) { live += s.get(keys) })
		least := collection()
		runtime.ReadMemStats(&after)
		taken := float64(after.HeapAlloc) - float64(before.HeapAlloc)
		if s.offHeap != nil {
			taken += float64(s.offHeap())
		}
		for b.Loop() {
			least = min(least, collection())
		}
		b.ReportMetric(taken/float64(live)-bytesRecord, "over-payload-B")
		b.ReportMetric(float64(live)/float64(n)*100, "entries-%")
		b.ReportMetric(float64(least), "least-gc-ns")
		b.ReportMetric(float64(empty), "least-empty-gc-ns")
		runtime.KeepAlive(s)
	})
}

// bytesRecordOver is what the caches need for an entry inside their budget: 4 to 24 bytes.
const bytesRecordOver = 12

// collection is how long one runtime.GC takes.
func collection() time.Duration {
	begun := time.Now()
	runtime.GC()
	return time.Since(begun)
}

func appendKey(buf []byte, k uint64) []byte { return binary.LittleEndian.AppendUint64(buf, k) }

func tinyufoBytesStore(size int, ttl time.Duration) (*store[uint64, []byte], error) {
	c, err := tinyufo.NewBytes(tinyufo.BytesOptions{Size: int64(size), TTL: ttl})
	return &store[uint64, []byte]{
		get: func(keys []uint64) int {
			key, value := make([]byte, 0, bytesKey), make([]byte, 0, bytesValue)
			return count(keys, func(k uint64) bool { _, ok := c.Get(value, appendKey(key, k)); return ok })
		},
		set: func(keys []uint64, value []byte) int {
			key := make([]byte, 0, bytesKey)
			return count(keys, func(k uint64) bool { return !c.Set(appendKey(key, k), value) })
		},
		entries: c.Len, close: c.Close, offHeap: func() int { return size },
	}, err
}

func fastcacheStore(size int, _ time.Duration) (*store[uint64, []byte], error) {
	c := fastcache.New(size)
	stats := func() (s fastcache.Stats) {
		c.UpdateStats(&s)
		return s
	}
	return &store[uint64, []byte]{
		get: func(keys []uint64) int {
			key, value := make([]byte, 0, bytesKey), make([]byte, 0, bytesValue)
			return count(keys, func(k uint64) bool { _, ok := c.HasGet(value, appendKey(key, k)); return ok })
		},
		set: func(keys []uint64, value []byte) int {
			key := make([]byte, 0, bytesKey)
			return count(keys, func(k uint64) bool { c.Set(appendKey(key, k), value); return false })
		},
		entries: func() int { return int(stats().EntriesCount) }, close: c.Reset,
		offHeap: func() int { return int(stats().BytesSize) },
	}, nil
}

func freecacheStore(size int, ttl time.Duration) (*store[uint64, []byte], error) {
	c := freecache.NewCache(size)
	expires := int(ttl / time.Second)
	return &store[uint64, []byte]{
		get: func(keys []uint64) int {
			key, value := make([]byte, 0, bytesKey), make([]byte, bytesValue)
			return count(keys, func(k uint64) bool {
				_, err := c.GetWithBuf(appendKey(key, k), value)
				return err == nil
			})
		},
		set: func(keys []uint64, value []byte) int {
			key := make([]byte, 0, bytesKey)
			return count(keys, func(k uint64) bool { return c.Set(appendKey(key, k), value, expires) != nil })
		},
		entries: func() int { return int(c.EntryCount()) },
	}, nil
}
