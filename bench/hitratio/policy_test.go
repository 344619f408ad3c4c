package hitratio

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMakers_neverHoldMoreThanTheirCapacity(t *testing.T) {
	const capacity = 50
	for _, m := range Makers() {
		p := m.New(capacity)
		if _, ok := p.(libraryCache); ok {
			closePolicy(p)
			continue // what they hold is their own affair
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 20_000 {
			p.Access(uint64(rng.ExpFloat64() * 40))
		}
		hits := 0
		for key := range uint64(1000) {
			// Reading one key drops at most one other: at most capacity of all keys can hit.
			if p.Access(key) {
				hits++
			}
		}
		if hits > capacity {
			t.Errorf("%s: %d of 1000 keys hit in a cache of %d", m.Name, hits, capacity)
		}
	}
}

func TestMakers_hitWhatFits(t *testing.T) {
	for _, m := range Makers() {
		p := m.New(1000)
		keys := loops(100, 2000)(0)
		// A queue of one per cent of the capacity may drop keys before the rest has filled; what is real may be late.
		if hits := Hits(context.Background(), p, keys); hits < 1700 {
			t.Errorf("%s: %d hits of 1900, although all keys fit", m.Name, hits)
		}
	}
}

func TestMakers_takeKeysOfAnySizeAndCapacityOne(t *testing.T) {
	keys := []uint64{0, 1<<64 - 1, 1 << 24, 1<<24 - 1, 1 << 40, 0, 0, 1 << 40}
	for _, m := range Makers() {
		for _, capacity := range []int{1, 2, 3} {
			if hits := Hits(context.Background(), m.New(capacity), slices.Repeat(keys, 50)); hits > 400 {
				t.Errorf("%s: %d hits", m.Name, hits)
			}
		}
	}
}

func TestOptimum_boundsAllPolicies(t *testing.T) {
	for _, w := range Generated(3) {
		if w.Group != GroupMix {
			continue
		}
		keys, err := w.Keys()
		if err != nil {
			t.Fatal(err)
		}
		keys = keys[:50_000]
		for _, size := range []int{10, 300} {
			best := Optimum(keys, size)
			for _, m := range Makers() {
				p := m.New(size)
				if _, ok := p.(libraryCache); ok {
					closePolicy(p)
					continue
				}
				if hits := Hits(context.Background(), p, keys); hits > best {
					t.Errorf("%s, %s@%d: %d hits, the optimum is %d", m.Name, w.Name, size, hits, best)
				}
			}
		}
	}
}

func TestOptimum_knownSequences(t *testing.T) {
	for _, c := range []struct {
		keys     []uint64
		capacity int
		hits     int
	}{
		{nil, 1, 0},
		{[]uint64{1, 1, 1}, 1, 2},
		{[]uint64{1, 2, 1, 2, 1}, 1, 2},             // keeps 1, refuses 2
		{[]uint64{1, 2, 3, 1, 2, 3, 1, 2, 3}, 2, 4}, // a loop of three in two places
		{[]uint64{1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5}, 3, 5},
	} {
		if hits := Optimum(c.keys, c.capacity); hits != c.hits {
			t.Errorf("%v@%d: %d hits, want %d", c.keys, c.capacity, hits, c.hits)
		}
	}
}

// What the design page of package tinyufo states about the policy: a change that moves these has to move the page.
func TestUFO_hitRatios(t *testing.T) {
	for _, c := range []struct {
		workload string
		size     int
		least    float64 // per cent
	}{
		{"zipf-0.9-10k", 1000, 65.0},
		{"rotate-20k", 4000, 61.0},
		{"one-shot", 5000, 38.0},
		{"thrice", 512, 64.0},
		{"loop", 1500, 68.0},
		{"zipf+thrice", 1000, 59.5}, // 56.5 without probes
		{"zipf+loop", 2500, 58.0},   // 56.0 without probes
	} {
		i := slices.IndexFunc(Generated(1), func(w Workload) bool { return w.Name == c.workload })
		keys, err := Generated(1)[i].Keys()
		if err != nil {
			t.Fatal(err)
		}
		ratio := 100 * float64(Hits(context.Background(), newUFO(c.size), keys)) / float64(len(keys))
		if ratio < c.least {
			t.Errorf("%s@%d: %.2f %%, want %.1f", c.workload, c.size, ratio, c.least)
		}
	}
}

// Package tinyufo is what ufo simulates: over each workload they hit as often, but for what hashes of another seed
// change in the sketch, and in which lost contests are probes: five that look wrong by chance open main for a while,
// which moves a small cache under Zipf by up to a point. Where two kinds of load take turns, hashes decide how soon the
// small queue follows.
func TestTinyUFO_hitsAsOftenAsItsSimulator(t *testing.T) {
	for i, w := range Generated(1) {
		if testing.Short() && i%3 > 0 {
			continue
		}
		keys, err := w.Keys()
		if err != nil {
			t.Fatal(err)
		}
		keys = keys[:min(len(keys), 300_000)]
		size := w.Sizes[0]
		percent := func(p Policy) float64 {
			return 100 * float64(Hits(context.Background(), p, keys)) / float64(len(keys))
		}
		simulated, got := percent(newUFO(size)), percent(newTinyUFOShards(size, 1))
		sharded := percent(newTinyUFO(size))
		t.Logf("%s@%d: %.2f simulated, %.2f in one shard, %.2f", w.Name, size, simulated, got, sharded)
		most := 1.6
		if w.Group == GroupMix {
			most = 6
		}
		if math.Abs(simulated-got) > most {
			t.Errorf("%s@%d: %.2f %%, its simulator %.2f %%", w.Name, size, got, simulated)
		}
	}
}

func FuzzUFO(f *testing.F) {
	f.Add(uint8(1), []byte("abcabcabc"))
	f.Add(uint8(9), []byte("aabbccddeeffgghhiijjkk"))
	f.Fuzz(func(t *testing.T, capacity uint8, keys []byte) {
		c := newUFO(int(capacity) + 1).(*ufo)
		held := map[uint64]bool{}
		for _, key := range keys {
			hit := c.Access(uint64(key))
			if hit && !held[uint64(key)] {
				t.Fatalf("%d hits and was never put", key)
			}
			held[uint64(key)] = true
			c.check(t)
		}
	})
}

// check walks both queues: each entry is where the index says, and no other key is in the index.
func (c *ufo) check(t *testing.T) {
	t.Helper()
	if n := c.small.n() + len(c.main); n > c.capacity {
		t.Fatalf("%d entries in a cache of %d", n, c.capacity)
	}
	if c.hand < 0 || c.hand > len(c.main) || c.target < c.targetMin || c.target > c.targetMax {
		t.Fatalf("hand %d of %d, target %d", c.hand, len(c.main), c.target)
	}
	found := 0
	for i, e := range c.main {
		if at, ok := c.index[e.key]; !ok || at != i<<1|1 {
			t.Fatalf("key %d is at %d of main, the index has %d", e.key, i, at)
		}
		found++
	}
	for i := c.small.head; i < c.small.tail; i++ {
		at := i % len(c.small.entries)
		if got, ok := c.index[c.small.entries[at].key]; !ok || got != at<<1 {
			t.Fatalf("a key is at %d of small, the index has %d", at, got)
		}
		found++
	}
	if found != len(c.index) {
		t.Fatalf("the index has %d keys, the queues have %d", len(c.index), found)
	}
}

func TestSketch_countsAndHalves(t *testing.T) {
	s := newSketch(64)
	for n := 1; n <= countMax; n++ {
		if !s.increment(7) {
			t.Fatalf("increment %d changed nothing", n)
		}
		if f := s.frequency(7); f != n {
			t.Fatalf("frequency %d after %d increments", f, n)
		}
	}
	if s.increment(7) {
		t.Error("a full counter was incremented")
	}
	s.halve(0, len(s.words))
	if f := s.frequency(7); f != countMax/2 {
		t.Errorf("frequency %d after halving", f)
	}
}
