package micro

import "testing"

// The baselines choose what ours choose: by weight, and the less loaded one.
func TestBalance_baselines(t *testing.T) {
	turns, counts := &smooth{weights: []int{4, 3, 2, 1}, current: make([]int, 4)}, [4]int{}
	for range 10 {
		counts[turns.next()]++
	}
	if counts != [4]int{4, 3, 2, 1} {
		t.Errorf("a cycle has %v", counts)
	}
	s := newShared(4, 3, 2, 1)
	drawn := [4]int{}
	for range 100_000 {
		drawn[s.draw()]++
	}
	for i, n := range drawn {
		if want := 10_000 * (4 - i); n < want-1000 || n > want+1000 {
			t.Errorf("backend %d is drawn %d times of 100 000, not %d", i, n, want)
		}
	}
	s.under[0].Store(1)
	for range 1000 {
		if drawn[s.pick()]++; s.under[0].Load() != 1 {
			t.Fatal("a pick counts")
		}
	}
	exchange := newShared(1, 1)
	for f := exchange.exchange(); exchange.under[0].Load()+exchange.under[1].Load() != balanceTick; f() {
		t.Fatal("what is under way is not a tick of requests")
	}
}
