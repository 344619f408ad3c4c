package tinyufo

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestCache_keepsTheBudget(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, entries := range []int{1, 2, 7, 100, 1000, 5000} {
		c := New(Options[int, int]{Entries: entries})
		for i := range 10 * entries {
			c.Set(i, i)
			if n := c.Weight(); n > int64(entries) {
				t.Fatalf("%d entries of %d after %d", n, entries, i)
			}
		}
		if n := c.Len(); n != entries {
			t.Errorf("%d entries of %d in the end", n, entries)
		}
	}
}

func TestCache_valuesAreOfTheirKeys(t *testing.T) {
	c := New(Options[string, string]{Entries: 1000})
	for i := range 5000 {
		k := fmt.Sprint(i)
		c.Set(k, "v"+k)
		for _, back := range []int{0, 1, 7, 500} {
			k := fmt.Sprint(max(0, i-back))
			if v, ok := c.Get(k); ok && v != "v"+k {
				t.Fatalf("%q for %q", v, k)
			}
		}
	}
	if !c.Delete("4999") || c.Delete("4999") {
		t.Error("Delete: not once")
	}
	if _, ok := c.Get("4999"); ok {
		t.Error("a deleted key has a value")
	}
}

// Each value says of which key it is, and how many times its writer had written it: a reader never sees it go back.
func TestCache_underConcurrency(t *testing.T) {
	for name, o := range map[string]Options[uint64, [2]uint64]{
		"entries": {Entries: 300},
		"weight":  {Weight: 2000, Weigher: func(k uint64, _ [2]uint64) uint32 { return uint32(k%7) + 1 }, Shards: 2},
		"times":   {Entries: 300, TTL: time.Millisecond, Resolution: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var left atomic.Int64
			o.OnEvict = func(uint64, [2]uint64, Cause) { left.Add(1) }
			c := New(o)
			defer c.Close()
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(g), 1))
					seen := make(map[uint64]uint64)
					for n := uint64(1); n < 20_000; n++ {
						k := rng.Uint64N(1000)
						switch op := rng.IntN(10); {
						case op < 6:
							v, ok := c.Get(k)
							if ok && v[0] != k || ok && k%4 == uint64(g) && v[1] < seen[k] {
								t.Errorf("%v for %d, where %d was seen", v, k, seen[k])
								return
							}
						case op < 9:
							k = k&^3 | uint64(g) // each key has one writer
							seen[k] = n
							c.Set(k, [2]uint64{k, n})
						default:
							c.Delete(k)
						}
					}
				})
			}
			wg.Wait()
			c.Close() // its goroutine may be telling of an entry that has expired
			came := int64(c.Stats().Insertions)
			for tries := 0; came-left.Load() != int64(c.Len()); tries++ {
				if tries == 100_000 {
					t.Fatalf("%d came, %d left, %d are cached", came, left.Load(), c.Len())
				}
				runtime.Gosched()
			}
		})
	}
}

func TestCache_growsByWeight(t *testing.T) {
	testutil.OnlyPlain(t)
	c := New(Options[int, int]{Weight: 1 << 20, Weigher: func(int, int) uint32 { return 1 }})
	for i := range 300_000 {
		c.Set(i, i)
	}
	for i := range 300_000 {
		if v, ok := c.Get(i); !ok || v != i {
			t.Fatalf("%d: %d %v", i, v, ok)
		}
	}
	if n := len(c.table.Load().buckets); n < 20_000 {
		t.Errorf("%d buckets for 300 000 entries", n)
	}
}
