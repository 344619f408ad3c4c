package limits

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// highestOf returns the k keys with the most events, and the count of the last of them.
func highestOf(counts map[uint64]uint64, k int) (top map[uint64]bool, last uint64) {
	keys := make([]uint64, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b uint64) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	top = map[uint64]bool{}
	for _, key := range keys[:min(k, len(keys))] {
		top[key], last = true, counts[key]
	}
	return top, last
}

// recall returns the part of the k most frequent keys that items has. A key with as many events as the last of them
// is as good as it.
func recall(items []Item[uint64], counts map[uint64]uint64, k int) float64 {
	_, last := highestOf(counts, k)
	n := 0
	for _, item := range items[:min(k, len(items))] {
		if counts[item.Key] >= last {
			n++
		}
	}
	return float64(n) / float64(k)
}

// At least 99 of 100, as in the paper's evaluation (Gong et al. 2018, §6), on streams from hardly skewed to skewed.
func TestTopK_findsTheMostFrequentKeys(t *testing.T) {
	testutil.OnlyPlain(t)
	const k = 100
	events := 1_000_000
	if testing.Short() {
		events = 200_000
	}
	for _, s := range []float64{1.01, 1.1, 1.2, 1.5} {
		stream, counts := zipfCounts(events, s, 1<<24, 3)
		list := NewTopK(TopKOptions[uint64]{Keys: k, Seed: 1})
		for _, key := range stream {
			list.Add(mixed(key), key, 1)
		}
		items := list.Top(nil)
		t.Logf("Zipf %v: %d keys, recall %v", s, len(counts), recall(items, counts, k))
		if got := recall(items, counts, k); got < 0.99 || len(items) != k {
			t.Errorf("Zipf %v, %d keys: %d listed, recall %v", s, len(counts), len(items), got)
		}
		wrong := 0.0
		for i, item := range items {
			if n := counts[item.Key]; item.Count > n {
				t.Errorf("Zipf %v: %d events are counted as %d", s, n, item.Count)
			} else if n-item.Count > n/20 {
				wrong++
			}
			if i > 0 && items[i-1].Count < item.Count {
				t.Errorf("Zipf %v: not in order", s)
			}
		}
		if wrong > 2 {
			t.Errorf("Zipf %v: %v of %d counts are more than 5 %% too low", s, wrong, k)
		}
	}
}

// A flood of keys that come once does not push a frequent key out.
func TestTopK_floodOfNewKeys(t *testing.T) {
	list := NewTopK(TopKOptions[uint64]{Keys: 10, Cells: 64, Seed: 2})
	for i := range uint64(1_000_000) {
		list.Add(mixed(i+1000), i+1000, 1)
		if i%1000 == 0 {
			for k := range uint64(5) {
				list.Add(mixed(k), k, 10) // 1 % of the events in all
			}
		}
	}
	items := list.Top(nil)
	for k := range 5 {
		if items[k].Key >= 5 {
			t.Errorf("place %d: %+v", k, items[k])
		}
	}
}

// Events by number, such as bytes: what many single events would do, in the mean.
func TestTopK_events(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	zipf := rand.NewZipf(rng, 1.2, 1, 1<<20)
	list, counts := NewTopK(TopKOptions[uint64]{Keys: 50}), map[uint64]uint64{}
	for range 200_000 {
		k, n := zipf.Uint64(), 40+rng.Uint64N(1460)
		counts[k] += n
		list.Add(mixed(k), k, n)
	}
	items := list.Top(nil)
	if got := recall(items, counts, 50); got < 0.98 {
		t.Errorf("recall %v", got)
	}
	for _, item := range items {
		if item.Count > counts[item.Key] {
			t.Errorf("%d bytes are counted as %d", counts[item.Key], item.Count)
		}
	}
	list.Add(7, 7, 1<<63)
	list.Add(7, 7, 1<<63)
	if top := list.Top(nil)[0]; top.Key != 7 || top.Count != heavyCountMax {
		t.Errorf("%+v", top)
	}
	list.Add(8, 8, 0)
}

func TestTopK_theSameSeedGivesTheSameList(t *testing.T) {
	stream, _ := zipfCounts(50_000, 1.01, 1<<20, 6)
	var lists [2][]Item[uint64]
	for i := range lists {
		list := NewTopK(TopKOptions[uint64]{Keys: 20, Cells: 64, Seed: 9})
		for _, k := range stream {
			list.Add(mixed(k), k, 1)
		}
		lists[i] = list.Top(nil)
	}
	if !slices.Equal(lists[0], lists[1]) {
		t.Errorf("%v\n%v", lists[0], lists[1])
	}
}

