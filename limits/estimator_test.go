package limits

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// zipfCounts is a stream of n events of keys by Zipf's law with the exponent s: each key's number, in the order of
// coming, and how many there are of each.
func zipfCounts(n int, s float64, keys, seed uint64) (stream []uint64, counts map[uint64]uint64) {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(seed, 7)), s, 1, keys-1)
	counts = map[uint64]uint64{}
	for range n {
		k := zipf.Uint64()
		stream = append(stream, k)
		counts[k]++
	}
	return stream, counts
}

type estimator interface {
	Add(hash, n uint64) uint64
	Estimate(hash uint64) uint64
}

func estimators(o EstimatorOptions) map[string]estimator {
	return map[string]estimator{"local": NewLocalEstimator(o), "shared": NewSharedEstimator(o)}
}

// Cormode & Muthukrishnan 2005, theorem 1: an estimate is never too low, and too high by more than e/w of all events
// with a probability of e^-d at most. Conservative update (Estan & Varghese 2002) keeps both, and is never higher.
func TestEstimator_boundsOfThePapers(t *testing.T) {
	testutil.OnlyPlain(t)
	events := 200_000
	if testing.Short() {
		events = 50_000
	}
	for _, s := range []float64{1.01, 1.2, 1.5} {
		stream, counts := zipfCounts(events, s, 1<<20, 1)
		for name := range estimators(EstimatorOptions{}) {
			var means [2]float64
			for i, conservative := range []bool{false, true} {
				e := estimators(EstimatorOptions{Conservative: conservative})[name]
				for _, k := range stream {
					e.Add(mixed(k), 1)
				}
				bound, beyond := sketchError(uint64(events), widthDefault), 0
				for k, n := range counts {
					got := e.Estimate(mixed(k))
					if got < n {
						t.Fatalf("%s, Zipf %v: %d events are estimated as %d", name, s, n, got)
					}
					if got-n > bound {
						beyond++
					}
					means[i] += float64(got-n) / float64(len(counts))
				}
				if most := len(counts) * 2 / 100; beyond > most { // e^-4 is 1.8 %
					t.Errorf("%s, Zipf %v: %d of %d are beyond %d", name, s, beyond, len(counts), bound)
				}
			}
			if means[1] > 0.7*means[0] {
				t.Errorf("%s, Zipf %v: mean error %.0f, conservative %.0f", name, s, means[0], means[1])
			}
		}
	}
}

// Keys with one event each: the worst case for a sketch, as every counter is filled by keys that do not matter.
func TestEstimator_allKeysOnce(t *testing.T) {
	const events = 100_000
	e := NewLocalEstimator(EstimatorOptions{Width: 256})
	for k := range uint64(events) {
		e.Add(mixed(k), 1)
	}
	if e.Events() != events || e.Error() != 1062 {
		t.Errorf("%d events, error %d", e.Events(), e.Error())
	}
	beyond := 0
	for k := range uint64(10_000) {
		if e.Estimate(mixed(events+k)) > e.Error() {
			beyond++
		}
	}
	if beyond > 200 {
		t.Errorf("%d of 10000 keys that never came are beyond the bound", beyond)
	}
}

// Rows of independent hashes: a heavy key is in all counters of another key for one key in width^4, not for one in
// width.
func TestRowHashes_areIndependent(t *testing.T) {
	const width, keys = 64, 200_000
	h0, h1, h2, h3 := rowHashes(mixed(1 << 40))
	heavy := [4]uint64{h0 % width, h1 % width, h2 % width, h3 % width}
	var met [5]int
	for k := range uint64(keys) {
		r0, r1, r2, r3 := rowHashes(mixed(k))
		n := 0
		for i, r := range [4]uint64{r0 % width, r1 % width, r2 % width, r3 % width} {
			if r == heavy[i] {
				n++
			}
		}
		met[n]++
	}
	// 4/64 of the keys meet it in a row, 6/64^2 in two, 4/64^3 in three.
	if met[1] < 11_000 || met[1] > 12_800 || met[2] < 200 || met[2] > 380 || met[3] > 15 || met[4] > 1 {
		t.Errorf("keys by the number of rows in which they meet another one: %v", met)
	}
}

func TestEstimator_Sub(t *testing.T) {
	local, shared := NewLocalEstimator(EstimatorOptions{Width: 4}), NewSharedEstimator(EstimatorOptions{Width: 4})
	for k := range uint64(100) {
		local.Add(mixed(k), k)
		shared.Add(mixed(k), k)
	}
	for k := range uint64(100) {
		if local.Estimate(mixed(k)) < k || shared.Estimate(mixed(k)) < k {
			t.Fatalf("%d events are estimated as %d and %d", k, local.Estimate(mixed(k)), shared.Estimate(mixed(k)))
		}
		local.Sub(mixed(k), k)
		shared.Sub(mixed(k), k)
	}
	for k := range uint64(100) {
		if local.Estimate(mixed(k)) != 0 || shared.Estimate(mixed(k)) != 0 || local.Events() != 0 {
			t.Fatalf("something is left of key %d", k)
		}
	}
	testutil.Panics(t, "local", func() { NewLocalEstimator(EstimatorOptions{Conservative: true}).Sub(1, 1) })
	testutil.Panics(t, "shared", func() { NewSharedEstimator(EstimatorOptions{Conservative: true}).Sub(1, 1) })
}

