//go:build !invariants

package tinyufo

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// allocations fails when f allocates another number of times on average.
func allocations(t *testing.T, what string, want float64, f func()) {
	t.Helper()
	if got := testutil.Allocs(2000, f); got != want && !testutil.RaceOn {
		t.Errorf("%s allocates %v times, not %v", what, got, want)
	}
}

// A Set makes one entry, also one with a time to live and a weight: nothing else allocates.
func TestAllocations(t *testing.T) {
	clock := func() int64 { return 0 }
	for name, o := range map[string]Options[string, int]{
		"entries": {Entries: 1000},
		"TTL":     {Entries: 1000, TTL: time.Hour, Clock: clock},
		"TTI":     {Entries: 1000, TTI: time.Hour, Clock: clock},
		"weight":  {Weight: 1000, Weigher: func(string, int) uint32 { return 1 }},
		"OnEvict": {Entries: 1000, Stats: true},
	} {
		t.Run(name, func(t *testing.T) {
			keys := make([]string, 4096)
			for i := range keys {
				keys[i] = string(rune('a'+i%26)) + string(rune('a'+i/26))
			}
			c := New(o)
			for range 8 { // until the table, the nodes and the sketch are as large as they get
				for i, k := range keys {
					c.Set(k, i)
				}
			}
			key, i := "cached", 0
			c.Set(key, 1)
			next := func() string { i++; return keys[i%len(keys)] }
			allocations(t, "a hit", 0, func() { c.Get(key) })
			allocations(t, "a miss", 0, func() { c.Get("missing") })
			allocations(t, "Peek", 0, func() { c.Peek(key) })
			allocations(t, "GetOrSet of a present key", 0, func() { c.GetOrSet(key, 1) })
			allocations(t, "Load of a present key", 0, func() { _, _ = c.Load(t.Context(), key, nil) })
			allocations(t, "Delete of a missing key", 0, func() { c.Delete("missing") })
			allocations(t, "Set of a present key", 1, func() { c.Set(key, 2) })
			allocations(t, "Swap", 1, func() { c.Swap(key, 2) })
			another := func(n int, _ bool) (int, Op) { return n + 1, Store }
			allocations(t, "Compute", 1, func() { c.Compute(key, another) })
			allocations(t, "Set of a new key", 1, func() { c.Set(next(), 1) })
			allocations(t, "Set and Delete", 1, func() { k := next(); c.Set(k, 1); c.Delete(k) })
			if c.timed && c.tti == 0 {
				allocations(t, "SetTTL", 1, func() { c.SetTTL(key, 2, time.Minute) })
			}
		})
	}
}

func TestFlat_allocations(t *testing.T) {
	clock := func() int64 { return 0 }
	for name, o := range map[string]FlatOptions{
		"entries": {Entries: 1000},
		"TTL":     {Entries: 1000, TTL: time.Hour, Clock: clock, Stats: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewFlat[uint64, [100]byte](o)
			i := uint64(0)
			next := func() uint64 { i++; return i }
			for range 2000 {
				c.Set(next(), [100]byte{})
			}
			c.Set(1, [100]byte{1})
			allocations(t, "a hit", 0, func() { c.Get(1) })
			allocations(t, "a miss", 0, func() { c.Get(1 << 40) })
			allocations(t, "Peek", 0, func() { c.Peek(1) })
			allocations(t, "Set of a present key", 0, func() { c.Set(1, [100]byte{}) })
			allocations(t, "Set of a new key", 0, func() { c.Set(next(), [100]byte{}) })
			allocations(t, "Set and Delete", 0, func() { k := next(); c.Set(k, [100]byte{}); c.Delete(k) })
			allocations(t, "GetOrSet", 0, func() { c.GetOrSet(next(), [100]byte{}) })
			keep := func(old [100]byte, _ bool) ([100]byte, Op) { return old, Store }
			allocations(t, "Compute", 0, func() { c.Compute(1, keep) })
			wide := NewFlat[padded, padded](o)
			allocations(t, "a struct", 0, func() { wide.Set(padded{a: 1}, padded{}); wide.Get(padded{a: 1}) })
			if c.timed {
				allocations(t, "SetTTL", 0, func() { c.SetTTL(1, [100]byte{}, time.Minute) })
			}
		})
	}
}
