package tinyufo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// audit fails when a cache that nobody uses is not what its parts say of each other.
func (c *Flat[K, V]) audit(t *testing.T) {
	t.Helper()
	passes := make(map[*flatBucket]uint64)
	live, found := 0, 0
	for n := range c.shards {
		s := &c.shards[n]
		if int64(s.live) != s.small+s.main || s.small+s.main > s.capacity {
			t.Errorf("live %d, small %d, main %d, capacity %d", s.live, s.small, s.main, s.capacity)
		}
		live += s.live
		free := 0
		for i := s.free; i != 0; i = s.nodes[i].next {
			free++
		}
		if nodeMin+s.live+free != len(s.nodes) {
			t.Errorf("%d nodes live, %d free, of %d", s.live, free, len(s.nodes))
		}
		for i := uint32(nodeMin); i < uint32(len(s.nodes)); i++ {
			state := s.slot(i).Load() & stateMask
			if s.at[i].queue() == inNone {
				if state != slotFree {
					t.Errorf("node %d is free, its slot in state %d", i, state)
				}
				continue
			}
			found++
			var key K
			loadWords(&key, keyAt(s.slot(i)), false, 0)
			hash := c.hasher.of(key)
			at, word := s.locate(hash, key)
			if at != i || word&stateMask != slotLive || uint32(hash) != s.nodes[i].hash {
				t.Errorf("%v is at %d, and found at %d with word %x", key, i, at, word)
			}
			for d := range s.at[i].depth() {
				passes[c.index.after(uint32(hash), d)]++
			}
		}
	}
	if live != found || live != c.Len() {
		t.Errorf("%d live, %d found, Len is %d", live, found, c.Len())
	}
	tags := 0
	for i := range c.index.buckets {
		b := &c.index.buckets[i]
		word := b.word.Load()
		if word>>passedShift != passes[b] {
			t.Errorf("bucket %d has passed %d, not %d", i, word>>passedShift, passes[b])
		}
		for lane := range uint(slotCount) {
			if word>>(8*lane)&0xfc != 0 {
				tags++
			}
		}
	}
	if tags != live {
		t.Errorf("%d places are taken for %d entries", tags, live)
	}
}

// flatWork runs a cache of one type of keys and one of values through its operations, beside a map.
func flatWork[K, V comparable](t *testing.T, key func(i int) K, value func(i int) V) {
	t.Run(fmt.Sprintf("%T to %T", key(0), value(0)), func(t *testing.T) {
		c := NewFlat[K, V](FlatOptions{Entries: 60, Shards: 2})
		model := make(map[K]V)
		rng := rand.New(rand.NewPCG(1, 1))
		for n := range 4000 {
			k := key(rng.IntN(120))
			v, ok := c.Get(k)
			if want, known := model[k]; ok && (!known || v != want) {
				t.Fatalf("%v for %v; the model has %v %v", v, k, want, known)
			}
			switch rng.IntN(8) {
			case 0:
				delete(model, k)
				if c.Delete(k) != ok {
					t.Fatalf("%v: Get said %v", k, ok)
				}
			case 1, 2, 3:
				model[k] = value(n)
				c.Set(k, model[k])
			}
		}
		c.audit(t)
		for k, v := range c.All() {
			if v != model[k] {
				t.Errorf("%v for %v, not %v", v, k, model[k])
			}
			c.Delete(k)
		}
		if n := c.Len(); n != 0 {
			t.Errorf("%d entries after all were deleted", n)
		}
		c.audit(t)
	})
}

type (
	padded struct {
		a uint8
		b uint32
		_ uint16
		c bool
		d float64
	}
	id    [3]byte
	empty struct{}
	wide  [13]uint64
)

func number[T ~int8 | ~uint8 | ~int16 | ~int32 | ~uint32 | ~int | ~uint64 | ~float32 | ~float64](i int) T {
	return T(i)
}

