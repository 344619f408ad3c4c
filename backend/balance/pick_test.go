package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// each runs f for each method that there is.
func each(t *testing.T, f func(t *testing.T, m *Method)) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) { f(t, ByName(name)) })
	}
}

// Whatever goes up and down and has been tried, a pick is open and was not tried, and there is one whenever one
// is left.
func TestPick_isOpenAndNotTried(t *testing.T) {
	seeds := uint64(testutil.Rounds(60))
	each(t, func(t *testing.T, m *Method) {
		for seed := range seeds {
			rng := rand.New(rand.NewPCG(seed, 7))
			v, _ := randomView(rng, []int{3, 6, 20, 140}[rng.IntN(4)])
			if m == Ketama && v.total > 1000 {
				continue // a ring of millions of points takes its time
			}
			l, p := NewLocal(v.loads, seed), m.New(rng.IntN(4), 4)
			for range 150 {
				if v = v.With(rng.IntN(v.Len()), rng.IntN(3) > 0); rng.IntN(2) == 0 && m.Prepare != nil {
					m.Prepare(v)
				}
				q := Request{Key: rng.Uint64(), Keyed: rng.IntN(4) > 0, Tunnel: rng.IntN(4) == 0}
				if m.Hash != nil {
					q.Key = m.Hash([]byte(fmt.Sprint(q.Key))[:4])
				}
				for range rng.IntN(triedMax + 3) {
					q.Tried.Add(rng.IntN(v.Len()))
				}
				left := 0
				for i := range v.Len() {
					if v.Open(i) && !q.Tried.Has(i) {
						left++
					}
				}
				i := p.Pick(v, l, &q)
				if i < 0 && left > 0 || i >= 0 && (!v.Open(i) || q.Tried.Has(i)) {
					t.Fatalf("seed %d: picked %d of %d, %d left", seed, i, v.Len(), left)
				}
				if i >= 0 {
					act(rng, l, i)
				}
				if rng.IntN(5) == 0 {
					l.Publish()
				}
			}
		}
	})
}

// act does one of what may happen to a backend.
func act(rng *rand.Rand, l *Local, i int) {
	switch rng.IntN(5) {
	case 0:
		l.Answered(i, rng.Uint32(), rng.Uint32N(1000))
	case 1:
		l.Failed(i, rng.Uint32N(1000))
	case 2:
		l.Enter(i, rng.IntN(2) == 0)
	case 3:
		l.Leave(i, rng.IntN(2) == 0)
	case 4:
		l.Become(i)
	}
}

// A request that fails everywhere goes to up to seven backends, each once, and then there is none left of seven.
func TestPick_triesEachOnce(t *testing.T) {
	each(t, func(t *testing.T, m *Method) {
		for n := range triedMax + 1 {
			for _, weighted := range []bool{false, true} {
				v := NewView(fleet(n, weighted), nil)
				l, p, q := NewLocal(v.loads, 1), m.New(0, 1), Request{Key: 5<<16 | 3, Keyed: true}
				for range n {
					i := p.Pick(v, l, &q)
					if i < 0 || q.Tried.Has(i) {
						t.Fatalf("of %d, %d tried: picked %d", n, q.Tried.Len(), i)
					}
					q.Tried.Add(i)
				}
				if i := p.Pick(v, l, &q); i != -1 {
					t.Fatalf("of %d, all tried: picked %d", n, i)
				}
			}
		}
	})
}

// Each method spreads requests that all take the same by weight: those that look at load when nothing is under
// way too.
func TestPick_sharesByWeight(t *testing.T) {
	testutil.OnlyPlain(t)
	const rounds = 100_000
	for _, m := range []*Method{RoundRobin, Random, LeastConn, P2C, Adaptive, PeakEWMA} {
		for _, weights := range [][]int{{1, 1, 1, 1}, {3, 1}, {4, 3, 2, 1}} {
			v := Weights(weights...)
			l, p, q := NewLocal(v.loads, 4), m.New(0, 1), Request{}
			counts, want := make([]int, len(weights)), make([]float64, len(weights))
			for range rounds {
				counts[p.Pick(v, l, &q)]++
			}
			for i, weight := range weights {
				want[i] = float64(weight) / float64(v.total) * rounds
			}
			fits(t, fmt.Sprint(m.Name, weights), counts, want)
		}
	}
}

// Requests that stay are spread by weight: each backend gets one as long as it has least for its weight.
func TestPick_evensOutWhatIsUnderWay(t *testing.T) {
	for _, m := range []*Method{LeastConn, Adaptive} {
		for _, tunnel := range []bool{false, true} {
			v := Weights(8, 4, 2, 1)
			l, p, q := NewLocal(v.loads, 4), m.New(0, 1), Request{Tunnel: tunnel}
			for range 1500 {
				l.Enter(p.Pick(v, l, &q), tunnel)
			}
			for i := range v.Len() {
				if n := l.InFlight(v, i, &q); n < 100*v.Weight(i)-8 || n > 100*v.Weight(i)+8 {
					t.Errorf("%s: backend %d of weight %d has %d", m.Name, i, v.Weight(i), n)
				}
			}
		}
	}
}

// What answers slowly gets less, with the methods that look at it. Of two that take turns from the start none is slow
// for Adaptive: no latency is more than twice the mean of both.
func TestPick_avoidsTheSlow(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, m := range []*Method{Adaptive, PeakEWMA} {
		for _, n := range []int{3, 4, 16, 100} {
			v := NewView(fleet(n, false), nil)
			l, p, q, counts := NewLocal(v.loads, 4), m.New(0, 1), Request{}, make([]int, n)
			const ticks = 20_000
			for now := range uint32(ticks) {
				i := p.Pick(v, l, &q)
				if counts[i]++; i == 0 {
					l.Answered(i, 50_000, now)
				} else {
					l.Answered(i, 1000, now)
				}
				l.Publish()
			}
			if counts[0] > ticks/n/20 {
				t.Errorf("%s: of %d the slow one gets %d requests of %d", m.Name, n, counts[0], ticks)
			}
		}
	}
}

