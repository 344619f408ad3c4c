package balance

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// picksOf returns the next n picks of a request that was not tried.
func picksOf(p Picker, v *View, n int) (got []int) {
	var q Request
	for range n {
		got = append(got, p.Pick(v, nil, &q))
	}
	return got
}

func TestTurns_order(t *testing.T) {
	for _, c := range []struct {
		name              string
		weights           []int
		reactor, reactors int
		down              []int
		want              []int
	}{
		{"equal", []int{1, 1, 1}, 0, 1, nil, []int{0, 1, 2, 0, 1, 2}},
		{"equal weights above one are not a burst", []int{5, 5}, 0, 1, nil, []int{0, 1, 0, 1}},
		{"another reactor begins elsewhere", []int{1, 1, 1}, 1, 3, nil, []int{1, 2, 0, 1}},
		{"more reactors than turns", []int{1, 1, 1}, 5, 9, nil, []int{1, 2, 0, 1}},
		{"a reactor that is not one of so many", []int{1, 1, 1}, 4, 3, nil, []int{1, 2, 0, 1}},
		{"the share of one that is down is shared", []int{1, 1, 1, 1}, 0, 1, []int{1}, []int{0, 2, 3, 0, 2, 3}},
		{"weight 0 is never picked", []int{0, 1, 0, 1}, 0, 1, nil, []int{1, 3, 1, 3}},
		{"smooth, as nginx does it", []int{5, 1, 1}, 0, 1, nil, []int{0, 0, 1, 0, 2, 0, 0}},
		{"weighted, the second of two reactors", []int{5, 1, 1}, 1, 2, nil, []int{0, 2, 0, 0, 0, 0, 1}},
		{"weighted, one down", []int{5, 1, 1}, 0, 1, []int{0}, []int{1, 2, 1, 2}},
		{"all down", []int{1, 1}, 0, 1, []int{0, 1}, []int{-1, -1}},
		{"all down, weighted", []int{1, 2}, 0, 1, []int{0, 1}, []int{-1, -1}},
		{"none", nil, 2, 3, nil, []int{-1}},
		{"all of weight 0", []int{0, 0}, 1, 2, nil, []int{-1}},
	} {
		v := Weights(c.weights...)
		for _, i := range c.down {
			v = v.With(i, false)
		}
		if got := picksOf(RoundRobin.New(c.reactor, c.reactors), v, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("%s: picked %v, want %v", c.name, got, c.want)
		}
	}
	if got := picksOf(&Turns{}, Weights(1, 1), 3); !slices.Equal(got, []int{0, 1, 0}) {
		t.Errorf("the zero value picked %v", got)
	}
}

// smoothly is nginx's ngx_http_upstream_get_peer, for peers that never fail.
func smoothly(weights []int, down []bool, n int) (chosen []int) {
	current := make([]int, len(weights))
	for range n {
		best, total := -1, 0
		for i, weight := range weights {
			if down[i] || weight == 0 {
				continue
			}
			current[i] += weight
			total += weight
			if best < 0 || current[i] > current[best] {
				best = i
			}
		}
		if best >= 0 {
			current[best] -= total
		}
		chosen = append(chosen, best)
	}
	return chosen
}

// The order is nginx's, also with some down, and each reactor begins at its part of the cycle.
func TestTurns_areThoseOfNginx(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(1000)) {
		rng := rand.New(rand.NewPCG(seed, 2))
		weights, down := make([]int, 1+rng.IntN(40)), make([]bool, 40)
		most := 1 + rng.IntN(60)
		for i := range weights {
			weights[i], down[i] = rng.IntN(most+1), rng.IntN(5) == 0
		}
		v := Weights(weights...).Where(func(i int) bool { return !down[i] })
		cycle, divisor := 0, 0
		for i, weight := range weights {
			if v.Open(i) {
				cycle, divisor = cycle+weight, gcd(weight, divisor)
			}
		}
		cycle /= max(divisor, 1)
		want := smoothly(weights, down, 2*cycle+3)
		reactors := 1 + rng.IntN(9)
		for reactor := range reactors {
			begin := reactor * cycle / reactors
			got := picksOf(RoundRobin.New(reactor, reactors), v, cycle+3)
			if !slices.Equal(got, want[begin:][:cycle+3]) {
				t.Fatalf("seed %d: weights %v, down %v, reactor %d of %d: picked %v, nginx %v",
					seed, weights, down, reactor, reactors, got, want[begin:])
			}
		}
	}
}