func array[T ~[1]byte | ~[2]byte | ~[3]byte | ~[4]byte | ~[5]byte | ~[6]byte | ~[7]byte | ~[8]byte | ~[9]byte |
	~[12]byte | ~[13]byte | ~[100]byte](i int) (x T) {
	for j := range len(x) {
		x[j] = byte(i>>(8*(j%3))) ^ byte(j/3)
	}
	return x
}

func widest(i int) (w wide) {
	for j := range w {
		w[j] = uint64(i) << (j % 3)
	}
	return w
}

func padding(i int) padded {
	return padded{a: uint8(i), b: uint32(i) << 20, c: i%2 == 1, d: float64(i) / 3}
}

// One pair of types for each way to hash and to lay out a slot, as the compiler spends half a second on a Flat of one
// more pair: TestSlot_types has the others.
func TestFlat_types(t *testing.T) {
	flatWork(t, number[int], number[int])
	flatWork(t, number[int32], array[[2]byte])
	flatWork(t, number[float64], number[int])
	flatWork(t, number[uint64], array[[100]byte])
	flatWork(t, array[id], array[[13]byte])
	flatWork(t, widest, padding)
	flatWork(t, padding, func(int) empty { return empty{} })
	flatWork(t, func(int) empty { return empty{} }, func(i int) bool { return i%2 == 1 })
}

// slotWorks writes keys and values of two types to a slot and reads them again. The words around it stay.
func slotWorks[K, V comparable](t *testing.T, key func(i int) K, value func(i int) V) {
	t.Helper()
	mustBeFlat[K]("key")
	mustBeFlat[V]("value")
	const guard = 0x5a5a_5a5a_5a5a_5a5a
	words := make([]sharedWord, slotBytes[K, V]()/8+2)
	for i := range 120 {
		for j := range words {
			words[j].Store(guard)
		}
		k, v, slot := key(i), value(i), &words[1]
		storeWords(keyAt(slot), &k, false)
		tail := storeWords(valueAt[K](slot), &v, true)
		var gotKey K
		var got V
		loadWords(&gotKey, keyAt(slot), false, 0)
		loadWords(&got, valueAt[K](slot), true, tail)
		if gotKey != k || got != v || !equalsKey(slot, k) {
			t.Errorf("%v to %v became %v to %v", k, v, gotKey, got)
		}
		if next := key(i + 1); equalsKey(slot, next) != (next == k) {
			t.Errorf("%v is taken for %v", k, next)
		}
		for _, j := range []int{0, 1, len(words) - 1} {
			if word := words[j].Load(); word != guard {
				t.Errorf("%T to %T: word %d of %d became %x", k, v, j-1, len(words)-2, word)
			}
		}
	}
}

func TestSlot_types(t *testing.T) {
	slotWorks(t, number[int8], number[uint8])
	slotWorks(t, number[int16], array[[1]byte])
	slotWorks(t, number[int32], array[[2]byte])
	slotWorks(t, number[uint32], array[id])
	slotWorks(t, number[int], array[[4]byte])
	slotWorks(t, number[uint64], array[[5]byte])
	slotWorks(t, number[float32], array[[6]byte])
	slotWorks(t, number[float64], array[[7]byte])
	slotWorks(t, array[[2]byte], array[[8]byte])
	slotWorks(t, array[id], array[[9]byte])
	slotWorks(t, array[[4]byte], array[[12]byte])
	slotWorks(t, array[[5]byte], array[[13]byte])
	slotWorks(t, array[[7]byte], array[[100]byte])
	slotWorks(t, array[[9]byte], number[float64])
	slotWorks(t, number[uint64], widest)
	slotWorks(t, widest, padding)
	slotWorks(t, padding, func(int) empty { return empty{} })
	slotWorks(t, func(i int) bool { return i%2 == 1 }, func(i int) complex128 { return complex(float64(i), 1) })
	slotWorks(t, func(int) empty { return empty{} }, number[uint64])
	slotWorks(t, func(i int) [0]*int { return [0]*int{} }, number[uint64])
	slotWorks(t, func(i int) [2]padded { return [2]padded{padding(i), padding(-i)} }, number[int32])
}

