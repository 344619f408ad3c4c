package balance

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// fits fails the test when counts are too far from what is expected of them: chi-square, by Wilson and
// Hilferty's normal approximation, at 5 sigma. Seeds are fixed.
func fits(t *testing.T, what string, counts []int, expected []float64) {
	t.Helper()
	chi, freedom := 0.0, -1.0
	for i, want := range expected {
		if want == 0 {
			if counts[i] != 0 {
				t.Errorf("%s: %d is drawn, which must not be", what, i)
			}
			continue
		}
		d := float64(counts[i]) - want
		chi += d * d / want
		freedom++
	}
	if freedom <= 0 {
		return
	}
	f := 2 / (9 * freedom)
	if z := (math.Cbrt(chi/freedom) - (1 - f)) / math.Sqrt(f); z > 5 {
		t.Errorf("%s: chi-square is %.1f of %v degrees of freedom: %v, not %.0f",
			what, chi, freedom, counts, expected)
	}
}

func TestFits_findsABias(t *testing.T) {
	var inner testing.T
	done := make(chan bool)
	go func() { // Errorf of a test that is none may not return
		defer close(done)
		fits(&inner, "a bias of 5 %", []int{10500, 10000, 10000, 9500}, []float64{10000, 10000, 10000, 10000})
	}()
	if <-done; !inner.Failed() {
		t.Error("a bias of 5 % of 40 000 draws is not found")
	}
}

// The columns of an alias table give each backend exactly its weight, but for what 2^-32 of a column is.
func TestAlias_addsUp(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		v, open := randomView(rng, 300)
		if v.equal {
			if v.drawTable() != nil {
				t.Fatalf("seed %d: a table of equal weights", seed)
			}
			continue
		}
		table, got, total := v.drawTable(), make([]float64, v.Len()), 0
		for _, c := range table {
			part := float64(c.threshold) / (1 << 32)
			if c.own == c.alias {
				part = 1
			}
			got[v.order[c.own]] += part
			got[v.order[c.alias]] += 1 - part
		}
		for _, i := range open {
			total += v.Weight(i)
		}
		for i := range got {
			want := 0.0
			if v.Open(i) {
				want = float64(v.Weight(i)) / float64(total) * float64(len(open))
			}
			if math.Abs(got[i]-want) > 1e-9*float64(len(open))+1e-6*want {
				t.Fatalf("seed %d: backend %d has %.9f of %d columns, not %.9f", seed, i, got[i], len(open), want)
			}
		}
	}
}

// drawn draws count of v n times and returns how often each came at each rank.
func drawnRanks(v *View, count, n int) (ranks [][]int) {
	l := NewLocal(v.loads, 7)
	ranks = make([][]int, count)
	for k := range ranks {
		ranks[k] = make([]int, v.Len())
	}
	var into [drawsMax]uint16
	for range n {
		for k, i := range into[:v.drawDistinct(l, &into, count)] {
			ranks[k][v.order[i]]++
		}
	}
	return ranks
}

// successive returns how often each of some weights comes at a rank when they are drawn one after the other without
// replacement.
func successive(weights []int, rank int) []float64 {
	p := make([]float64, len(weights))
	total := 0
	for _, weight := range weights {
		total += weight
	}
	for i, weight := range weights {
		here := float64(weight) / float64(total)
		if rank == 0 {
			p[i] += here
			continue
		}
		left := slices.Clone(weights)
		left[i] = 0
		if weight > 0 {
			for k, q := range successive(left, rank-1) {
				p[k] += here * q
			}
		}
	}
	return p
}

// Draws are those of successive draws without replacement, by weight, at each rank.
func TestDrawDistinct_drawsByWeight(t *testing.T) {
	testutil.OnlyPlain(t)
	const rounds = 200_000
	for _, weights := range [][]int{
		{1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {5, 4, 3, 2, 1}, {2, 2, 2, 2, 2, 1},
		{0, 7, 0, 1, 1, 3, 5, 7}, {weightMax, 60000, 50000, 40000, 30000},
	} {
		for _, count := range []int{2, 3} {
			for rank, counts := range drawnRanks(Weights(weights...), count, rounds) {
				want := successive(weights, rank)
				for i := range want {
					want[i] *= rounds
				}
				fits(t, fmt.Sprintf("%v, rank %d of %d", weights, rank, count), counts, want)
			}
		}
	}
}

// What is drawn is open and distinct. It is as many as asked for, but where a few have nearly all of the weight.
func TestDrawDistinct_isDistinct(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 6))
		v, open := randomView(rng, 100)
		l := NewLocal(v.loads, seed)
		for range 100 {
			count := 2 + rng.IntN(drawsMax-1)
			if count >= len(open) {
				continue
			}
			var into [drawsMax]uint16
			found := v.drawDistinct(l, &into, count)
			if found < 1 || found > count || v.equal && found < count-2 {
				t.Fatalf("seed %d: %d of %d drawn", seed, found, count)
			}
			for k, place := range into[:found] {
				if int(place) >= len(open) || slices.Contains(into[:k], place) {
					t.Fatalf("seed %d: drew %v of %d", seed, into[:found], len(open))
				}
			}
		}
	}
}

// All orders of up to four are there, each once, with marks that name rank and place.
func TestOrders(t *testing.T) {
	for n := 1; n <= scanMax; n++ {
		seen := map[marks]bool{}
		for _, m := range orders[n][:factorials[n]] {
			ranks := 0
			for place, mark := range m[:n] {
				if int(mark&(drawsMax-1)) != place {
					t.Errorf("%d: place %d has the mark %#x", n, place, mark)
				}
				ranks |= 1 << (mark >> placeBits)
			}
			if seen[m] || ranks != 1<<n-1 {
				t.Errorf("%d: %v is no other order", n, m)
			}
			seen[m] = true
		}
	}
	if bits.Len(scanMax-1)+placeBits > markBits || drawsMax > 1<<placeBits {
		t.Error("a mark has no place in its bits")
	}
}

// Of backends of the same cost each is chosen as often as its weight says, whatever the others cost.
func TestLeast_drawsAmongEquals(t *testing.T) {
	testutil.OnlyPlain(t)
	const rounds = 60_000
	for _, weights := range [][]int{
		{1, 1}, {1, 1, 1, 1}, {4, 3, 2, 1}, {9, 1}, {weightMax, 1, 30000}, {1, 2, 3, 4, 5, 6, 7},
	} {
		for busy := range 1 << len(weights) {
			v := Weights(weights...)
			l, want, total := NewLocal(v.loads, 3), make([]float64, len(weights)), 0
			for i, weight := range weights {
				if busy>>i&1 == 1 {
					l.Enter(i, false)
				} else {
					total += weight
				}
			}
			if total == 0 || len(weights) > 4 && busy%11 > 0 {
				continue // the least cost is that of the heaviest then; or there are too many to look at all
			}
			for i, weight := range weights {
				if busy>>i&1 == 0 {
					want[i] = float64(weight) / float64(total) * rounds
				}
			}
			counts, q, p := make([]int, len(weights)), Request{}, leastCostPicker{byLoad, drawsMax, leastScanMax}
			for range rounds {
				counts[p.Pick(v, l, &q)]++
			}
			fits(t, fmt.Sprintf("%v, busy %b", weights, busy), counts, want)
		}
	}
}
