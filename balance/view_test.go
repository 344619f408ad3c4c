package balance

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// A cell fills a cache line. The others live in each request, each reactor, or one beside the other.
func TestSizes(t *testing.T) {
	for name, c := range map[string]struct{ got, want uintptr }{
		"a cell":           {unsafe.Sizeof(cell{}), cacheLine},
		"what is pending":  {unsafe.Sizeof(pending{}), cacheLine / 4},
		"Turns":            {unsafe.Sizeof(Turns{}), cacheLine},
		"a Local":          {unsafe.Sizeof(Local{}), 2 * cacheLine},
		"a Tried":          {unsafe.Sizeof(Tried{}), 16},
		"a Request":        {unsafe.Sizeof(Request{}), 32},
		"an alias column":  {unsafe.Sizeof(column{}), 8},
		"marks of a place": {unsafe.Sizeof(marks{}), 8},
	} {
		if c.got != c.want {
			t.Errorf("%s takes %d bytes, not %d", name, c.got, c.want)
		}
	}
}

func TestNewView_panicsOnBadWeights(t *testing.T) {
	for name, backends := range map[string][]Backend{
		"below zero": {{Weight: -1}}, "too heavy": {{Weight: weightMax + 1}},
		"too many": make([]Backend, backendsMax+1),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			NewView(backends, nil)
		}()
	}
}

// randomView returns a view of up to so many backends, some of them closed, and what is open in it by a plain list.
func randomView(rng *rand.Rand, most int) (v *View, open []int) {
	backends := fleet(1+rng.IntN(most), false)
	weightMost := []int{1, 2, 5, 100, weightMax}[rng.IntN(5)]
	for i := range backends {
		backends[i].Weight = rng.IntN(weightMost + 1)
		if weightMost == 2 && rng.IntN(2) == 0 {
			backends[i].Weight = 2
		}
	}
	v = NewView(backends, nil)
	closed := rng.IntN(10)
	v = v.Where(func(int) bool { return rng.IntN(10) >= closed })
	for i := range backends {
		if v.Open(i) {
			open = append(open, i)
		}
	}
	return v, open
}

// With and Where open what they are told to, of those that have a weight, and nothing else changes.
func TestView_opens(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		backends := fleet(1+rng.IntN(150), false)
		open := make([]bool, len(backends))
		for i := range backends {
			backends[i].Weight = rng.IntN(3)
			open[i] = backends[i].Weight > 0
		}
		v := NewView(backends, nil)
		backends[0].Name = "changed" // the view has a copy
		for range 30 {
			before, was := v, slices.Clone(open)
			if i := rng.IntN(len(backends)); rng.IntN(3) > 0 {
				to := rng.IntN(2) == 0
				v = v.With(i, to)
				open[i] = to && backends[i].Weight > 0
			} else {
				bits := rng.Uint64()
				some := func(i int) bool { return bits>>(i%64)&1 == 1 }
				v = v.Where(some)
				for i := range open {
					open[i] = some(i) && backends[i].Weight > 0
				}
			}
			holds(t, v, open)
			holds(t, before, was)
		}
		if v.Name(0) == "changed" || v.Len() != len(backends) || v.Weight(0) != backends[0].Weight {
			t.Fatalf("%d backends, the first is %q of weight %d", v.Len(), v.Name(0), v.Weight(0))
		}
	}
}

// holds compares what is open in v with a plain list.
func holds(t *testing.T, v *View, open []bool) {
	t.Helper()
	place, weights := 0, map[int]bool{}
	for i := range open {
		if v.Open(i) != open[i] {
			t.Fatalf("backend %d is open: %v", i, !open[i])
		}
		if open[i] {
			if v.OpenAt(place) != i {
				t.Fatalf("place %d is backend %d, not %d", place, v.OpenAt(place), i)
			}
			place++
			weights[v.Weight(i)] = true
		}
	}
	if v.Count() != place || v.equal != (len(weights) < 2) {
		t.Fatalf("%d are open, not %d; weights are equal: %v", v.Count(), place, v.equal)
	}
}

func TestTried_remembersTheLast(t *testing.T) {
	var tried Tried
	tried.Add(-1)
	if tried.Len() != 0 || !tried.none() {
		t.Fatal("remembers none")
	}
	for i := range 100 {
		tried.Add(i * 600)
		for j := range 100 {
			if want := j <= i && j > i-triedMax; tried.Has(j*600) != want {
				t.Fatalf("after %d: has %d is %v", i, j, !want)
			}
		}
		if tried.Len() != min(i+1, triedMax) || tried.none() {
			t.Fatalf("after %d: remembers %d", i, tried.Len())
		}
	}
	tried.Reset()
	if tried.Len() != 0 || tried.Has(99*600) {
		t.Fatal("remembers after Reset")
	}
}