func TestTurns_tryEachOnce(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1}, {4, 3, 2, 1}, {weightMax, 2, 3, 60000}} {
		v := Weights(weights...).With(2, false)
		p := RoundRobin.New(1, 4)
		var q Request
		var got []int
		for i := p.Pick(v, nil, &q); i >= 0; i = p.Pick(v, nil, &q) {
			q.Tried.Add(i)
			got = append(got, i)
		}
		slices.Sort(got)
		if !slices.Equal(got, []int{0, 1, 3}) {
			t.Errorf("weights %v: tried %v", weights, got)
		}
		if q.Tried.Reset(); p.Pick(v, nil, &q) < 0 {
			t.Errorf("weights %v: without Tried there is none", weights)
		}
	}
}

// When backends come, go or change their weight, turns go on at the same part of a cycle: each gets its share from the
// first cycle on.
func TestTurns_goOnWhenWeightsChange(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(300)) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p := RoundRobin.New(rng.IntN(5), 5).(*Turns)
		for range 10 {
			weights := make([]int, rng.IntN(8))
			most := 1 + rng.IntN(2)*rng.IntN(100)
			for i := range weights {
				weights[i] = rng.IntN(most + 1)
			}
			v := Weights(weights...)
			cycle, cursor, before := v.cycle(), p.cursor, len(p.cycle)
			counts, cycles := make([]int, len(weights)), 1+rng.IntN(3)
			for turn, i := range picksOf(p, v, cycles*len(cycle)) {
				counts[i]++
				if want := cursor * len(cycle) / max(before, 1); before > 0 && turn == 0 && i != int(cycle[want]) {
					t.Fatalf("seed %d: turn %d of %d is followed by %d, not turn %d of %d", seed, cursor, before, i,
						want, len(cycle))
				}
			}
			for i, n := range counts {
				if total := v.total; total > 0 && n*total != cycles*len(cycle)*weights[i] {
					t.Fatalf("seed %d: %v in %d cycles of %v", seed, counts, cycles, weights)
				}
			}
			if v.total == 0 && picksOf(p, v, 1)[0] != -1 {
				t.Fatalf("seed %d: picked of none", seed)
			}
			picksOf(p, v, rng.IntN(len(cycle)+1)) // the next change is in the middle of a cycle
		}
	}
}

// Where a cycle would be too long, shares are right over a long run, and there is no burst that a cycle would not have.
func TestTurns_spreadWithoutACycle(t *testing.T) {
	testutil.OnlyPlain(t)
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 4))
		weights := make([]int, 2+rng.IntN(100))
		for i := range weights {
			weights[i] = 1 + rng.IntN(weightMax)
		}
		weights[0], weights[1] = 9973, 50021 // primes
		v := Weights(weights...)
		if v.cycle() != nil {
			t.Fatalf("seed %d: a cycle of %d turns", seed, len(v.cycle()))
		}
		const rounds = 500_000
		counts := make([]int, len(weights))
		for _, i := range picksOf(RoundRobin.New(rng.IntN(3), 3), v, rounds) {
			counts[i]++
		}
		for i, n := range counts {
			want := float64(weights[i]) / float64(v.total) * rounds
			if math.Abs(float64(n)-want) > 0.001*want+2 { // two picks more or less are no matter of shares
				t.Errorf("seed %d: backend %d has %d of the picks, its weight says %.1f", seed, i, n, want)
			}
		}
	}
}