// Keys are copied only when they are kept.
func TestTopK_keepsCopies(t *testing.T) {
	copies := 0
	list := NewTopK(TopKOptions[string]{Keys: 2, KeepFrom: 3, Clone: func(s string) string {
		copies++
		return strings.Clone(s)
	}})
	for range 3 {
		list.Add(1, "a", 1)
	}
	list.Add(2, "b", 2)
	list.Add(3, "c", 5)
	want := []Item[string]{{Key: "c", Count: 5}, {Key: "a", Count: 3}}
	if got := list.Top(nil); copies != 2 || !slices.Equal(got, want) {
		t.Errorf("%d copies, %v", copies, got)
	}
	if got := list.Top(want); len(got) != 4 || got[0] != want[0] {
		t.Errorf("%v", got)
	}
}

// What four owners count gives, merged, the list of all.
func TestTopK_merged(t *testing.T) {
	testutil.OnlyPlain(t)
	stream, counts := zipfCounts(400_000, 1.1, 1<<20, 7)
	merged, owners := NewTopK(TopKOptions[uint64]{}), [4]*TopK[uint64]{}
	for i := range owners {
		owners[i] = NewTopK(TopKOptions[uint64]{Seed: uint64(i)})
	}
	for i, k := range stream {
		owners[i%4].Add(mixed(k), k, 1)
	}
	var copied *TopK[uint64]
	for _, list := range owners {
		copied = list.Snapshot(copied)
		merged.Merge(copied)
	}
	items := merged.Top(nil)
	if got := recall(items, counts, 100); got < 0.99 {
		t.Errorf("recall %v", got)
	}
	for _, item := range items {
		if item.Count > counts[item.Key] {
			t.Errorf("%d events are counted as %d", counts[item.Key], item.Count)
		}
	}
	testutil.Panics(t, "another size", func() { merged.Merge(NewTopK(TopKOptions[uint64]{Cells: 8})) })
}

// A key that one owner has kept and the other has not is listed with both counts.
func TestTopK_mergeKeepsKeys(t *testing.T) {
	o := TopKOptions[string]{Cells: 8, KeepFrom: 5}
	a, b := NewTopK(o), NewTopK(o)
	a.Add(1, "x", 4)
	b.Add(1, "x", 6)
	a.Merge(b)
	if got := a.Top(nil); !slices.Equal(got, []Item[string]{{Key: "x", Count: 10}}) {
		t.Errorf("%v", got)
	}
	for k := range uint64(8) {
		a.Add(k+10, "y", 6)
		b.Add(k+20, "z", 10)
	}
	a.Merge(b)
	if got := a.Top(nil); len(got) != 8 || got[0].Key != "x" || got[7].Key != "z" {
		t.Errorf("%v", got)
	}
}

func TestTopK_HalveAndReset(t *testing.T) {
	list := NewTopK(TopKOptions[string]{Keys: 5})
	list.Add(1, "a", 9)
	list.Add(2, "b", 1)
	list.Halve()
	if got := list.Top(nil); !slices.Equal(got, []Item[string]{{Key: "a", Count: 4}}) {
		t.Errorf("%v", got)
	}
	list.Add(3, "c", 1)
	list.Add(1, "a", 1)
	if got := list.Top(nil); len(got) != 2 || got[0].Count != 5 {
		t.Errorf("%v", got)
	}
	if list.Reset(); len(list.Top(nil)) != 0 {
		t.Error("something is left after Reset")
	}
}

// checkSpaceSaving fails when list breaks what Metwally et al. 2005 prove, for a stream with these counts.
func checkSpaceSaving(t *testing.T, list *SpaceSaving[uint64], counts map[uint64]uint64, m int) {
	t.Helper()
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	if list.Events() != total || list.Least() > total/uint64(m) {
		t.Fatalf("%d events of %d, at least %d in each of %d counters", list.Events(), total, list.Least(), m)
	}
	listed := map[uint64]bool{}
	for _, item := range list.Top(nil, m) {
		n := counts[item.Key]
		if n > item.Count || n < item.Count-item.Over || item.Over > total/uint64(m) {
			t.Fatalf("%d of %d events are counted as %d, too high by up to %d", n, total, item.Count, item.Over)
		}
		if listed[item.Key] {
			t.Fatalf("key %d is listed twice", item.Key)
		}
		listed[item.Key] = true
	}
	for key, n := range counts {
		if !listed[key] && n > list.Least() {
			t.Fatalf("a key with %d events is not listed, the least has %d", n, list.Least())
		}
	}
}

