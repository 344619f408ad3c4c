package hitratio

import (
	"math"
	"slices"
	"testing"
)

func TestZipf_drawsByWeight(t *testing.T) {
	const n, draws = 100, 400_000
	z, rng := newZipf(n, 1), newRand(1)
	counts := make([]int, n)
	for range draws {
		counts[z.rank(rng)]++
	}
	sum := 0.0
	for r := range n {
		sum += 1 / float64(r+1)
	}
	for _, r := range []int{0, 1, 9, 99} {
		want := draws / float64(r+1) / sum
		if d := float64(counts[r]) - want; math.Abs(d) > 6*math.Sqrt(want) {
			t.Errorf("rank %d: %d draws, want %.0f", r, counts[r], want)
		}
	}
}

func TestGenerated_isTheSameForTheSameSeed(t *testing.T) {
	names := map[string]bool{}
	for i, w := range Generated(5) {
		if names[w.Name] || len(w.Sizes) == 0 {
			t.Errorf("%s: twice, or without sizes", w.Name)
		}
		names[w.Name] = true
		if w.Group == GroupZipf && i > 0 || testing.Short() && i%2 > 0 {
			continue // the first differ in numbers only
		}
		first, err := w.Keys()
		if err != nil {
			t.Fatal(err)
		}
		second, _ := Generated(5)[i].Keys()
		if !slices.Equal(first, second) {
			t.Errorf("%s differs from run to run", w.Name)
		}
	}
}

func TestThrice_eachKeyComesThreeTimes(t *testing.T) {
	const within = 300
	keys := thrice(30_000, within)(1)
	first, count := map[uint64]int{}, map[uint64]int{}
	for i, key := range keys {
		if count[key]++; count[key] == 1 {
			first[key] = i
		} else if i-first[key] > 2*within {
			t.Fatalf("key %d comes again after %d requests", key, i-first[key])
		}
	}
	for key, at := range first {
		if at < len(keys)-2*within && count[key] != 3 {
			t.Fatalf("key %d comes %d times", key, count[key])
		}
	}
}

func TestNumbered(t *testing.T) {
	keys := numbered([]uint64{9, 7, 9, 1 << 60})
	if !slices.Equal(keys, []uint64{0, 1, 0, 2}) || distinct(keys) != 3 || distinct(nil) != 0 {
		t.Error(keys)
	}
}
