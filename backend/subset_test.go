package backend

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// numbered returns so many identities.
func numbered(n int) (ids []ID) {
	for i := range n {
		ids = append(ids, ID{Name: fmt.Sprintf("backend-%d:80", i)})
	}
	return ids
}

// spreadOf returns in how many subsets each of n backends is, the least and the most.
func spreadOf(n, size, processes int, byIndex bool) (least, most int) {
	ids, counts := numbered(n), map[ID]int{}
	for j := range processes {
		sub := Subset{Size: size, Instance: uint64(j)*7919 + 1}
		if byIndex {
			sub.Index, sub.Of = j, processes
		}
		list := sub.of(ids)
		seen := map[ID]bool{}
		for _, id := range list {
			counts[id]++
			seen[id] = true
		}
		if len(seen) != size {
			panic("a subset has a backend twice")
		}
	}
	least = processes
	for _, id := range ids {
		least, most = min(least, counts[id]), max(most, counts[id])
	}
	return least, most
}

func TestSubset_isEven(t *testing.T) {
	for _, c := range []struct{ n, size, processes int }{
		{64, 16, 64}, {100, 20, 40}, {100, 20, 37}, {300, 20, 60}, {37, 5, 100}, {10, 9, 10},
	} {
		fair := float64(c.size*c.processes) / float64(c.n)
		least, most := spreadOf(c.n, c.size, c.processes, true)
		if float64(least) < 0.7*fair-1 || float64(most) > 1.3*fair+1 {
			t.Errorf("%+v: in %d to %d subsets, %.1f would be fair", c, least, most, fair)
		}
		if worst, best := spreadOf(c.n, c.size, c.processes, false); best-worst < most-least {
			t.Errorf("%+v: by hash %d to %d, by index %d to %d", c, worst, best, least, most)
		}
	}
}

// One backend that comes or goes changes little in the subset of each process.
func TestSubset_changesLittle(t *testing.T) {
	const n, size, processes = 100, 20, 20
	rng := rand.New(rand.NewPCG(3, 3))
	order := number(nil, numbered(n))
	changes := [2]int{}
	const rounds = 12
	for round := range rounds {
		next := slices.Clone(order)
		if round%2 == 0 {
			next = slices.Delete(next, 7*round%len(next), 7*round%len(next)+1)
		} else {
			next = append(next, ID{Name: fmt.Sprintf("new-%d:80", round)})
		}
		rng.Shuffle(len(next), func(i, k int) { next[i], next[k] = next[k], next[i] })
		next = number(order, next)
		for j := range processes {
			both := []Subset{{Size: size, Index: j, Of: processes}, {Size: size, Instance: uint64(j + 1)}}
			for mode, sub := range both {
				old := sub.of(order)
				for _, id := range sub.of(next) {
					if !slices.Contains(old, id) {
						changes[mode]++
					}
				}
			}
		}
		order = next
	}
	// A backend is in a fifth of the subsets; where the last one takes its place, that one is so too.
	for mode, most := range []float64{0.6, 0.25} {
		if got := float64(changes[mode]) / rounds / processes; got > most || got == 0 {
			t.Errorf("mode %d: %.2f changes of a subset for each of the members", mode, got)
		}
	}
}

// The order has all that there are, once each, and the same one where processes hear of the same lists.
func TestNumber_property(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var a, b []ID
	for range 100 {
		all := numbered(30)
		rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		all = all[:rng.IntN(30)]
		before := slices.Clone(a)
		a = number(a, all)
		rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		b = number(b, all)
		moved := 0
		for _, id := range a {
			if !slices.Contains(all, id) {
				t.Fatal("it has one that is gone")
			}
			if i := slices.Index(before, id); i >= 0 && a[i%len(a)] != id {
				moved++
			}
		}
		gone := len(before) - len(a)
		if !slices.Equal(a, b) || len(a) != len(all) || moved > max(gone, 0) {
			t.Fatalf("%v after %v: %d have moved", a, before, moved)
		}
	}
}

func TestSet_subset(t *testing.T) {
	var list []Spec
	for i := range 30 {
		list = append(list, Spec{Address: fmt.Sprintf("10.0.0.%d:80", i), Tier: i / 20})
	}
	s := NewSet(list...)
	h := &heard{}
	s.Follow(h)
	first := s.Members()[0]
	s.SetPolicy(Policy{Subset: Subset{Size: 5, Index: 0, Of: 4}})
	if len(s.Members()) != 10 || s.Members()[0] != first || len(h.list) != 30+20 {
		t.Fatalf("%d members, %d changes", len(s.Members()), len(h.list))
	}
	before := s.Members()
	s.Update(append(list, Spec{Address: "10.1.0.1:80"}))
	kept := 0
	for _, m := range s.Members() {
		if slices.Contains(before, m) {
			kept++
		}
	}
	if kept < 9 || len(s.Members()) != 10 {
		t.Errorf("%d of %d members stay", kept, len(s.Members()))
	}
	if s.SetPolicy(Policy{}); len(s.Members()) != 31 {
		t.Errorf("%d members without a subset", len(s.Members()))
	}
	if sum := s.Shares(); len(sum) < 31 {
		t.Errorf("%d shares", len(sum))
	}
}