// What == does not look at is no part of a key.
func TestFlat_comparesKeysByValue(t *testing.T) {
	c := NewFlat[padded, int](FlatOptions{Entries: 100})
	a, b := padding(7), padding(7)
	for i, p := range []*padded{&a, &b} {
		bytes := unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
		bytes[1], bytes[8] = byte(i), byte(i) // after a, and the field _
	}
	c.Set(a, 1)
	if v, ok := c.Get(b); v != 1 || !ok {
		t.Error("padding is part of the key")
	}
	f := NewFlat[float64, int](FlatOptions{Entries: 100})
	f.Set(0, 1)
	if v, ok := f.Get(math.Copysign(0, -1)); v != 1 || !ok {
		t.Error("-0 is not 0")
	}
	f.Set(math.NaN(), 2)
	if f.Len() != 1 || f.Delete(math.NaN()) {
		t.Error("a NaN is cached")
	}
	if s := f.Stats(); s.Insertions != 2 || s.Evictions != 1 {
		t.Errorf("%+v", s)
	}
	f.audit(t)
}

func TestNewFlat_namesThePointer(t *testing.T) {
	type named struct {
		id    int
		owner struct{ names [2]string }
	}
	huge, hugeShard := FlatOptions{Entries: math.MaxInt}, FlatOptions{Entries: math.MaxInt, Shards: 1}
	for want, make := range map[string]func(){
		"value without pointers, and *int is of type *int":   func() { NewFlat[int, *int](FlatOptions{Entries: 1}) },
		"key without pointers, and string is of type string": func() { NewFlat[string, int](FlatOptions{Entries: 1}) },
		"tinyufo.named.owner.names[0] is of type string":     func() { NewFlat[int, named](FlatOptions{Entries: 1}) },
		"value without pointers, and interface {} is":        func() { NewFlat[int, any](FlatOptions{Entries: 1}) },
		"Options need one of Entries and Weight":             func() { NewFlat[int, int](FlatOptions{}) },
		"Entries is more than two billion":                   func() { NewFlat[int, int](huge) },
		"more than two billion":                              func() { NewFlat[int, int](hugeShard) },
	} {
		func() {
			defer func() {
				if says := fmt.Sprint(recover()); !strings.Contains(says, want) {
					t.Errorf("%q, not %q", says, want)
				}
			}()
			make()
		}()
	}
}

func TestFlat_keepsTheBudget(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, entries := range []int{1, 2, 7, 100, 1000, 5000} {
		c := NewFlat[int, int](FlatOptions{Entries: entries})
		for i := range 10 * entries {
			c.Set(i, i)
			if n := c.Len(); n > entries {
				t.Fatalf("%d entries of %d after %d", n, entries, i)
			}
		}
		if n := c.Len(); n != entries {
			t.Errorf("%d entries of %d in the end", n, entries)
		}
		c.audit(t)
		c.Purge()
		if n := c.Len(); n != 0 {
			t.Errorf("%d entries after Purge", n)
		}
		c.audit(t)
	}
}

// Keys of the same two lines fill four buckets. The next one takes the place of one that was not hit.
func TestFlat_fullBuckets(t *testing.T) {
	c := NewFlat[int, int](FlatOptions{Entries: 300, Shards: 1})
	x := &c.index
	home := func(k, depth int) *flatBucket { return x.after(uint32(c.hasher.of(k)), depth) }
	if home(0, 2) == home(0, 0) || home(0, 2) == home(0, 1) {
		t.Skip("both lines of key 0 are one")
	}
	var keys []int
	for k := 1; len(keys) < 100; k++ {
		if home(k, 0) == home(0, 0) && home(k, 2) == home(0, 2) {
			keys = append(keys, k)
		}
	}
	const fit = depthMax * slotCount
	for i, k := range keys {
		c.Set(k, i)
		if i > 0 {
			c.Get(keys[0]) // a use, so that it stays
		}
		if v, ok := c.Get(k); v != i || !ok {
			t.Fatalf("key %d: %d %v", i, v, ok)
		}
		if n := c.Len(); n != min(i+1, fit) {
			t.Fatalf("%d entries after %d", n, i+1)
		}
	}
	if _, ok := c.Get(keys[0]); !ok {
		t.Error("the used one has left")
	}
	c.audit(t)
	for _, k := range keys {
		c.Delete(k)
	}
	c.audit(t)
}

