package balance

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
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
		"an alias column":  {unsafe.Sizeof(aliasColumn{}), 8},
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
		testutil.Panics(t, name, func() { NewView(backends, nil) })
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

// Draws and turns go by other weights, keys by those of the backends.
func TestView_weighing(t *testing.T) {
	const rounds = 100_000
	v := Weights(1, 5, 2, 0, 1)
	other := v.Weighing([]uint32{30, 0, 10, 7, 60}).With(4, false).With(4, true)
	if other.Count() != 3 || other.Weight(1) != 5 || !other.Open(1) || other.Open(3) {
		t.Fatalf("%d backends have a weight", other.Count())
	}
	for _, m := range []*Method{RoundRobin, Random, LeastConn, P2C, Adaptive, PeakEWMA} {
		l, p, q := NewLocal(v.loads, 4), m.New(0, 1), Request{}
		counts := make([]int, 5)
		for range rounds {
			counts[p.Pick(other, l, &q)]++
		}
		fits(t, m.Name, []int{counts[0], counts[2], counts[4]}, []float64{.3 * rounds, .1 * rounds, .6 * rounds})
		if counts[1]+counts[3] > 0 {
			t.Errorf("%s picks a backend of weight 0: %v", m.Name, counts)
		}
	}
	for _, m := range []*Method{Ketama, Maglev, IPHash} {
		p := m.New(0, 1)
		for key := range uint64(1000) {
			q := Request{Key: key<<16 | key, Keyed: true}
			if a, b := p.Pick(v, nil, &q), p.Pick(other, nil, &q); a != b {
				t.Fatalf("%s: key %d is that of backend %d, and of %d by other weights", m.Name, key, a, b)
			}
		}
	}
	if other.Share(4) != 0.6 || other.Share(1) != 0 || other.With(4, false).Share(0) != 0.75 {
		t.Errorf("shares %g, %g", other.Share(4), other.Share(1))
	}
	if v.Weighing(nil) != v || other.Weighing(nil).Count() != 4 {
		t.Error("the weights of the backends do not come back")
	}
	testutil.Panics(t, "too few weights", func() { v.Weighing([]uint32{1}) })
}
