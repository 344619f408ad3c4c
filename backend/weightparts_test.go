package backend

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// shares returns which part of so many picks each member of a tier gets by a method, while nothing is under way.
func shares(s *Set, tier int, m *balance.Method, picks int) []float64 {
	v, p, l := s.now.Load().tiers[tier].view, m.New(0, 1), balance.NewLocal(s.loads, 1)
	var q balance.Request
	list := make([]float64, v.Len())
	for range picks {
		if i := p.Pick(v, l, &q); i >= 0 {
			list[i] += 1 / float64(picks)
		}
	}
	return list
}

// near reports whether the numbers of two lists differ by no more than off.
func near(got, want []float64, off float64) bool {
	return slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) <= off })
}

// held returns which part of many requests that stay under way each member gets by a method.
func held(s *Set, m *balance.Method, requests int) []float64 {
	v, p, l := s.now.Load().tiers[0].view, m.New(0, 1), balance.NewLocal(s.loads, 1)
	var q balance.Request
	list, sent := make([]float64, v.Len()), []int(nil)
	for range requests {
		i := p.Pick(v, l, &q)
		l.Enter(i, false)
		list[i] += 1 / float64(requests)
		sent = append(sent, i)
	}
	for _, i := range sent {
		l.Leave(i, false)
	}
	l.Publish()
	return list
}

func TestMember_setPart(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := weighted(3, 1, 2)
		all := s.Members()
		if !all[0].SetPart(PartAgent, 0.75) || all[0].SetPart(PartAgent, 0.75) || all[0].Part() != 0.75 {
			t.Fatalf("part %g", all[0].Part())
		}
		all[2].SetPart(PartAgent, 7)
		all[1].SetPart(PartAgent, -1)
		if all[2].Part() != 1 || all[1].Part() != 0 {
			t.Fatalf("parts %g and %g", all[2].Part(), all[1].Part())
		}
		want := []float64{2.25 / 4.25, 0, 2 / 4.25}
		if got := held(s, balance.LeastConn, 4250); !near(got, []float64{2.25 / 4.31, .06 / 4.31, 2 / 4.31}, 0.002) {
			t.Errorf("methods that look at load do not follow at once: %.3f", got)
		}
		testutil.Pass(renewalPause)
		for _, m := range []*balance.Method{balance.RoundRobin, balance.Random, balance.LeastConn, balance.Adaptive} {
			if got := shares(s, 0, m, 20_000); !near(got, want, 0.015) {
				t.Errorf("%s: shares %.3f, not %.3f", m.Name, got, want)
			}
		}
		all[0].SetPart(PartAgent, 1.0/3)
		all[1].SetPart(PartAgent, 1)
		testutil.Pass(renewalPause)
		if got := shares(s, 0, balance.RoundRobin, 4); !near(got, []float64{0.25, 0.25, 0.5}, 0) {
			t.Errorf("shares %.3f of a cycle of four", got)
		}
	})
}

// A member that takes no part is still there for the keys that lead to it.
func TestMember_partMovesNoKey(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := weighted(1, 1, 1)
		keys := func(m *balance.Method) (list []int) {
			v, p := s.now.Load().tiers[0].view, m.New(0, 1)
			for k := range 1000 {
				q := balance.Request{Key: m.Hash([]byte{byte(k), byte(k >> 8), 1, 1}), Keyed: true}
				list = append(list, p.Pick(v, nil, &q))
			}
			return list
		}
		for _, m := range []*balance.Method{balance.Ketama, balance.Maglev, balance.IPHash} {
			before := keys(m)
			for _, part := range []float64{0.3, 0, 1} {
				s.Members()[1].SetPart(PartAgent, part)
				testutil.Pass(renewalPause)
				if !slices.Equal(keys(m), before) {
					t.Errorf("%s: keys move with a part of %g", m.Name, part)
				}
			}
		}
	})
}

func TestMember_partsMakeFewViews(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := weighted(slices.Repeat([]int{1}, 100)...)
		seen := map[*state]bool{s.now.Load(): true}
		for i := range 1000 {
			s.Members()[i%100].SetPart(PartAgent, float64(i%97+1)/100)
			testutil.Pass(100 * time.Microsecond)
			seen[s.now.Load()] = true
		}
		if n := len(seen); n < 10 || n > 11 {
			t.Errorf("%d states in 100 ms", n)
		}
	})
}