// What four owners count is, merged, what one would have counted.
func TestEstimator_mergedIsOneForAll(t *testing.T) {
	stream, counts := zipfCounts(50_000, 1.1, 1<<16, 2)
	for _, conservative := range []bool{false, true} {
		o := EstimatorOptions{Conservative: conservative}
		var owners [4]*LocalEstimator
		for i := range owners {
			owners[i] = NewLocalEstimator(o)
		}
		one, merged := NewLocalEstimator(o), NewLocalEstimator(o)
		for i, k := range stream {
			owners[i%4].Add(mixed(k), 1)
			one.Add(mixed(k), 1)
		}
		var copied *LocalEstimator
		for _, e := range owners {
			copied = e.Snapshot(copied)
			merged.Merge(copied)
		}
		for k, n := range counts {
			got, want := merged.Estimate(mixed(k)), one.Estimate(mixed(k))
			if got < n || !conservative && got != want {
				t.Fatalf("%d events are estimated as %d, by one as %d", n, got, want)
			}
		}
		if merged.Events() != uint64(len(stream)) {
			t.Errorf("%d events", merged.Events())
		}
		merged.Reset()
		if merged.Events() != 0 || merged.Estimate(mixed(stream[0])) != 0 {
			t.Error("something is left after Reset")
		}
	}
	testutil.Panics(t, "another width", func() {
		NewLocalEstimator(EstimatorOptions{}).Merge(NewLocalEstimator(EstimatorOptions{Width: 1}))
	})
}

func TestEstimator_SnapshotIsACopy(t *testing.T) {
	e := NewLocalEstimator(EstimatorOptions{Width: 16})
	e.Add(1, 5)
	s := e.Snapshot(NewLocalEstimator(EstimatorOptions{Width: 8}))
	e.Add(1, 1)
	if s.Estimate(1) != 5 || s.Snapshot(s) != s || len(s.columns) != 16 {
		t.Errorf("%d, %d columns", s.Estimate(1), len(s.columns))
	}
}

// Adds of many goroutines to the same keys: no estimate is too low, with a conservative update too, whose raises
// race.
func TestSharedEstimator_losesNothing(t *testing.T) {
	const goroutines, adds, keys = 4, 5000, 7
	for _, conservative := range []bool{false, true} {
		e := NewSharedEstimator(EstimatorOptions{Width: 4, Conservative: conservative})
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for i := range uint64(adds) {
					if got := e.Add(mixed(i%keys), 1+i%3); got == 0 {
						t.Error("an estimate of 0")
					}
				}
			})
		}
		wg.Wait()
		var counts [keys]uint64
		for i := range uint64(adds) {
			counts[i%keys] += (1 + i%3) * goroutines
		}
		for k, n := range counts {
			if got := e.Estimate(mixed(uint64(k))); got < n {
				t.Errorf("conservative %v: %d events of key %d are estimated as %d", conservative, n, k, got)
			}
		}
		if e.Reset(); e.Estimate(mixed(1)) != 0 {
			t.Error("something is left after Reset")
		}
	}
}

func TestWidthFor(t *testing.T) {
	for share, want := range map[float64]int{0.001: 4096, 0.01: 512, 0.5: 8, 1: 4, 1e-30: widthMax} {
		if got := WidthFor(share); got != want {
			t.Errorf("%v: %d, want %d", share, got, want)
		}
	}
	testutil.Panics(t, "0", func() { WidthFor(0) })
	for _, width := range []int{-1, widthMax + 1} {
		testutil.Panics(t, fmt.Sprint(width), func() { NewLocalEstimator(EstimatorOptions{Width: width}) })
	}
	if n := len(NewSharedEstimator(EstimatorOptions{Width: 1000}).columns); n != 1024 {
		t.Errorf("%d counters in a row", n)
	}
}

// FuzzEstimator runs ops on a plain and a conservative estimator: neither is ever too low, nor the second one higher.
func FuzzEstimator(f *testing.F) {
	f.Add(uint8(3), []byte("a stream of events"))
	f.Fuzz(func(t *testing.T, width uint8, ops []byte) {
		plain := NewLocalEstimator(EstimatorOptions{Width: int(width)})
		saving := NewLocalEstimator(EstimatorOptions{Width: int(width), Conservative: true})
		shared := NewSharedEstimator(EstimatorOptions{Width: int(width)})
		var counts [16]uint64
		for _, op := range ops {
			key, n := uint64(op%16), uint64(op/16)
			counts[key] += n
			a, b, c := plain.Add(mixed(key), n), saving.Add(mixed(key), n), shared.Add(mixed(key), n)
			if a != c || b > a || b < counts[key] {
				t.Fatalf("%d events: plain %d, conservative %d, shared %d", counts[key], a, b, c)
			}
		}
	})
}