// An entry moves to its other line to make room, with its uses, and comes and goes no less for it.
func TestFlat_movesToMakeRoom(t *testing.T) {
	c := NewFlat[int, int](FlatOptions{Entries: 3000, Shards: 1})
	for i := range 3000 {
		c.Set(i*i, i)
		c.Get(i * i)
		if v, ok := c.Get(i * i / 2 / (i + 1)); ok && v*v != i*i/2/(i+1) {
			t.Fatalf("%d for %d", v, i*i/2/(i+1))
		}
	}
	c.audit(t)
	s, moved := &c.shards[0], 0
	for i := uint32(nodeMin); i < uint32(len(s.nodes)); i++ {
		if s.at[i].queue() == inNone {
			continue
		}
		word, shift := s.lane(i)
		uses := word.Load() >> shift & usesMax
		if to, ok := c.index.advance(s.nodes[i].hash, s.at[i]); ok {
			s.at[i] = s.at[i]&(queueMask|young) | to
			moved++
			if word, shift := s.lane(i); word.Load()>>shift&usesMax != uses {
				t.Fatal("a moved entry has lost its uses")
			}
		}
	}
	if c.audit(t); moved == 0 {
		t.Error("none has moved")
	}
	for i := range 3000 {
		if v, ok := c.Get(i * i); ok && v != i {
			t.Fatalf("%d for %d", v, i*i)
		}
	}
	if c.Purge(); c.Len() != 0 {
		t.Errorf("%d entries after Purge", c.Len())
	}
	c.audit(t)
}

// A cache of common load seldom has full buckets: what they evict was not the policy's choice.
func TestFlat_seldomHasFullBuckets(t *testing.T) {
	testutil.OnlyPlain(t)
	const entries = 200_000
	c := NewFlat[int, empty](FlatOptions{Entries: entries, Shards: 1})
	rng := rand.New(rand.NewPCG(1, 4))
	for range entries {
		c.Set(rng.Int(), empty{})
	}
	if n := entries - c.Len(); n > entries/10_000 {
		t.Errorf("%d of %d entries found no place", n, entries)
	}
}

// The policy is Cache's, with half of its sketch.
func TestFlat_hitsAsCacheDoes(t *testing.T) {
	testutil.OnlyPlain(t)
	const entries, keys = 5000, 100_000
	zipf := rand.NewZipf(rand.New(rand.NewPCG(3, 3)), 1.05, 1, keys-1)
	c := New(Options[uint64, uint64]{Entries: entries, Shards: 4})
	f := NewFlat[uint64, uint64](FlatOptions{Entries: entries, Shards: 4})
	hits := [2]int{}
	const n = 400_000
	for range n {
		k := zipf.Uint64()
		if _, ok := c.Get(k); ok {
			hits[0]++
		} else {
			c.Set(k, k)
		}
		if _, ok := f.Get(k); ok {
			hits[1]++
		} else {
			f.Set(k, k)
		}
	}
	t.Logf("Cache %.2f %%, Flat %.2f %%", 100*float64(hits[0])/n, 100*float64(hits[1])/n)
	if hits[1] < hits[0]-n/200 {
		t.Errorf("Flat has %d hits, Cache %d", hits[1], hits[0])
	}
}

