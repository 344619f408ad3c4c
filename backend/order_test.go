package backend

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The tables of Envoy's documentation of priority levels.
func TestHealths_sharesAreEnvoys(t *testing.T) {
	for _, c := range []struct{ open, want [3]int }{
		{[3]int{100, 100, 100}, [3]int{100, 0, 0}},
		{[3]int{72, 72, 100}, [3]int{100, 0, 0}},
		{[3]int{71, 71, 100}, [3]int{99, 1, 0}},
		{[3]int{50, 50, 100}, [3]int{70, 30, 0}},
		{[3]int{25, 100, 100}, [3]int{35, 65, 0}},
		{[3]int{25, 25, 100}, [3]int{35, 35, 30}},
		{[3]int{20, 20, 10}, [3]int{40, 40, 20}}, // less than all of them can carry: in proportion
		{[3]int{0, 0, 10}, [3]int{0, 0, 100}},
	} {
		var h healths
		for _, open := range c.open {
			h = append(h, tierHealth{open, 100, open, 100})
		}
		for t2, share := range h.shares(true) {
			if math.Abs(100*share-float64(c.want[t2])) > 1 {
				t.Errorf("%v: tier %d gets %.1f %%, not %d", c.open, t2, 100*share, c.want[t2])
			}
		}
	}
}

// tiered makes a set with so many backends in each tier, and takes some of each down.
func tiered(p Policy, tiers, down []int) *Set {
	var list []Spec
	for t, n := range tiers {
		for i := range n {
			list = append(list, Spec{Address: fmt.Sprintf("10.0.%d.%d:80", t, i), Tier: t})
		}
	}
	s := NewSet(list...)
	s.SetPolicy(p)
	left := append([]int(nil), down...)
	for _, m := range s.Members() {
		if left[m.tier] > 0 {
			left[m.tier]--
			m.Down(Health)
		}
	}
	return s
}

func TestView_spills(t *testing.T) {
	const picks = 30_000
	s := tiered(Policy{Spill: true}, []int{10, 4, 3}, []int{5, 2, 0}) // 70 %, 30 %, 0 %
	r := reactor(t)
	for _, method := range []*balance.Method{balance.RoundRobin, balance.Adaptive, balance.Maglev} {
		v := s.View(1, method)
		var got [3]float64
		for k := range picks {
			q := balance.Request{Key: keyOf(method, k), Keyed: method.Hash != nil}
			m := v.Pick(r, &q)
			if got[m.tier] += 1.0 / picks; m.Reasons() != 0 {
				t.Fatalf("%s: picks what is down", method.Name)
			}
		}
		off := 0.01
		if method.Hash != nil {
			off = 0.03 // keys are as random as they are
		}
		for tier, want := range []float64{0.7, 0.3, 0} {
			if math.Abs(got[tier]-want) > off*want {
				t.Errorf("%s: tier %d gets %.4f, not %.2f", method.Name, tier, got[tier], want)
			}
		}
	}
}

// keyOf returns the key of a number.
func keyOf(m *balance.Method, k int) uint64 {
	if m.Hash == nil {
		return 0
	}
	return m.Hash([]byte(fmt.Sprint("key ", k)))
}

// While a tier loses members, keys move from it to the next tier, and none the other way.
func TestView_spillMovesFewKeys(t *testing.T) {
	s, r := tiered(Policy{Spill: true}, []int{10, 10}, []int{0, 0}), reactor(t)
	v := s.View(1, balance.Ketama)
	var before []int
	for _, m := range s.Members()[:9] {
		m.Down(Health)
		var tiers []int
		for k := range 2000 {
			q := balance.Request{Key: balance.Ketama.Hash([]byte(fmt.Sprint(k))), Keyed: true}
			if tiers = append(tiers, v.Pick(r, &q).tier); before != nil && tiers[k] < before[k] {
				t.Fatalf("key %d comes back to tier %d", k, tiers[k])
			}
		}
		before = tiers
	}
}

// Further attempts go on where a tier has nobody left, whatever its share.
func TestView_spillTriesEachOnce(t *testing.T) {
	s, r := tiered(Policy{Spill: true, Panic: 0.5}, []int{3, 4}, []int{2, 1}), reactor(t)
	v := s.View(1, balance.RoundRobin)
	for range 50 {
		var q balance.Request
		for range 4 {
			m := v.Pick(r, &q)
			if m == nil || m.Reasons() != 0 || q.Tried.Has(m.Slot()) {
				t.Fatalf("picked %v", m)
			}
			q.Tried.Add(m.Slot())
		}
		if m := v.Pick(r, &q); m != nil {
			t.Fatal("picked what is down")
		}
	}
}