// A peak of latency counts with the weight, also when the weight changes after it.
func TestPeakEWMA_weights(t *testing.T) {
	v := NewView([]Backend{{Weight: 1}, {Weight: 1}}, nil)
	l, p := NewLocal(v.loads, 4), PeakEWMA.New(0, 1)
	p.Pick(v, l, &Request{})
	for i, us := range []uint32{40_000, 20_000} {
		l.Answered(i, us, 1)
	}
	l.fold(2)
	v = NewView([]Backend{{Weight: 4}, {Weight: 1}}, v.loads)
	counts := [2]int{}
	for range 300 {
		i := p.Pick(v, l, &Request{})
		l.Enter(i, false)
		counts[i]++
	}
	if counts[0] < 190 || counts[0] > 210 {
		t.Errorf("four times the weight and half as fast: %v", counts)
	}
}

// A backend without tunnels gets the next tunnel, but not all requests.
func TestPick_tunnelsCountForTunnels(t *testing.T) {
	v := Weights(1, 1)
	l, p, tunnels := NewLocal(v.loads, 4), LeastConn.New(0, 1), LeastConn.New(0, 1)
	for range 100 {
		l.Enter(0, true)
	}
	l.Publish()
	counts := [2]int{}
	for range 1000 {
		counts[p.Pick(v, l, &Request{})]++
		if i := tunnels.Pick(v, l, &Request{Tunnel: true}); i != 1 {
			t.Fatalf("a tunnel goes to backend %d", i)
		}
	}
	if counts[0] < 400 || counts[1] < 400 {
		t.Errorf("requests go to %v", counts)
	}
}

// A backend that starts slowly has less under way, and a new View does not end that.
func TestScale(t *testing.T) {
	loads := NewLoads()
	v := NewView(fleet(2, false), loads)
	loads.Scale(1, 0.1)
	v = NewView(fleet(2, false), loads).Where(v.Open)
	under := func() (n [2]int) {
		l, p, q := NewLocal(loads, 4), Adaptive.New(0, 1), Request{}
		for range 1100 {
			i := p.Pick(v, l, &q)
			l.Enter(i, false)
			n[i]++
		}
		for i := range n {
			for range n[i] {
				l.Leave(i, false)
			}
		}
		l.Publish()
		return n
	}
	if n := under(); n[1] < 95 || n[1] > 105 {
		t.Errorf("a tenth of the weight has %d of 1100 requests", n[1])
	}
	loads.Forget(1)
	if n := under(); n[1] < 545 || n[1] > 555 {
		t.Errorf("another backend of the index has %d of 1100 requests", n[1])
	}
}

// A pick of a warm Picker and all that a Local counts allocate nothing, whatever View it is.
func TestPick_doesNotAllocate(t *testing.T) {
	testutil.OnlyPlain(t)
	each(t, func(t *testing.T, m *Method) {
		for _, n := range []int{3, 12, 40} {
			v := NewView(fleet(n, n != 12), nil)
			next := v.With(1, false)
			l, p, now := NewLocal(v.loads, 1), m.New(0, 1), uint32(1)
			q := Request{Key: 1 << 16, Keyed: true}
			if a := testutil.Allocs(1000, func() {
				for q.Tried.Reset(); q.Tried.Len() < 3; {
					i := p.Pick(v, l, &q)
					if i < 0 {
						break
					}
					q.Tried.Add(i)
					l.Enter(i, false)
					l.Become(i)
					l.Answered(i, 1000, now)
					l.Failed(i, now)
					l.Leave(i, true)
				}
				v, next, now = next, v, now+100
				q.Key += golden
				l.Publish()
			}); a != 0 {
				t.Errorf("%d backends: %v allocations", n, a)
			}
		}
	})
}

func TestHash_doesNotAllocate(t *testing.T) {
	for _, m := range []*Method{Ketama, Maglev, IPHash} {
		key := []byte("a key that a client sends")
		if a := testutil.Allocs(1000, func() { key[0] += byte(m.Hash(key)) }); a != 0 {
			t.Errorf("%s: %v allocations", m.Name, a)
		}
	}
}

func TestRegister_panics(t *testing.T) {
	some := func(int, int) Picker { return randomPicker{} }
	for name, m := range map[string]*Method{
		"a name that is taken": {Name: "p2c", New: some}, "no name": {New: some}, "no New": {Name: "some"},
	} {
		testutil.Panics(t, name, func() { Register(m) })
	}
	if ByName("some") != nil || ByName("p2c") != P2C || Names()[0] != "adaptive" {
		t.Errorf("the methods are %v", Names())
	}
}

// One request after the other meets the backends in turn, by weight: nothing is under way when the next one comes.
func TestPick_oneAfterTheOther(t *testing.T) {
	v := Weights(3, 7, 2, 11)
	for _, m := range []*Method{Adaptive, LeastConn} {
		l, p, turns, q := NewLocal(v.loads, 5), m.New(0, 1), RoundRobin.New(0, 1), Request{}
		for k := range 100 {
			i, want := p.Pick(v, l, &q), turns.Pick(v, nil, &q)
			if i != want {
				t.Fatalf("%s: request %d goes to backend %d, not %d", m.Name, k, i, want)
			}
			l.Enter(i, false)
			l.Answered(i, 1000, uint32(k))
			l.Leave(i, false)
		}
	}
}
