package limits

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// inFlight is what both tables have, with guards that are left by a function.
type inFlight struct {
	enter     func(hash uint64, most int64) (leave func(), ok bool)
	count     func(hash uint64) int64
	overflows func() uint64
}

func inFlights(keys int) map[string]inFlight {
	local, shared := NewLocalInFlight(keys), NewSharedInFlight(keys)
	return map[string]inFlight{
		"local": {func(h uint64, most int64) (func(), bool) {
			g, ok := local.Enter(h, most)
			return g.Leave, ok
		}, local.Count, local.Overflows},
		"shared": {func(h uint64, most int64) (func(), bool) {
			g, ok := shared.Enter(h, most)
			return g.Leave, ok
		}, shared.Count, shared.Overflows},
	}
}

func TestInFlight_countsEachKeyExactly(t *testing.T) {
	const keys, most = 200, 5
	for name, table := range inFlights(4096) {
		rng := rand.New(rand.NewPCG(1, 8))
		guards := make([][]func(), keys)
		for range 50_000 {
			k := rng.IntN(keys)
			if rng.IntN(2) == 0 {
				leave, ok := table.enter(mixed(uint64(k)), most)
				if ok != (len(guards[k]) < most) {
					t.Fatalf("%s: %v with %d under way", name, ok, len(guards[k]))
				}
				if ok {
					guards[k] = append(guards[k], leave)
				}
			} else if n := len(guards[k]); n > 0 {
				i := rng.IntN(n)
				guards[k][i]()
				guards[k] = append(guards[k][:i], guards[k][i+1:]...)
			}
			if got := table.count(mixed(uint64(k))); got != int64(len(guards[k])) {
				t.Fatalf("%s: %d counted, %d under way", name, got, len(guards[k]))
			}
		}
		if table.overflows() != 0 {
			t.Errorf("%s: %d entries shared a count", name, table.overflows())
		}
	}
}

// A ninth key of a bucket shares a count with the tenth: neither exceeds its maximum, and both see what the other
// has.
func TestInFlight_furtherKeysOfABucketShareACount(t *testing.T) {
	for name, table := range inFlights(1) {
		var leave [8]func()
		for k := range leave {
			leave[k], _ = table.enter(inBucket(uint64(k+1)), 1)
		}
		ninth, ok9 := table.enter(inBucket(9), 2)
		tenth, ok10 := table.enter(inBucket(10), 2)
		if !ok9 || !ok10 || table.overflows() != 2 {
			t.Fatalf("%s: %v, %v, %d share", name, ok9, ok10, table.overflows())
		}
		if _, ok := table.enter(inBucket(9), 2); ok {
			t.Errorf("%s: a key does not see the other's", name)
		}
		if n := table.count(inBucket(11)); n != 2 {
			t.Errorf("%s: %d counted for a further key", name, n)
		}
		leave[3]()
		// The ninth key gets a cell now. What it has in the shared count still counts for it.
		if _, ok := table.enter(inBucket(9), 2); ok {
			t.Errorf("%s: its shared entries are forgotten", name)
		}
		third, ok := table.enter(inBucket(9), 3)
		if !ok || table.overflows() != 2 {
			t.Errorf("%s: %v, %d share", name, ok, table.overflows())
		}
		ninth()
		tenth()
		if n := table.count(inBucket(9)); n != 1 {
			t.Errorf("%s: %d counted, want 1", name, n)
		}
		third()
		if n := table.count(inBucket(9)); n != 0 {
			t.Errorf("%s: %d counted at the end", name, n)
		}
	}
}

func TestInFlight_maximumOfNothing(t *testing.T) {
	for name, table := range inFlights(1) {
		for k := range uint64(8) {
			table.enter(inBucket(k+1), 1)
		}
		for _, key := range []uint64{1, 9} { // with a cell and without
			for _, most := range []int64{0, -1, -1 << 63} {
				if _, ok := table.enter(key, most); ok {
					t.Errorf("%s: %d are admitted", name, most)
				}
			}
		}
	}
}

