package list

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type item struct {
	number int
	place  Node[item]
}

// check walks a List, both ways.
func (l *List[T]) check(t *testing.T) {
	t.Helper()
	if (l.first == nil) != (l.last == nil) || (l.first == nil) != (l.size == 0) {
		t.Fatalf("first %v, last %v, size %d", l.first, l.last, l.size)
	}
	var prev *Node[T]
	size := 0
	for n := l.first; n != nil; prev, n = n, n.next {
		if n.prev != prev || n.in != l || n.of == nil {
			t.Fatalf("place %d: broken link back, another list, or no element", size)
		}
		size++
	}
	if l.last != prev || l.size != size {
		t.Fatalf("%d places, the size is %d", size, l.size)
	}
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
			lists[i].check(t)
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
