package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/testutil"
)

func picks(r *RoundRobin, v *View, n int) (got []int) {
	for range n {
		got = append(got, r.Pick(v, 0, nil))
	}
	return got
}

func TestRoundRobin_order(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int
		offset  int
		down    []int
		want    []int
	}{
		{"equal", []int{1, 1, 1}, 0, nil, []int{0, 1, 2, 0, 1, 2}},
		{"equal weights above one are not a burst", []int{5, 5}, 0, nil, []int{0, 1, 0, 1}},
		{"another reactor starts elsewhere", []int{1, 1, 1}, 4, nil, []int{1, 2, 0, 1}},
		{"the share of one that is down is shared", []int{1, 1, 1, 1}, 0, []int{1}, []int{0, 2, 3, 0, 2, 3}},
		{"weight 0 is never picked", []int{0, 1, 0, 1}, 0, nil, []int{1, 3, 1, 3}},
		{"smooth, as nginx does it", []int{5, 1, 1}, 0, nil, []int{0, 0, 1, 0, 2, 0, 0}},
		{"weighted, with an offset", []int{5, 1, 1}, 2, nil, []int{1, 0, 2, 0, 0, 0, 0}},
		{"weighted, one down", []int{5, 1, 1}, 0, []int{0}, []int{1, 2, 1, 2}},
		{"all down", []int{1, 1}, 0, []int{0, 1}, []int{-1, -1}},
		{"all down, weighted", []int{1, 2}, 0, []int{0, 1}, []int{-1, -1}},
		{"none", nil, 3, nil, []int{-1}},
		{"all of weight 0", []int{0, 0}, 1, nil, []int{-1}},
	} {
		v := NewView(c.weights)
		for _, i := range c.down {
			v = v.With(i, false)
		}
		if got := picks(NewRoundRobin(c.offset), v, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("%s: picked %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRoundRobin_triesEachOnce(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1}, {4, 3, 2, 1}} {
		v := NewView(weights).With(2, false)
		r := NewRoundRobin(1)
		var tried Tried
		var got []int
		for {
			i := r.Pick(v, 0, &tried)
			if i < 0 {
				break
			}
			tried.Add(i)
			got = append(got, i)
		}
		slices.Sort(got)
		if !slices.Equal(got, []int{0, 1, 3}) {
			t.Errorf("weights %v: tried %v", weights, got)
		}
		if r.Pick(v, 0, nil) < 0 {
			t.Errorf("weights %v: without Tried there is none", weights)
		}
	}
}

// Over a cycle each backend that is up is picked exactly as often as its weight says, and never far from its share.
func TestRoundRobin_sharesByWeight(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		weights := make([]int, 1+rng.IntN(150))
		same := rng.IntN(2) * (1 + rng.IntN(9))
		for i := range weights {
			if weights[i] = same; same == 0 {
				weights[i] = rng.IntN(10)
			}
		}
		v := NewView(weights)
		total, open := 0, 0
		for i := range weights {
			if v = v.With(i, rng.IntN(4) > 0); v.Open(i) {
				total += weights[i]
				open++
			}
		}
		r := NewRoundRobin(rng.IntN(10))
		t.Logf("seed %d: weights %v", seed, weights)
		// Equal weights take part in every rotation, so that the cycle is that of weight one.
		cycle := total
		if v.equal {
			cycle = open
		}
		counts := make([]int, len(weights))
		for n := range 2*cycle + 1 {
			i := r.Pick(v, 0, nil)
			if (i < 0) != (total == 0) {
				t.Fatalf("picked %d of %d", i, total)
			}
			if i < 0 {
				break
			}
			if !v.Open(i) || weights[i] == 0 {
				t.Fatalf("picked %d, which is closed", i)
			}
			counts[i]++
			for i, count := range counts {
				if n == cycle-1 && v.Open(i) && count*total != cycle*weights[i] {
					t.Fatalf("backend %d: %d picks in a cycle of %d", i, count, cycle)
				}
			}
		}
		sum := 0
		for _, credit := range r.credit {
			sum += credit
		}
		if sum != 0 {
			t.Fatalf("credits add up to %d", sum)
		}
	}
}