func TestView_panics(t *testing.T) {
	for _, c := range []struct {
		name        string
		policy      Policy
		tiers, down []int
		want        []float64 // what the tiers get of first attempts, by members that serve and by others
	}{
		{"off", Policy{}, []int{4}, []int{3}, []float64{1, 0}},
		{"enough serve", Policy{Panic: 0.5}, []int{4}, []int{2}, []float64{1, 0}},
		{"too few", Policy{Panic: 0.5}, []int{4}, []int{3}, []float64{.25, .75}},
		{"none", Policy{Panic: 0.5}, []int{4}, []int{4}, []float64{0, 1}},
		{"another limit", Policy{Panic: 0.2}, []int{4}, []int{3}, []float64{1, 0}},
		{"backups serve", Policy{Panic: 0.5}, []int{4, 2}, []int{3, 0}, []float64{1, 0, 0, 0}},
		{"few backups serve", Policy{Panic: 0.5}, []int{4, 8}, []int{3, 7}, []float64{.25, .75, 0, 0}},
		{"only backups serve", Policy{Panic: 0.5}, []int{4, 4}, []int{4, 3}, []float64{0, 0, .25, .75}},
		{"spilling", Policy{Panic: 0.5, Spill: true}, []int{4, 8}, []int{3, 7},
			[]float64{1. / 6, .5, 1. / 24, 7. / 24}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, r := tiered(c.policy, c.tiers, c.down), reactor(t)
			v := s.View(1, balance.RoundRobin)
			const picks = 24_000
			got, panics := make([]float64, len(c.want)), c.want[1] > 0 || len(c.want) > 2 && c.want[3] > 0
			for range picks {
				m := v.Pick(r, nil)
				at := 2 * m.tier
				if m.Reasons() != 0 {
					at++
				}
				got[at] += 1.0 / picks
			}
			if !near(got, c.want, 0.005) || v.Panics() != panics || (s.Stats() == Stats{1, 1}) != panics {
				t.Errorf("%.3f, not %.3f; panics: %v, %v", got, c.want, v.Panics(), s.Stats())
			}
		})
	}
}

// What was decided about a member is no mistake. A further attempt goes to one that serves, while there is one.
func TestView_panicsWithinReason(t *testing.T) {
	s, r := tiered(Policy{Panic: 0.5}, []int{6}, []int{4}), reactor(t)
	all, v := s.Members(), s.View(1, balance.RoundRobin)
	all[0].Down(Draining)
	all[1].Down(Operator)
	all[2].Down(Names)
	all[4].Down(Ejected) // of the four that are not drained, one serves; 3 has no more than failed its checks
	seen := map[*Member]int{}
	for range 300 {
		seen[v.Pick(r, nil)]++
	}
	if len(seen) != 3 || seen[all[3]] != 100 || seen[all[4]] != 100 || seen[all[5]] != 100 {
		t.Errorf("picked %v", seen)
	}
	for range 10 {
		var q balance.Request
		var list []*Member
		for m := v.Pick(r, &q); m != nil; m = v.Pick(r, &q) {
			list = append(list, m)
			q.Tried.Add(m.Slot())
		}
		if len(list) != 3 || list[0] != all[5] && list[1] != all[5] {
			t.Errorf("attempts go to %v", list)
		}
	}
}

