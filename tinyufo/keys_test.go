package tinyufo

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// keysWork runs a cache of one type of keys through its operations, with growth and evictions.
func keysWork[K comparable, V ~int | ~uint64](t *testing.T, key func(i int) K) {
	t.Run(fmt.Sprintf("%T", key(1)), func(t *testing.T) {
		c := New(Options[K, V]{Weight: 60, Weigher: func(K, V) uint32 { return 1 }, Shards: 2})
		n := 0
		for ; n < 100 && (n == 0 || key(n) != key(0)); n++ {
			c.Set(key(n), V(n))
			for back := range min(n, 3) {
				if v, ok := c.Get(key(n - back)); ok && v != V(n-back) {
					t.Fatalf("%d for %v", v, key(n-back))
				}
			}
		}
		if got := c.Len(); got != min(n, 60) {
			t.Errorf("%d entries of %d", got, n)
		}
		for k, v := range c.All() {
			if got, ok := c.Peek(k); got != v || !ok || key(int(v)) != k {
				t.Errorf("%v: %d, %d %v", k, v, got, ok)
			}
			if old, ok := c.Swap(k, v); old != v || !ok {
				t.Errorf("%v: %d %v", k, old, ok)
			}
		}
		c.audit(t)
		for i := range n {
			c.Delete(key(i))
		}
		if got := c.Len(); got != 0 {
			t.Errorf("%d entries after all were deleted", got)
		}
		c.audit(t)
	})
}

type word string

type pair struct {
	a int8
	b string
}

// pointers and channels are keys of types that numbers cannot be converted to.
var (
	pointers [200]int
	channels = func() (c [200]chan int) {
		for i := range c {
			c[i] = make(chan int)
		}
		return c
	}()
)

func anyKey(i int) any {
	return []any{i, fmt.Sprint(i), float64(i), pair{1, fmt.Sprint(i)}}[i%4]
}

// One type for each way to hash and to compare, as the compiler spends half a second on a cache of one more type:
// TestHasher_types has the others, since a cache does nothing else with a key that depends on its type.
func TestKeys(t *testing.T) {
	keysWork[uint8, uint64](t, func(i int) uint8 { return uint8(i) })
	keysWork[uint64, uint64](t, func(i int) uint64 { return uint64(i) << 40 })
	keysWork[uint32, int](t, func(i int) uint32 { return uint32(i) << 20 })
	keysWork[int, int](t, func(i int) int { return -i })
	keysWork[word, int](t, func(i int) word { return word(fmt.Sprint(i)) })
	keysWork[float64, int](t, func(i int) float64 { return float64(i) / 3 })
	keysWork[[3]uint16, int](t, func(i int) [3]uint16 { return [3]uint16{1, uint16(i), 2} })
	keysWork[pair, int](t, func(i int) pair { return pair{int8(i), fmt.Sprint(i)} })
	keysWork[struct{}, int](t, func(int) struct{} { return struct{}{} })
	keysWork[any, int](t, anyKey)
	keysWork[*int, int](t, func(i int) *int { return &pointers[i] })
}

func TestKeys_equalOnesOfFloats(t *testing.T) {
	c := New(Options[float64, int]{Entries: 10})
	c.Set(math.Copysign(0, -1), 1)
	if v, ok := c.Get(0); v != 1 || !ok {
		t.Errorf("0 is not -0: %d %v", v, ok)
	}
}

// Such a key is not found again, so that its entry must not stay, nor move with a table that grows.
func TestKeys_thatAreNotEqualToThemselves(t *testing.T) {
	type point struct{ x, y any }
	evicted := 0
	c := New(Options[any, int]{Weight: 1000, Shards: 1, Weigher: func(any, int) uint32 { return 1 },
		OnEvict: func(any, int, Cause) { evicted++ }})
	nan := math.NaN()
	for i := range 300 {
		c.Set(i, i)
		c.Set(nan, i)
		c.Swap(point{1, nan}, i)
		if v, present := c.GetOrSet([1]float64{nan}, i); v != i || present {
			t.Errorf("%d %v", v, present)
		}
		c.Compute(complex(nan, 1), func(int, bool) (int, Op) { return i, Store })
		if _, ok := c.Get(nan); ok || c.Delete(nan) {
			t.Error("NaN was found")
		}
	}
	for i := range 300 {
		if v, ok := c.Get(i); v != i || !ok {
			t.Fatalf("%d: %d %v", i, v, ok)
		}
	}
	if n := c.Len(); n != 300 || evicted != 4*300 {
		t.Errorf("%d entries, %d evicted", n, evicted)
	}
	if s := c.Stats(); s.Insertions-s.Evictions != 300 {
		t.Errorf("%+v", s)
	}
	c.audit(t)
	c.Purge()
	if n := c.Len(); n != 0 {
		t.Errorf("%d entries after Purge", n)
	}
}

func TestKeys_thatCannotBeHashed(t *testing.T) {
	c := New(Options[any, int]{Entries: 10})
	testutil.Panics(t, "a slice as key", func() { c.Set([]int{1}, 1) })
	c.Set(1, 1)
	c.audit(t)
}

func TestValues_ofNoSize(t *testing.T) {
	c := New(Options[int, struct{}]{Entries: 20, TTL: Forever, Clock: func() int64 { return 0 }})
	for i := range 100 {
		c.Set(i, struct{}{})
		if _, ok := c.Swap(i, struct{}{}); !ok {
			t.Errorf("%d is missing", i)
		}
	}
	c.audit(t)
}

func sizeOfBucket[K comparable, V any](t *testing.T) {
	if n := unsafe.Sizeof(bucket[K, V]{}); n != 64 {
		t.Errorf("a %T takes %d bytes, not a cache line", bucket[K, V]{}, n)
	}
}

// A look-up that hits reads one line of the table, and the entry.
func TestBucket_isOneCacheLine(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("pointers of 4 bytes")
	}
	sizeOfBucket[int, int](t)
	sizeOfBucket[string, []byte](t)
	sizeOfBucket[struct{}, struct{}](t)
	sizeOfBucket[[100]byte, any](t)
	if n := unsafe.Sizeof(entry[uint64, [100]byte]{}); n != 112 {
		t.Errorf("an entry of uint64 and 100 bytes takes %d", n)
	}
}