func TestGuard_isLeftOnce(t *testing.T) {
	local, shared := NewLocalInFlight(1), NewSharedInFlight(1)
	a, _ := local.Enter(1, 10)
	b, _ := shared.Enter(1, 10)
	a2, b2 := a, b
	a.Leave()
	b.Leave()
	a.Leave()
	b.Leave()
	(&LocalGuard{}).Leave()
	(&Guard{}).Leave()
	if local.Count(1) != 0 || shared.Count(1) != 0 {
		t.Errorf("%d and %d under way", local.Count(1), shared.Count(1))
	}
	testutil.Panics(t, "a copy of a local guard", a2.Leave)
	testutil.Panics(t, "a copy of a guard", b2.Leave)
}

// Whatever goroutines do, a key never has more than its maximum under way, and in the end none has anything. The
// buckets are few, so that keys come and go in them and share counts.
func TestSharedInFlight_neverExceedsItsMaximum(t *testing.T) {
	const goroutines, keys, most, rounds = 4, 40, 3, 10_000
	for _, size := range []int{1, 8, 1000} {
		table := NewSharedInFlight(size)
		var underWay [keys]atomic.Int64
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(2, uint64(i)))
				var guards []Guard
				var of []int
				for range rounds {
					if k := rng.IntN(keys); rng.IntN(2) == 0 {
						if g, ok := table.Enter(mixed(uint64(k)), most); ok {
							if n := underWay[k].Add(1); n > most {
								t.Errorf("%d of key %d are under way", n, k)
							}
							guards, of = append(guards, g), append(of, k)
						}
					} else if n := len(guards); n > 0 {
						j := rng.IntN(n)
						underWay[of[j]].Add(-1)
						guards[j].Leave()
						guards[j], of[j] = guards[n-1], of[n-1]
						guards, of = guards[:n-1], of[:n-1]
					}
					if rng.IntN(100) == 0 {
						runtime.Gosched()
					}
				}
				for j := range guards {
					underWay[of[j]].Add(-1)
					guards[j].Leave()
				}
			})
		}
		wg.Wait()
		for k := range uint64(keys) {
			if n := table.Count(mixed(k)); n != 0 {
				t.Errorf("%d of key %d in the end", n, k)
			}
		}
		if table.sharing.Load() != 0 {
			t.Errorf("%d share a count in the end", table.sharing.Load())
		}
	}
}

// With one entry allowed and no other key about, a table is a lock: what it guards needs no other.
func TestSharedInFlight_isALock(t *testing.T) {
	const goroutines, rounds = 4, 2000
	table, n := NewSharedInFlight(10), 0
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for done := 0; done < rounds; {
				if g, ok := table.Enter(7, 1); ok {
					n++
					done++
					g.Leave()
				} else {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	if n != goroutines*rounds {
		t.Errorf("%d rounds of %d", n, goroutines*rounds)
	}
}

// FuzzInFlight runs ops on both tables. A key never has more than its maximum; one that is refused would have it, if
// what shares its count were its own.
func FuzzInFlight(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 138, 12, 140, 255, 9, 9, 9})
	f.Fuzz(func(t *testing.T, ops []byte) {
		const most = 3
		local, shared := NewLocalInFlight(1), NewSharedInFlight(1)
		var held [16]int64
		type entry struct {
			key    uint64
			local  LocalGuard
			shared Guard
		}
		var entries []entry
		for _, op := range ops {
			key := uint64(op%15) + 1
			if op >= 128 && len(entries) > 0 {
				i := int(op-128) % len(entries)
				e := entries[i]
				e.local.Leave()
				e.shared.Leave()
				held[e.key]--
				entries = append(entries[:i], entries[i+1:]...)
				continue
			}
			a, ok := local.Enter(key, most)
			b, ok2 := shared.Enter(key, most)
			if ok != ok2 || ok && held[key] >= most || !ok && local.Count(key) < most {
				t.Fatalf("key %d with %d: local %v, shared %v, %d counted", key, held[key], ok, ok2, local.Count(key))
			}
			if ok {
				held[key]++
				entries = append(entries, entry{key, a, b})
			}
			if n, n2 := local.Count(key), shared.Count(key); n != n2 || n < held[key] {
				t.Fatalf("key %d with %d: %d and %d counted", key, held[key], n, n2)
			}
		}
		for i := range entries {
			entries[i].local.Leave()
			entries[i].shared.Leave()
		}
		for key := range uint64(16) {
			if local.Count(key) != 0 || shared.Count(key) != 0 {
				t.Fatalf("%d and %d in the end", local.Count(key), shared.Count(key))
			}
		}
	})
}