// A panic is over all zones, also where one of them does not serve at all, and for members that take no part of their
// weight where there are no others. Those that are drained get nothing.
func TestView_panicsInAllZones(t *testing.T) {
	p, r := Policy{Panic: 0.5, Zones: ZonesPrefer, Zone: "a"}, reactor(t)
	s := zoned(p, 4, 4)
	all := s.Members()
	for _, m := range all[2:] {
		m.Down(Health) // 2 of 8 serve, both in zone a
	}
	all[6].Down(AgentDrain)
	all[7].Down(Draining)
	for _, method := range []*balance.Method{balance.RoundRobin, balance.Random, balance.Adaptive, balance.Maglev} {
		v := s.View(1, method)
		got := make([]float64, len(all))
		for k := range 12_000 {
			q := balance.Request{Key: keyOf(method, k), Keyed: method.Hash != nil}
			got[v.Pick(r, &q).Slot()] += 1. / 12_000
		}
		if !near(got, []float64{1. / 6, 1. / 6, 1. / 6, 1. / 6, 1. / 6, 1. / 6, 0, 0}, 0.02) {
			t.Errorf("%s: shares %.3f", method.Name, got)
		}
	}
	if all[2].Up(Health); all[3].Up(Health) { // 4 of 6: no panic any more
		if got := s.Shares(); !near(got, []float64{.25, .25, .25, .25, 0, 0, 0, 0}, 1e-9) {
			t.Errorf("shares %.3f after the panic", got)
		}
	}
}

func TestView_panicsWhereNoneTakesAPart(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s, r := tiered(Policy{Panic: 0.5}, []int{3}, []int{3}), reactor(t)
		for _, m := range s.Members() {
			m.SetPart(PartAgent, 0)
		}
		testutil.Pass(renewalPause)
		if m := s.View(1, nil).Pick(r, nil); m == nil {
			t.Error("nothing is picked")
		}
	})
}

func TestSet_onPanic(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := tiered(Policy{Panic: 0.5}, []int{3}, []int{0})
		var got []Panic
		stop := s.OnPanic(func(p *Panic) { got = append(got, *p) })
		all := s.Members()
		for _, m := range all {
			m.Down(Health)
			time.Sleep(time.Second)
		}
		all[0].Up(Health)
		all[1].Up(Health)
		all[1].Down(Health)
		stop()
		all[1].Up(Health)
		want := []Panic{{On: true, Open: 1, Members: 3}, {Open: 2, Members: 3, Lasted: 2 * time.Second},
			{On: true, Open: 1, Members: 3}}
		if fmt.Sprint(got) != fmt.Sprint(want) || s.Stats() != (Stats{Panics: 2}) {
			t.Errorf("told %v, not %v; %v", got, want, s.Stats())
		}
	})
}

// Whatever members do, first attempts go to tiers by the rule, and to members that do not serve in a panic alone.
func TestView_sharesProperty(t *testing.T) {
	r := reactor(t)
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := Policy{Spill: rng.IntN(2) == 0, Panic: float64(rng.IntN(3)) / 4}
		tiers := []int{1 + rng.IntN(6), 1 + rng.IntN(6), 1 + rng.IntN(6)}
		s := tiered(p, tiers, []int{rng.IntN(7), rng.IntN(7), rng.IntN(7)})
		for _, m := range s.Members() {
			if rng.IntN(6) == 0 {
				m.Down(Draining)
			}
		}
		v := s.View(1, balance.RoundRobin)
		want, panics := modelShares(s, p)
		got := make([]float64, 3)
		for range 2000 {
			m := v.Pick(r, nil)
			if m == nil {
				break
			}
			if got[m.tier] += 1.0 / 2000; m.Reasons() != 0 && !panics[m.tier] || m.Reasons()&Draining != 0 {
				t.Fatalf("seed %d: picked a member that does not serve: %v", seed, m.Reasons())
			}
		}
		if !near(got, want, 0.01) {
			t.Fatalf("seed %d, %+v: tiers get %.3f, not %.3f", seed, p, got, want)
		}
	}
}

// modelShares is the rule, as the documentation has it.
func modelShares(s *Set, p Policy) (shares []float64, panics []bool) {
	var open, all [3]float64
	for _, m := range s.Members() {
		if m.Reasons()&Draining == 0 {
			all[m.tier]++
			if m.Reasons() == 0 {
				open[m.tier]++
			}
		}
	}
	sum, shares, panics := 0.0, make([]float64, 3), make([]bool, 3)
	for t := range open {
		if all[t] > 0 {
			open[t] /= all[t]
		}
		sum += 1.4 * open[t]
	}
	left := 1.0
	for t := range open {
		panics[t] = all[t] > 0 && sum < 1 && open[t] < p.Panic
		switch {
		case p.Spill && sum > 0:
			shares[t] = min(left, min(1, 1.4*open[t])/min(1, sum))
		case open[t] > 0 || sum == 0 && panics[t]:
			shares[t] = left
		}
		left -= shares[t]
	}
	return shares, panics
}