// Whatever goes up and down and has been tried, a pick is open, and there is one whenever something is.
func TestRoundRobin_picksOpenOnesOnly(t *testing.T) {
	for seed := range uint64(300) {
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 2))
		weights := make([]int, 1+rng.IntN(140))
		kinds := 1 + rng.IntN(3)
		for i := range weights {
			weights[i] = rng.IntN(kinds + 1)
		}
		v := NewView(weights)
		r := NewRoundRobin(rng.IntN(20))
		for range 300 {
			v = v.With(rng.IntN(len(weights)), rng.IntN(8) == 0)
			var tried Tried
			for range rng.IntN(triedMax + 3) {
				tried.Add(rng.IntN(len(weights)))
			}
			open := 0
			for i, weight := range weights {
				if weight > 0 && v.Open(i) && !tried.Has(i) {
					open++
				}
			}
			i := r.Pick(v, 0, &tried)
			if i < 0 && open > 0 || i >= 0 && (weights[i] == 0 || !v.Open(i) || tried.Has(i)) {
				t.Fatalf("picked %d, %d open", i, open)
			}
		}
	}
}

func TestNewView_panicsOnBadWeights(t *testing.T) {
	for _, weights := range [][]int{{-1}, {weightMax + 1}, make([]int, backendsMax+1)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for %d weights", len(weights))
				}
			}()
			NewView(weights)
		}()
	}
}

func TestTried_remembersTheLast(t *testing.T) {
	var tried Tried
	tried.Add(-1)
	if tried.Len() != 0 {
		t.Fatal("remembers none")
	}
	for i := range 100 {
		tried.Add(i * 600)
		for j := range 100 {
			if want := j <= i && j > i-triedMax; tried.Has(j*600) != want {
				t.Fatalf("after %d: has %d is %v", i, j, !want)
			}
		}
	}
	tried.Reset()
	if tried.Len() != 0 || tried.Has(99*600) {
		t.Fatal("remembers after Reset")
	}
}

// A RoundRobin fills a cache line, so that two of them, made one after the other, share none. A Tried lives in each
// request.
func TestSizes(t *testing.T) {
	if size := unsafe.Sizeof(RoundRobin{}); size != cacheLine {
		t.Errorf("a RoundRobin takes %d bytes", size)
	}
	if size := unsafe.Sizeof(Tried{}); size > 16 {
		t.Errorf("a Tried takes %d bytes", size)
	}
}

func TestRoundRobin_doesNotAllocate(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {3, 2, 1}} {
		v := NewView(weights)
		next := v.With(1, false)
		var r Picker = NewRoundRobin(0)
		if n := testutil.Allocs(1000, func() {
			var tried Tried
			tried.Add(r.Pick(v, 0, &tried))
			tried.Add(r.Pick(v, 0, &tried))
			v, next = next, v
		}); n != 0 {
			t.Errorf("weights %v: %v allocations", weights, n)
		}
	}
}

// When backends come, go or change their weight, turns go on: each gets its share from the first cycle on.
func TestRoundRobin_goesOnWhenWeightsChange(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		r := NewRoundRobin(rng.IntN(5))
		for range 20 {
			weights := make([]int, rng.IntN(8))
			most := 1 + rng.IntN(2)*rng.IntN(100)
			total := 0
			for i := range weights {
				weights[i] = rng.IntN(most + 1)
				total += weights[i]
			}
			v := NewView(weights)
			counts := make([]int, len(weights))
			cycles := 1 + rng.IntN(3)
			for range cycles * total {
				counts[r.Pick(v, 0, nil)]++
			}
			if total == 0 && r.Pick(v, 0, nil) != -1 {
				t.Fatalf("seed %d: picked of none", seed)
			}
			if v.equal {
				continue // their cycle is shorter
			}
			for i, n := range counts {
				if d := n - cycles*weights[i]; d < -len(weights) || d > len(weights) {
					t.Fatalf("seed %d: %v in %d cycles of %v", seed, counts, cycles, weights)
				}
			}
			for range rng.IntN(total + 1) {
				r.Pick(v, 0, nil) // the next change is in the middle of a cycle
			}
		}
	}
}

func BenchmarkRoundRobin_pick(b *testing.B) {
	for _, n := range []int{2, 64, 1000} {
		for _, kind := range []string{"equal", "weighted"} {
			weights := make([]int, n)
			for i := range weights {
				if weights[i] = 1; kind == "weighted" {
					weights[i] += i % 5
				}
			}
			b.Run(fmt.Sprintf("%s-%d", kind, n), func(b *testing.B) {
				v, r := NewView(weights), NewRoundRobin(1)
				b.ReportAllocs()
				for b.Loop() {
					r.Pick(v, 0, nil)
				}
			})
		}
	}
}

// Two goroutines, each with a picker of its own: justifies the padding.
func BenchmarkRoundRobin_neighbours(b *testing.B) {
	v := NewView([]int{1, 1, 1, 1})
	pickers := make(chan *RoundRobin, 1024)
	for i := range cap(pickers) {
		pickers <- NewRoundRobin(i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := <-pickers
		for pb.Next() {
			r.Pick(v, 0, nil)
		}
	})
}
