package backend

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/poller"
)

// A member is passed over when none of its addresses can be reached, and picked where nobody else is left.
func TestMember_passedOver(t *testing.T) {
	r, s := reactor(t), Of("10.0.0.1:80", "10.0.0.2:80")
	v, first, other := s.View(1, balance.RoundRobin), s.Members()[0], s.Members()[1]
	if !first.PassOver(addr(1)) || first.PassOver(addr(1)) || first.PassOver(addr(9)) {
		t.Error("what is news?")
	}
	if first.Reasons() != Unreachable || !first.PassesOver(addr(1)) || first.PassesOver(addr(2)) {
		t.Error(first.Reasons())
	}
	for range 4 {
		if m := v.Pick(r, nil); m != other {
			t.Errorf("picked %v", m.Address())
		}
	}
	var q balance.Request
	q.Tried.Add(other.Slot())
	if m := v.Pick(r, &q); m != first {
		t.Error("the last one that is left is not picked")
	}
	other.Down(Health)
	if m := v.Pick(r, nil); m != first {
		t.Error("one that is passed over is worse than none")
	}
	first.Down(Operator)
	if m := v.Pick(r, nil); m != nil {
		t.Error("picked against an operator's will")
	}
	first.Up(Operator)
	if !first.Readmit(addr(1)) || first.Readmit(addr(1)) || first.Reasons() != 0 {
		t.Error(first.Reasons())
	}
}

// Of several addresses those that can be reached are used, in turn.
func TestMember_addressesPassedOver(t *testing.T) {
	r, s := reactor(t), Of("name:80")
	m, v := s.Members()[0], s.View(1, balance.RoundRobin)
	m.SetAddrs([]poller.Addr{addr(1), addr(2), addr(3)})
	turns := func(n int) (list []int) {
		for range n {
			list = append(list, v.NextAddress(r, m))
		}
		return list
	}
	m.PassOver(addr(2))
	if got := turns(4); !slices.Equal(got, []int{2, 0, 2, 0}) || m.Reachable() != 2 || m.Reasons() != 0 {
		t.Errorf("%v, %d reachable, reasons %b", got, m.Reachable(), m.Reasons())
	}
	m.SetAddrs([]poller.Addr{addr(2), addr(4), addr(3)}) // its place has changed
	if got := turns(4); !slices.Equal(got, []int{1, 2, 1, 2}) || !m.PassesOver(addr(2)) {
		t.Error(got)
	}
	m.PassOver(addr(3))
	m.PassOver(addr(4))
	if got := turns(4); !slices.Equal(got, []int{0, 1, 2, 0}) || m.Reachable() != 3 || m.Reasons() != Unreachable {
		t.Errorf("%v, %d reachable, reasons %b", got, m.Reachable(), m.Reasons())
	}
	m.SetAddrs([]poller.Addr{addr(5)})
	if m.Reasons() != 0 || m.Readmit(addr(2)) || m.Reachable() != 1 {
		t.Error("new addresses are passed over")
	}
	m.PassOver(addr(5))
	m.SetAddrs(nil)
	if m.Reasons() != Names {
		t.Errorf("reasons %b", m.Reasons())
	}
}

// Whatever is passed over: a member is Unreachable while all of its addresses are, and a turn meets no address that is
// passed over while there is another.
func TestMember_reachProperty(t *testing.T) {
	r := reactor(t)
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 7))
		s := Of("name:80")
		m, v := s.Members()[0], s.View(1, balance.RoundRobin)
		var addrs []poller.Addr
		over := map[poller.Addr]bool{}
		for range 200 {
			switch a := addr(rng.IntN(80)); rng.IntN(8) {
			case 0:
				addrs = nil
				for i := range rng.IntN(70) {
					addrs = append(addrs, addr(i+rng.IntN(3)*70))
				}
				m.SetAddrs(addrs)
				for a := range over {
					if i := slices.Index(addrs, a); i < 0 || i >= reachMax {
						delete(over, a)
					}
				}
			case 1, 2, 3:
				if m.Readmit(a) != over[a] {
					t.Fatalf("seed %d: is %v passed over?", seed, a)
				}
				delete(over, a)
			default:
				i := slices.Index(addrs, a)
				if news := i >= 0 && i < reachMax && !over[a]; m.PassOver(a) != news {
					t.Fatalf("seed %d: %v, news: %v", seed, a, news)
				} else if news {
					over[a] = true
				}
			}
			all := len(addrs) > 0 && len(over) == len(addrs)
			if got := m.Reasons()&Unreachable != 0; got != all {
				t.Fatalf("seed %d: %d of %d, unreachable %v", seed, len(over), len(addrs), got)
			}
			if len(addrs) > 1 && !all && over[addrs[v.NextAddress(r, m)]] {
				t.Fatalf("seed %d: an address that is passed over has a turn", seed)
			}
			s.check(t)
		}
	}
}