func TestSpaceSaving_guaranteeOfThePaper(t *testing.T) {
	for _, m := range []int{1, 10, 1000} {
		for _, s := range []float64{1.01, 1.2, 2} {
			stream, counts := zipfCounts(100_000, s, 1<<20, 8)
			list := NewSpaceSaving[uint64](m, nil)
			for _, k := range stream {
				list.Add(mixed(k), k, 1)
			}
			checkSpaceSaving(t, list, counts, m)
			if s > 1.01 && m == 1000 {
				if got := recall(list.Top(nil, 100), counts, 100); got < 0.95 {
					t.Errorf("Zipf %v: recall %v", s, got)
				}
			}
		}
	}
	testutil.Panics(t, "0", func() { NewSpaceSaving[int](0, nil) })
	testutil.Panics(t, "2^24 + 1", func() { NewSpaceSaving[int](1<<24+1, nil) })
}

// Each key once, in turn: whatever is counted is wrong by as much as may be.
func TestSpaceSaving_worstArrivals(t *testing.T) {
	list, counts := NewSpaceSaving[uint64](16, nil), map[uint64]uint64{}
	for i := range uint64(10_000) {
		list.Add(mixed(i%17), i%17, 1)
		counts[i%17]++
	}
	checkSpaceSaving(t, list, counts, 16)
	if list.Least() != 10_000/16 {
		t.Errorf("the least counter has %d", list.Least())
	}
}

// Agarwal et al. 2012, theorem 2: summaries can be merged, again and again, and go on, with the same guarantee.
func TestSpaceSaving_merged(t *testing.T) {
	const m = 64
	rng := rand.New(rand.NewPCG(9, 9))
	for range 20 {
		counts := map[uint64]uint64{}
		merged := NewSpaceSaving[uint64](m, nil)
		var copied *SpaceSaving[uint64]
		for range 4 {
			owner := NewSpaceSaving[uint64](m, nil)
			zipf := rand.NewZipf(rng, 1.01+rng.Float64(), 1, 5000)
			shift := rng.Uint64N(100)
			for range rng.IntN(5000) {
				k, n := zipf.Uint64()+shift, 1+rng.Uint64N(3)
				counts[k] += n
				owner.Add(mixed(k), k, n)
				if k%7 == 0 {
					counts[k]++
					merged.Add(mixed(k), k, 1)
				}
			}
			copied = owner.Snapshot(copied)
			merged.Merge(copied)
			checkSpaceSaving(t, merged, counts, m)
		}
	}
	testutil.Panics(t, "another size", func() { NewSpaceSaving[int](1, nil).Merge(NewSpaceSaving[int](2, nil)) })
}

func TestSpaceSaving_listsAndForgets(t *testing.T) {
	list := NewSpaceSaving(2, strings.Clone)
	if list.Least() != 0 || len(list.Top(nil, 5)) != 0 {
		t.Error("something is in a new list")
	}
	list.Add(1, "a", 5)
	list.Add(2, "b", 1)
	list.Add(3, "c", 1)
	want := []Item[string]{{"a", 5, 0}, {"c", 2, 1}}
	if got := list.Top(nil, 5); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := list.Top(nil, 1); !slices.Equal(got, want[:1]) {
		t.Errorf("%v", got)
	}
	if list.Reset(); list.Events() != 0 || len(list.Top(nil, 5)) != 0 {
		t.Error("something is left after Reset")
	}
}

// FuzzSpaceSaving runs events of few keys with hashes that meet in the index.
func FuzzSpaceSaving(f *testing.F) {
	f.Add(uint8(3), []byte{1, 2, 3, 4, 1, 1, 33, 65, 97, 129})
	f.Fuzz(func(t *testing.T, m uint8, ops []byte) {
		size := int(m%8) + 1
		list, counts := NewSpaceSaving[uint64](size, nil), map[uint64]uint64{}
		for i, op := range ops {
			key, n := uint64(op%32), uint64(op/32)
			if i == len(ops)/2 {
				list = list.Snapshot(nil)
			}
			list.Add(key*4, key, n)
			counts[key] += n
		}
		checkSpaceSaving(t, list, counts, size)
	})
}

// FuzzTopK: a count is never too high, whatever comes.
func FuzzTopK(f *testing.F) {
	f.Add(uint8(0), []byte{1, 2, 3, 4, 1, 1, 33, 65, 97, 129, 200, 201, 202})
	f.Fuzz(func(t *testing.T, keep uint8, ops []byte) {
		list := NewTopK(TopKOptions[uint64]{Cells: 8, KeepFrom: uint64(keep % 4)})
		other := NewTopK(TopKOptions[uint64]{Cells: 8, KeepFrom: uint64(keep % 4)})
		counts := map[uint64]uint64{}
		for i, op := range ops {
			key, n := uint64(op%32)+1, uint64(op/32)
			if i%3 == 0 {
				other.Add(key, key, n)
			} else {
				list.Add(key, key, n)
			}
			counts[key] += n
		}
		list.Merge(other)
		for _, item := range list.Top(nil) {
			if item.Count > counts[item.Key] {
				t.Fatalf("%d events of key %d are counted as %d", counts[item.Key], item.Key, item.Count)
			}
		}
	})
}
