package backend

import (
	"slices"
	"testing"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// reactor returns one that does nothing.
func reactor(t testing.TB) *engine.Reactor {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	testutil.Must(t, err)
	return e.Reactors()[0]
}

// weighted makes a set of backends, all at one address.
func weighted(weights ...int) *Set {
	var list []Spec
	for _, w := range weights {
		list = append(list, Spec{Address: "10.0.0.1:80", Weight: w})
	}
	return NewSet(list...)
}

// A route that asks alternately with others gets the order that it would have had alone.
func TestView_turnsAreItsOwn(t *testing.T) {
	r := reactor(t)
	for _, c := range []struct {
		weights []int
		want    []int
	}{
		{[]int{1, 1}, []int{0, 1, 0, 1, 0, 1}},
		{[]int{3, 1}, []int{0, 0, 1, 0, 0, 0}},
	} {
		s := weighted(c.weights...)
		all := []*View{s.View(1, balance.RoundRobin), s.View(1, balance.RoundRobin), s.View(1, balance.RoundRobin)}
		got := make([][]int, len(all))
		for range c.want {
			for i, v := range all {
				got[i] = append(got[i], v.Pick(r, nil).Slot())
			}
		}
		for i := range got {
			if !slices.Equal(got[i], c.want) {
				t.Errorf("weights %v: number %d has %v, want %v", c.weights, i, got[i], c.want)
			}
		}
	}
}

// The addresses of a name have turns too, and may become fewer.
func TestView_turnsOfAddressesAreItsOwn(t *testing.T) {
	r, s := reactor(t), weighted(1)
	addrs := make([]poller.Addr, 3)
	for i := range addrs {
		addrs[i] = addr(i)
	}
	m := s.Members()[0]
	m.SetAddrs(addrs)
	v, u := s.View(1, balance.RoundRobin), s.View(1, balance.RoundRobin)
	var own, others []int
	for range 4 {
		own = append(own, v.NextAddress(r, m))
		others = append(others, u.NextAddress(r, m))
	}
	if want := []int{1, 2, 0, 1}; !slices.Equal(own, want) || !slices.Equal(others, want) {
		t.Errorf("%v and %v, want %v", own, others, want)
	}
	m.SetAddrs(addrs[:1])
	if i := v.NextAddress(r, m); i != 0 {
		t.Errorf("address %d of one", i)
	}
}

// Which members serve is decided once for all views.
func TestView_skipsWhatIsDown(t *testing.T) {
	r, s := reactor(t), weighted(1, 1)
	v := s.View(1, balance.RoundRobin)
	s.Members()[0].Down(Health)
	for range 3 {
		if m := v.Pick(r, nil); m.Slot() != 1 {
			t.Errorf("backend %d, want 1", m.Slot())
		}
	}
	s.Members()[1].Down(Operator)
	if m := v.Pick(r, nil); m != nil {
		t.Errorf("backend %d, want none", m.Slot())
	}
}

// A pick and the choice of an address allocate nothing.
func TestView_doesNotAllocate(t *testing.T) {
	r := reactor(t)
	for _, s := range []*Set{weighted(3, 1), tiered(Policy{Spill: true, Panic: .5}, []int{4, 4}, []int{3, 3})} {
		v := s.View(1, balance.RoundRobin)
		if n := testutil.Allocs(1000, func() { v.NextAddress(r, v.Pick(r, nil)) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// last is a method from outside of package balance: always the last one that is open.
type last struct{ picks *int }

func (p last) Pick(v *balance.View, _ *balance.Local, q *balance.Request) int {
	*p.picks++
	for i := v.Len() - 1; i >= 0; i-- {
		if v.Open(i) && !q.Tried.Has(i) {
			return i
		}
	}
	return -1
}

func TestView_picksByAnyMethod(t *testing.T) {
	r, s, picks := reactor(t), weighted(1, 1, 1), 0
	v := s.View(1, &balance.Method{New: func(int, int) balance.Picker { return last{&picks} }})
	var q balance.Request
	var got []int
	for m := v.Pick(r, &q); m != nil; m = v.Pick(r, &q) {
		got = append(got, m.Slot())
		q.Tried.Add(m.Slot())
	}
	if !slices.Equal(got, []int{2, 1, 0}) || picks != 4 {
		t.Errorf("%v by %d calls", got, picks)
	}
}

// A pick where there is one tier, and where tiers share the requests.
func BenchmarkView_pick(b *testing.B) {
	r := reactor(b)
	for name, s := range map[string]*Set{
		"one": weighted(1, 1, 1, 1), "spill": tiered(Policy{Spill: true}, []int{4, 4}, []int{2, 0}),
	} {
		v := s.View(1, balance.RoundRobin)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var q balance.Request
			for b.Loop() {
				v.Pick(r, &q)
			}
		})
	}
}
