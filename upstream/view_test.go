package upstream

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/poller"
)

// chooser is an Upstream, or a View of it.
type chooser interface {
	Pick(r *engine.Reactor, tried *balance.Tried) int
	NextAddress(r *engine.Reactor, i int) int
}

func viewed(t *testing.T, weights ...int) (*Upstream, *engine.Reactor) {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "u"}
	for _, w := range weights {
		o.Backends = append(o.Backends, Backend{Address: "10.0.0.1:80", Weight: w})
	}
	return New(e, o), e.Reactors()[0]
}

// Whoever asks alternately with others gets the order that it would have had alone.
func TestView_turnsAreItsOwn(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    []int
	}{
		{[]int{1, 1}, []int{0, 1, 0, 1, 0, 1}},
		{[]int{3, 1}, []int{0, 0, 1, 0, 0, 0}},
	} {
		u, r := viewed(t, c.weights...)
		all := []chooser{u, u.View(), u.View()}
		got := make([][]int, len(all))
		for range c.want {
			for i, v := range all {
				got[i] = append(got[i], v.Pick(r, nil))
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
	u, r := viewed(t, 1)
	addrs := make([]poller.Addr, 3)
	for i := range addrs {
		addrs[i].IP = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)
	}
	u.SetAddrs(0, addrs)
	v := u.View()
	var own, others []int
	for range 4 {
		own = append(own, v.NextAddress(r, 0))
		others = append(others, u.NextAddress(r, 0))
	}
	if want := []int{1, 2, 0, 1}; !slices.Equal(own, want) || !slices.Equal(others, want) {
		t.Errorf("%v and %v, want %v", own, others, want)
	}
	u.SetAddrs(0, addrs[:1])
	if i := v.NextAddress(r, 0); i != 0 {
		t.Errorf("address %d of one", i)
	}
}

// Health is that of the upstream.
func TestView_skipsWhatIsDown(t *testing.T) {
	u, r := viewed(t, 1, 1)
	v := u.View()
	u.set.SetUp(0, false)
	for range 3 {
		if i := v.Pick(r, nil); i != 1 {
			t.Errorf("backend %d, want 1", i)
		}
	}
	u.set.SetUp(1, false)
	if i := v.Pick(r, nil); i != -1 {
		t.Errorf("backend %d, want none", i)
	}
}

func TestView_doesNotAllocate(t *testing.T) {
	u, r := viewed(t, 3, 1)
	v := u.View()
	if n := testutil.Allocs(1000, func() { v.NextAddress(r, v.Pick(r, nil)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