func TestFlat_compute(t *testing.T) {
	c := NewFlat[int, int](FlatOptions{Entries: 100})
	store := func(v int) func(int, bool) (int, Op) { return func(int, bool) (int, Op) { return v, Store } }
	keep := func(int, bool) (int, Op) { return 9, Keep }
	remove := func(int, bool) (int, Op) { return 9, Remove }
	for i, step := range []struct {
		f    func(int, bool) (int, Op)
		want int
		ok   bool
	}{
		{keep, 0, false}, {remove, 0, false}, {store(1), 1, true}, {keep, 1, true}, {store(2), 2, true},
		{remove, 0, false}, {keep, 0, false},
	} {
		if v, ok := c.Compute(5, step.f); v != step.want || ok != step.ok {
			t.Errorf("step %d: %d %v", i, v, ok)
		}
		if v, ok := c.Peek(5); v != step.want || ok != step.ok {
			t.Errorf("Peek after step %d: %d %v", i, v, ok)
		}
	}
	const goroutines, each = 4, 500
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				c.Compute(7, func(old int, _ bool) (int, Op) { return old + 1, Store })
			}
		})
	}
	wg.Wait()
	if v, _ := c.Get(7); v != goroutines*each {
		t.Errorf("%d increments of %d", v, goroutines*each)
	}
}

func TestFlat_getOrSetHasOneWinner(t *testing.T) {
	c := NewFlat[int, int](FlatOptions{Entries: 1000})
	for k := range 200 {
		var wg sync.WaitGroup
		var winners atomic.Int32
		var got [3]int
		for g := range got {
			wg.Go(func() {
				v, present := c.GetOrSet(k, g)
				if got[g] = v; !present {
					winners.Add(1)
				}
			})
		}
		wg.Wait()
		if winners.Load() != 1 || got[0] != got[1] || got[1] != got[2] {
			t.Fatalf("%d winners, values %v", winners.Load(), got)
		}
	}
}

func TestFlat_expires(t *testing.T) {
	const step = time.Duration(1 << granule)
	for _, ttl := range []time.Duration{time.Nanosecond, step - 1, step, 10*step + 1} {
		for _, began := range []int64{0, 1, int64(step) - 1, 1e12} {
			now := began
			c := NewFlat[int, int](FlatOptions{Entries: 100, TTL: Forever, Clock: func() int64 { return now }})
			c.Set(1, 1)
			c.SetTTL(2, 2, ttl)
			now = began + int64(ttl) - 1
			if v, ok := c.Get(2); v != 2 || !ok {
				t.Errorf("TTL %v from %d: expired early", ttl, began)
			}
			now = began + int64(ttl+2*step)
			if v, ok := c.Get(2); ok || v != 0 {
				t.Errorf("TTL %v from %d: %d is still there", ttl, began, v)
			}
			if c.Delete(2) {
				t.Errorf("TTL %v from %d: Delete had a value", ttl, began)
			}
			now = math.MaxInt64
			if _, ok := c.Get(1); !ok {
				t.Error("what lives for ever is gone")
			}
		}
	}
}

// A clock may count from 1970, and go on for longer than 32 bits of granules.
func TestFlat_expiresByAnyClock(t *testing.T) {
	for _, began := range []int64{0, 1.8e18, math.MaxInt64 - int64(time.Hour)} {
		now := began
		c := NewFlat[int, int](FlatOptions{Entries: 10, TTL: time.Second, Clock: func() int64 { return now }})
		c.Set(1, 1)
		if _, ok := c.Get(1); !ok {
			t.Errorf("from %d: expired at once", began)
		}
		now += int64(2 * time.Second)
		if _, ok := c.Get(1); ok {
			t.Errorf("from %d: has not expired", began)
		}
		c.Set(1, 2)
		if v, ok := c.Get(1); v != 2 || !ok {
			t.Errorf("from %d: expired at once, later", began)
		}
		now = began - 1 // not monotonic, and yet nothing but late
		if _, ok := c.Get(1); !ok {
			t.Errorf("from %d: expired before it began", began)
		}
	}
}