// slowly makes a set with a slow start of 20 s.
func slowly(weights ...int) *Set {
	s := weighted(weights...)
	s.SetPolicy(Policy{SlowStart: 20 * time.Second})
	return s
}

func TestSet_slowStart(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := slowly(1, 1, 1, 1)
		m := s.Members()[2]
		if m.Part() != 1 {
			t.Fatal("a member of the first list starts slowly")
		}
		m.Down(Health)
		time.Sleep(time.Hour)
		m.Up(Health)
		for at := time.Duration(0); at < 25*time.Second; at += 125 * time.Millisecond {
			synctest.Wait()
			steps := math.Floor(32 * float64(at) / float64(20*time.Second))
			part := min(max(0.1, steps/32), 1)
			if m.Part() != part {
				t.Fatalf("after %v it takes %g, not %g", at, m.Part(), part)
			}
			turns := max(math.Floor(8*part), 1) / 8
			want := []float64{1 / (3 + turns), 1 / (3 + turns), turns / (3 + turns), 1 / (3 + turns)}
			if got := shares(s, 0, balance.RoundRobin, int(24+8*turns)); !near(got, want, 1e-9) {
				t.Fatalf("after %v: shares %.3f, not %.3f", at, got, want)
			}
			if at == 5*time.Second {
				want := []float64{1 / 3.25, 1 / 3.25, .25 / 3.25, 1 / 3.25}
				if got := held(s, balance.LeastConn, 3250); !near(got, want, 0.001) {
					t.Errorf("held %.3f", got)
				}
			}
			time.Sleep(125 * time.Millisecond)
		}
	})
}

// A Set that is simulated goes by the clock it is given: the time of the system passes without an effect.
func TestSet_simulate(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		now := time.Unix(1000, 0)
		s := Of("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
		keep := s.Simulate(func() time.Time { return now })
		s.SetPolicy(Policy{SlowStart: 20 * time.Second})
		m := s.Members()[0]
		m.Down(Health)
		m.Up(Health)
		m.SetPart(PartAgent, 0.5)
		testutil.Pass(time.Hour)
		if m.Part() != 0.05 {
			t.Fatalf("it takes %g by the time of the system", m.Part())
		}
		for _, part := range []float64{0.125, 0.25, 0.375, 0.5} {
			now = now.Add(5 * time.Second)
			keep()
			if got, want := shares(s, 0, balance.RoundRobin, 2400)[0], part/(2+part); m.Part() != part ||
				math.Abs(got-want) > 0.001 {
				t.Errorf("it takes %g and gets %.3f, not %g and %.3f", m.Part(), got, part, want)
			}
		}
	})
}

func TestSet_slowStartBegins(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := slowly(1, 1)
		all := s.Members()
		for _, m := range all {
			m.Down(Health)
		}
		if all[0].Up(Health); all[0].Part() != 1 {
			t.Error("it starts slowly, though no other one serves")
		}
		if all[1].Up(Health); all[1].Part() != slowStartLeast {
			t.Errorf("it begins with %g", all[1].Part())
		}
		time.Sleep(10 * time.Second)
		if all[1].Down(Ejected); all[1].Part() != 1 {
			t.Error("it starts while it is down")
		}
		if all[1].Up(Ejected); all[1].Part() != slowStartLeast {
			t.Error("it goes on where it was when it went down")
		}
		testutil.Pass(20 * time.Second)
		s.Apply("source", []Spec{{Address: "10.1.0.1:80"}, {Address: "10.1.0.2:80", Tier: 1}, {Address: "name:80"}})
		added := s.Members()[2:]
		if added[0].Part() != slowStartLeast || added[1].Part() != 1 || added[2].Part() != 1 {
			t.Errorf("parts %g, %g, %g of members that join", added[0].Part(), added[1].Part(), added[2].Part())
		}
		if added[2].Up(Names); added[2].Part() != slowStartLeast || added[0].Part() != slowStartLeast {
			t.Error("half of the tier does not start slowly")
		}
		if all[0].Down(Health); added[2].Part() != 1 || added[0].Part() != 1 {
			t.Error("more than half of the tier starts slowly")
		}
		s.SetPolicy(Policy{SlowStart: time.Minute})
		added[2].Down(Health)
		added[2].Up(Health)
		if s.SetPolicy(Policy{}); added[2].Part() != 1 || len(s.schedule.starting) > 0 {
			t.Error("it starts slowly without a policy")
		}
	})
}

