package list

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

type item struct {
	number int
	place  Node[item]
}

// Two lists share the items; a slice for each is the model.
func TestList_asSlices(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	items := make([]item, 20)
	for i := range items {
		items[i].number = i
	}
	var lists [2]List[item]
	var model [2][]int
	for range 20000 {
		it := &items[random.IntN(len(items))]
		at := random.IntN(2)
		in := slices.Contains(model[0], it.number) || slices.Contains(model[1], it.number)
		if it.place.Listed() != in {
			t.Fatalf("item %d is listed: %v", it.number, !in)
		}
		switch {
		case in:
			for i := range model {
				model[i] = slices.DeleteFunc(model[i], func(n int) bool { return n == it.number })
			}
			if !it.place.Remove() || it.place.Remove() {
				t.Fatalf("item %d was not removed, or was twice", it.number)
			}
		case random.IntN(2) == 0:
			model[at] = append(model[at], it.number)
			lists[at].PushBack(&it.place, it)
		default:
			model[at] = slices.Insert(model[at], 0, it.number)
			lists[at].PushFront(&it.place, it)
		}
		for i := range lists {
			testutil.Must(t, lists[i].Check())
			var got []int
			for it := lists[i].First(); it != nil; it = it.place.Next() {
				got = append(got, it.number)
			}
			if !slices.Equal(got, model[i]) || lists[i].Len() != len(got) {
				t.Fatalf("list %d has %v, want %v", i, got, model[i])
			}
			if last := lists[i].Last(); last != nil && last.number != got[len(got)-1] {
				t.Fatalf("last is %d of %v", last.number, got)
			}
		}
	}
}