// All that a reader may point to is in the array: even where the value of the last slot is in its word 0.
func TestFlat_pointsIntoItsArray(t *testing.T) {
	end := func(slots []sharedWord) uintptr {
		return uintptr(unsafe.Pointer(unsafe.SliceData(slots))) + 8*uintptr(len(slots))
	}
	set := NewFlat[uint64, empty](FlatOptions{Entries: 5, Shards: 1})
	if at := valueAt[uint64](set.slot(set.index.slots - 1)); uintptr(unsafe.Pointer(at)) >= end(set.slots) {
		t.Error("the value of the last slot of a set is after the array")
	}
	flag := NewFlat[empty, bool](FlatOptions{Entries: 5, Shards: 1})
	if at := keyAt(flag.slot(flag.index.slots - 1)); uintptr(unsafe.Pointer(at)) >= end(flag.slots) {
		t.Error("the key of the last slot is after the array")
	}
}

// Changes drop what has expired, so that it takes no room from what has not.
func TestFlat_sweepsWhatHasExpired(t *testing.T) {
	var now int64
	c := NewFlat[int, int](FlatOptions{Entries: 1000, TTL: time.Second, Clock: func() int64 { return now }, Shards: 1})
	for i := range 1000 {
		c.Set(i, i)
	}
	now = int64(2 * time.Second)
	for range c.All() {
		t.Fatal("All goes over what has expired")
	}
	for range 1003/sweepStep + 1 {
		c.Set(-1, 1)
	}
	if s := c.Stats(); c.Len() != 1 || s.Expirations+s.Evictions != 1000 || s.Evictions > 5 { // by full buckets
		t.Errorf("%d entries, %+v", c.Len(), s)
	}
	c.audit(t)
}

func TestFlat_keepsTheTime(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		c := NewFlat[int, int](FlatOptions{Entries: 100, TTL: 3 * time.Second})
		defer c.Close()
		time.Sleep(10 * time.Second)
		c.Set(1, 1)
		c.SetTTL(2, 2, time.Minute)
		c.SetTTL(3, 3, -1)
		time.Sleep(3*time.Second - 1)
		if v, _ := c.Get(1); v != 1 {
			t.Error("expired early")
		}
		time.Sleep(time.Second)
		if _, ok := c.Get(1); ok {
			t.Error("has not expired")
		}
		if v, _ := c.Peek(2); v != 2 {
			t.Error("expired by the cache's time")
		}
		if _, ok := c.Get(3); ok {
			t.Error("SetTTL of -1 has set")
		}
	})
	flat, cache := NewFlat[int, int](FlatOptions{Entries: 100}), New(Options[int, int]{Entries: 100})
	flat.Set(1, 1)
	cache.Set(1, 1)
	flat.SetTTL(1, 2, time.Second)
	cache.SetTTL(1, 2, time.Second)
	if flat.Len()+cache.Len() != 0 {
		t.Error("a cache without times to live keeps what was to live for a second")
	}
}

func TestFlat_stats(t *testing.T) {
	c := NewFlat[int, int](FlatOptions{Entries: 1, Stats: true})
	c.Get(1)
	c.Set(1, 1)
	c.Get(1)
	c.GetOrSet(1, 2)
	c.Peek(1)
	c.Set(2, 2)
	c.Delete(1)
	c.Delete(2)
	if s := c.Stats(); s != (Stats{Hits: 2, Misses: 1, Insertions: 2, Evictions: 1, Deletions: 1}) {
		t.Errorf("%+v", s)
	}
}

// stamp makes a value that says in each word of which key and version it is.
func stamp(key, version uint64) (v wide) {
	for i := range v {
		v[i] = key<<40 ^ version<<8 ^ uint64(i)
	}
	return v
}

// versionOf is the version of a stamped value; ok is false when it is torn, or of another key.
func versionOf(key uint64, v *wide) (version uint64, ok bool) {
	version = (v[0] ^ key<<40) >> 8
	return version, *v == stamp(key, version)
}