// Whatever happens, members take the parts of a plain model, and turns follow within a step.
func TestSet_partsProperty(t *testing.T) {
	const slow = 3200 * time.Millisecond // steps are 100 ms
	for seed := range uint64(10) {
		testutil.Bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			weights := make([]int, 2+rng.IntN(6))
			for i := range weights {
				weights[i] = 1 + rng.IntN(3)
			}
			s := weighted(weights...)
			s.SetPolicy(Policy{SlowStart: slow})
			model := newPartModel(weights)
			all := s.Members()
			for range 40 {
				i := rng.IntN(len(all))
				switch rng.IntN(4) {
				case 0:
					all[i].Down(Health)
					model.mark(i, false)
				case 1:
					all[i].Up(Health)
					model.mark(i, true)
				case 2:
					model.agent[i] = float64(rng.IntN(5)) / 4
					all[i].SetPart(PartAgent, model.agent[i])
				}
				testutil.Pass(time.Duration(rng.IntN(10))*100*time.Millisecond + 100*time.Millisecond - renewalPause)
				model.pass(slow)
				for i, m := range all {
					if off := m.Part() - model.part(i, slow); math.Abs(off) > 1.5/32 {
						t.Fatalf("seed %d: member %d takes %g, not %g", seed, i, m.Part(), model.part(i, slow))
					}
				}
				s.checkTurns(t, fmt.Sprint("seed ", seed))
			}
		})
	}
}

// checkTurns fails unless turns are given by what members take, once the set has had the time to see to that.
func (s *Set) checkTurns(t *testing.T, when string) {
	t.Helper()
	testutil.Pass(renewalPause)
	sum, want := 0.0, make([]float64, len(s.Members()))
	s.mu.Lock()
	for i, m := range s.now.Load().members {
		if m.Reasons() == 0 {
			want[i] = float64(m.weight) * m.partForTurns()
			sum += want[i]
		}
	}
	s.mu.Unlock()
	for i := range want {
		want[i] /= max(sum, 1e-9)
	}
	if got := shares(s, 0, balance.RoundRobin, 3000); !near(got, want, 0.02) {
		t.Fatalf("%s: shares %.3f, not %.3f", when, got, want)
	}
}

// partModel is what members should take.
type partModel struct {
	weights []int
	agent   []float64
	serves  []bool
	began   []time.Time
}

func newPartModel(weights []int) *partModel {
	n := len(weights)
	return &partModel{weights, slices.Repeat([]float64{1}, n), slices.Repeat([]bool{true}, n), make([]time.Time, n)}
}

func (p *partModel) mark(i int, serves bool) {
	if p.serves[i] == serves {
		return
	}
	p.began[i] = time.Time{}
	for k := range p.serves {
		if serves && p.serves[k] && p.agent[k] > 0 {
			p.began[i] = time.Now()
		}
	}
	p.serves[i] = serves
	starting, open := 0, 0
	for k, w := range p.weights {
		if p.serves[k] {
			open += w
		}
		if !p.began[k].IsZero() {
			starting += w
		}
	}
	if 2*starting > open {
		clear(p.began)
	}
}

func (p *partModel) pass(slow time.Duration) {
	for i, at := range p.began {
		if time.Since(at) >= slow {
			p.began[i] = time.Time{}
		}
	}
}

func (p *partModel) part(i int, slow time.Duration) float64 {
	part := 1.0
	if !p.began[i].IsZero() {
		part = min(max(0.1, float64(time.Since(p.began[i]))/float64(slow)), 1)
	}
	return p.agent[i] * part
}