// Readers of entries that change, leave and come back see whole values of their keys, and never an older one than
// before.
func TestFlat_underConcurrency(t *testing.T) {
	for name, o := range map[string]FlatOptions{
		"roomy": {Entries: 300},
		"few":   {Entries: 8, Shards: 1},
		"times": {Entries: 300, TTL: time.Millisecond, Clock: func() int64 { return time.Now().UnixNano() }},
		"stats": {Entries: 64, Shards: 2, Stats: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewFlat[uint64, wide](o)
			operations := stressOperations() / 4
			var wg sync.WaitGroup
			for g := range uint64(4) {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(g, 1))
					seen := make(map[uint64]uint64)
					for n := uint64(1); n < uint64(operations); n++ {
						k := min(rng.Uint64N(256), rng.Uint64N(256))
						mine := k&^3 | g // each key has one writer
						switch op := rng.IntN(16); {
						case op < 10:
							v, ok := c.Get(k)
							version, whole := versionOf(k, &v)
							if ok && (!whole || version < seen[k]) {
								t.Errorf("%x for %d, where %d was seen", v, k, seen[k])
								return
							}
							if ok {
								seen[k] = version
							}
						case op < 13:
							c.Set(mine, stamp(mine, n))
						case op < 14:
							c.Delete(k)
						case op < 15:
							c.Compute(mine, func(old wide, ok bool) (wide, Op) {
								if _, whole := versionOf(mine, &old); ok && !whole {
									t.Errorf("Compute of %x for %d", old, mine)
								}
								return stamp(mine, n), Store
							})
						case n%512 == 0:
							c.Purge()
						case n%512 == 1:
							for k, v := range c.All() {
								if _, whole := versionOf(k, &v); !whole {
									t.Errorf("All has %x for %d", v, k)
								}
							}
						}
					}
				})
			}
			wg.Wait()
			c.audit(t)
			if s := c.Stats(); s.Insertions != uint64(c.Len())+s.Evictions+s.Deletions+s.Expirations {
				t.Errorf("%d entries, %+v", c.Len(), s)
			}
		})
	}
}

// A reader that meets a writer who is stopped waits for it, and finds what it has written.
func TestFlat_waitsForAWriter(t *testing.T) {
	c := NewFlat[uint64, uint64](FlatOptions{Entries: 10, Shards: 1})
	c.Set(1, 1)
	s := &c.shards[0]
	s.mu.Lock()
	i, _ := s.locate(c.hasher.of(1), 1)
	slot := s.slot(i)
	word := begun(slot.Load())
	slot.Store(word)
	got := make(chan uint64)
	go func() {
		v, _ := c.Get(1)
		got <- v
	}()
	go func() {
		for _, v := range c.All() {
			got <- v
		}
	}()
	for range 100 {
		runtime.Gosched()
	}
	two := uint64(2)
	s.finish(i, slot, word, &two, 0)
	s.mu.Unlock()
	if a, b := <-got, <-got; a != 2 || b != 2 {
		t.Errorf("%d, %d", a, b)
	}
}

// The figures of the README: what an entry of 8 + 100 bytes takes beside that.
func TestFlat_sizes(t *testing.T) {
	if n := unsafe.Sizeof(flatBucket{}); n != 32 {
		t.Errorf("a bucket of %d bytes: two are a cache line", n)
	}
	if n := slotBytes[uint64, [100]byte](); n != 112 {
		t.Errorf("a slot of %d bytes: the tail of the value shares a word with the version", n)
	}
	if testing.Short() || testutil.RaceOn {
		return
	}
	const entries = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := NewFlat[uint64, [100]byte](FlatOptions{Entries: entries})
	runtime.GC()
	runtime.ReadMemStats(&after)
	over := float64(after.HeapAlloc-before.HeapAlloc)/entries - 108
	runtime.KeepAlive(c)
	if t.Logf("%.2f bytes", over); over > 28 {
		t.Errorf("%.2f bytes beside key and value", over)
	}
}

// FuzzFlat runs operations on a cache beside a map that never forgets: three bytes each, what, which key, and how much.
func FuzzFlat(f *testing.F) {
	f.Add([]byte("\x00\x03set1set2get1get2"))
	fuzzOperations(f, 4, func(t *testing.T, ops []byte) {
		var now int64
		o := FlatOptions{Entries: int(ops[1]%64) + 2, Shards: 1 + int(ops[0]&1)}
		if ops[0]&2 != 0 {
			o.TTL, o.Clock = 8*modelTick, func() int64 { return now }
		}
		m := &flatModel{T: t, c: NewFlat[uint8, [3]uint64](o), now: &now, model: make(map[uint8]modelEntry)}
		for ops = ops[2:]; len(ops) >= 3 && !t.Failed(); ops = ops[3:] {
			m.do(ops[0]%12, ops[1]%96, ops[2])
			if n := m.c.Len(); n > o.Entries {
				t.Errorf("%d entries of %d", n, o.Entries)
			}
		}
		m.c.audit(t)
	})
}

// flatModel is a cache beside a map that never forgets. An entry of the model has expired when the cache must not
// return it any more.
type flatModel struct {
	*testing.T
	c      *Flat[uint8, [3]uint64]
	now    *int64
	model  map[uint8]modelEntry
	serial uint64
}

func (m *flatModel) saw(what string, key uint8, got [3]uint64, ok bool) {
	want, present := m.model[key]
	switch {
	case !ok && got != [3]uint64{}:
		m.Errorf("%s of %d: %v and false", what, key, got)
	case !ok:
		delete(m.model, key)
	case !present || want.expiry <= *m.now || got != [3]uint64{want.value, uint64(key), ^want.value}:
		m.Errorf("%s of %d: %v; the model has %v %v at %d", what, key, got, want, present, *m.now)
	}
}

// value is a new value of key, which the model has from now on.
func (m *flatModel) value(key uint8, ttl time.Duration) [3]uint64 {
	m.serial++
	m.model[key] = modelEntry{m.serial, later(*m.now, later64(ttl, 2<<granule))}
	return [3]uint64{m.serial, uint64(key), ^m.serial}
}

func later64(a, b time.Duration) time.Duration { return time.Duration(later(int64(a), b)) }

func (m *flatModel) do(op, key, arg byte) {
	c := m.c
	ttl := c.ttl
	if !c.timed {
		ttl = Forever
	}
	switch op {
	case 0, 1:
		v, ok := c.Get(key)
		m.saw("Get", key, v, ok)
	case 2, 3, 4:
		c.Set(key, m.value(key, ttl))
	case 5:
		if c.timed {
			ttl = time.Duration(int(arg)+1) * modelTick
			c.SetTTL(key, m.value(key, ttl), ttl)
		}
	case 6:
		if _, present := m.model[key]; c.Delete(key) && !present {
			m.Errorf("Delete of %d, which is not in the model", key)
		}
		delete(m.model, key)
	case 7:
		before, present := m.model[key]
		v, ok := c.GetOrSet(key, m.value(key, ttl))
		if ok {
			delete(m.model, key)
			if present {
				m.model[key] = before
			}
		}
		m.saw("GetOrSet", key, v, true)
	case 8:
		m.compute(key, Op(arg%3), ttl)
	case 9:
		*m.now += int64(arg%8) * int64(modelTick)
	case 10:
		if arg%8 == 0 {
			c.Purge()
			clear(m.model)
		}
	default:
		for key, v := range c.All() {
			m.saw("All", key, v, true)
		}
	}
}

func (m *flatModel) compute(key uint8, op Op, ttl time.Duration) {
	got, ok := m.c.Compute(key, func(old [3]uint64, ok bool) (v [3]uint64, _ Op) {
		m.saw("Compute", key, old, ok)
		if op == Store {
			v = m.value(key, ttl)
		}
		return v, op
	})
	if op == Remove {
		delete(m.model, key)
	}
	m.saw("Compute", key, got, ok)
}
