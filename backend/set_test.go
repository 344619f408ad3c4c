package backend

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/poller"
)

func addr(i int) poller.Addr {
	return poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)}
}

// specs lists the backends at these addresses.
func specs(addresses ...string) (list []Spec) {
	for _, a := range addresses {
		list = append(list, Spec{Address: a})
	}
	return list
}

func TestMember_servesWhileNoReasonHolds(t *testing.T) {
	s := Of("10.0.0.1:80")
	m, v, r := s.Members()[0], s.View(1, balance.RoundRobin), reactor(t)
	for _, step := range []struct {
		change  func() bool
		changed bool
		reasons Reason
	}{
		{func() bool { return m.Down(Health) }, true, Health},
		{func() bool { return m.Down(Health) }, false, Health},
		{func() bool { return m.Down(Draining) }, true, Health | Draining},
		{func() bool { return m.Up(Health) }, true, Draining},
		{func() bool { return m.Up(Ejected) }, false, Draining},
		{func() bool { return m.Up(Draining) }, true, 0},
		{func() bool { return m.Up(Draining) }, false, 0},
	} {
		if changed := step.change(); changed != step.changed || m.Reasons() != step.reasons {
			t.Fatalf("changed %v, reasons %b; want %v, %b", changed, m.Reasons(), step.changed, step.reasons)
		}
		if up := v.Pick(r, nil) != nil; up != (step.reasons == 0) {
			t.Fatalf("reasons %b: picked %v", step.reasons, up)
		}
	}
}

func TestMember_reasonsFromAnyGoroutine(t *testing.T) {
	s, r := Of(slices.Repeat([]string{"10.0.0.1:80"}, 100)...), reactor(t)
	all := s.Members()
	var done sync.WaitGroup
	news := make([]int, 4)
	for g := range news {
		done.Go(func() {
			for _, m := range all {
				if m.Down(Operator) {
					news[g]++
				}
			}
		})
		done.Go(func() {
			v := s.View(1, balance.RoundRobin)
			for range 100 {
				v.Pick(r, nil)
			}
		})
	}
	done.Wait()
	if sum := news[0] + news[1] + news[2] + news[3]; sum != 100 {
		t.Fatalf("%d changes of 100 were news", sum)
	}
	if m := s.View(1, balance.RoundRobin).Pick(r, nil); m != nil {
		t.Fatalf("backend %d is picked", m.Slot())
	}
	m := all[7]
	if !m.Up(Operator) || m.Up(Operator) || m.Reasons() != 0 || all[8].Reasons() == 0 {
		t.Fatal("reasons are mixed up")
	}
}

// heard is a Follower that remembers what it heard.
type heard struct{ list []string }

func (h *heard) Joined(m *Member) { h.list = append(h.list, "+"+m.Address()) }
func (h *heard) Left(m *Member)   { h.list = append(h.list, "-"+m.Address()) }

func TestSet_update(t *testing.T) {
	s := Of("10.0.0.1:80", "unix:/two", "three:80")
	h := &heard{}
	s.Follow(h)
	before := s.Members()
	before[0].Down(Ejected)
	before[2].SetAddrs([]poller.Addr{addr(3)})
	s.Update([]Spec{{Address: "four:80"}, {Address: "three:80", Weight: 5}, {Address: "10.0.0.1:80"}})
	after := s.Members()
	if len(after) != 3 || after[0] != before[0] || after[1] != before[2] || after[2].Address() != "four:80" {
		t.Fatalf("%v became %v", before, after)
	}
	if after[0].Reasons() != Ejected || after[1].Reasons() != 0 || after[2].Reasons() != Names {
		t.Error("reasons are lost")
	}
	if now := s.now.Load().tiers[0].view; now.Weight(2) != 5 || now.Open(0) || !now.Open(2) || now.Open(1) {
		t.Error("the view is not that of the members")
	}
	old := s.now.Load()
	s.Update([]Spec{{Address: "10.0.0.1:80"}, {Address: "three:80", Weight: 5}, {Address: "four:80"}})
	if s.now.Load() != old {
		t.Error("the order alone made another state")
	}
	before[1].SetAddrs(nil)
	if before[1].Down(Names); s.now.Load() != old {
		t.Error("a member that has gone changes the view")
	}
	s.Update(nil)
	s.Unfollow(h)
	s.Update(specs("five:80"))
	want := []string{"+10.0.0.1:80", "+unix:/two", "+three:80", "+four:80", "-unix:/two", "-10.0.0.1:80", "-three:80",
		"-four:80"}
	if !slices.Equal(h.list, want) {
		t.Errorf("heard %v, want %v", h.list, want)
	}
}

// Each source owns its part: an empty list of one takes nothing from another.
func TestSet_sourcesOwnTheirParts(t *testing.T) {
	s := Of("10.0.0.1:80")
	static := s.Members()[0]
	s.Apply("dns", []Spec{{Address: "10.0.0.2:80"}, {Address: "10.0.0.1:80", Weight: 9}})
	if got := s.Members(); len(got) != 2 || got[0] != static || s.now.Load().tiers[0].view.Weight(0) != 1 {
		t.Fatalf("%d members, weight %d", len(got), s.now.Load().tiers[0].view.Weight(0))
	}
	found := s.Members()[1]
	s.Update(nil)
	if got := s.Members(); len(got) != 2 || got[0] != static || s.now.Load().tiers[0].view.Weight(0) != 9 {
		t.Errorf("a member that another source names went: %d members", len(got))
	}
	s.Update(specs("10.0.0.3:80"))
	s.Apply("dns", nil)
	s.Apply("never seen", nil)
	if got := s.Members(); len(got) != 1 || got[0].Address() != "10.0.0.3:80" || !found.gone {
		t.Errorf("%d members", len(got))
	}
	s.check(t)
}

// What a backend is called is a part of its identity: another name means other certificates.
func TestSet_membersFoundUnderAName(t *testing.T) {
	s := NewSet(Spec{Address: "10.0.0.1:80", Host: "one.example:80"})
	m := s.Members()[0]
	if m.Address() != "10.0.0.1:80" || m.Host() != "one.example:80" || m.Reasons() != 0 || m.id.Resolves() {
		t.Errorf("%s, %s, reasons %b", m.Address(), m.Host(), m.Reasons())
	}
	s.Update([]Spec{{Address: "10.0.0.1:80", Host: "two.example:80"}})
	if s.Members()[0] == m {
		t.Error("another name is the same member")
	}
	if m := Of("10.0.0.1:80").Members()[0]; m.Host() != "10.0.0.1:80" {
		t.Error(m.Host())
	}
}

// A list may name a backend several times, and may spell it in several ways.
func TestSet_identity(t *testing.T) {
	s := Of("[0:0::1]:80", "a:80", "[::1]:80", "a:80")
	before := s.Members()
	s.Update(specs("a:80", "[::1]:80"))
	if after := s.Members(); len(after) != 2 || after[0] != before[0] || after[1] != before[1] {
		t.Errorf("%v became %v", before, after)
	}
	if id := before[3].ID(); id != (ID{Name: "a:80", Copy: 1}) {
		t.Errorf("%+v", id)
	}
}

// A slot that is free waits before another member gets it, and a set whose members change stays small.
func TestSet_slots(t *testing.T) {
	s := Of("a:80")
	var freed []int
	for i := range 1000 {
		old := s.Members()[0]
		s.Update(specs(fmt.Sprintf("a%d:80", i)))
		now := s.Members()[0]
		if freed = append(freed, old.Slot()); slices.Contains(freed[max(0, len(freed)-slotsFree):], now.Slot()) {
			t.Fatalf("update %d: slot %d was free only just now", i, now.Slot())
		}
	}
	if n := len(s.now.Load().members); n > slotsFree+2 {
		t.Errorf("%d slots for one member", n)
	}
}

// check walks the state of s and looks at its invariants.
func (s *Set) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now.Load()
	var one *tier
	for i, m := range now.members {
		if one = now.tiers[0]; m != nil {
			one = now.tiers[m.tier]
		}
		if n := one.view.Len(); n != len(now.members) {
			t.Fatalf("%d members in %d places of the view", len(now.members), n)
		}
		if (m == nil) != (one.view.Weight(i) == 0) || (m == nil) != slices.Contains(s.free, i) {
			t.Fatalf("slot %d: weight %d, free slots %v, member %v", i, one.view.Weight(i), s.free, m)
		}
		if one.spare.Open(i) != (m != nil && m.Reasons()&^Unreachable == 0) {
			t.Fatalf("slot %d: spare %v, member %v", i, one.spare.Open(i), m)
		}
		if one.view.Open(i) != (m != nil && m.Reasons() == 0) || m != nil && (m.slot != i || m.gone) {
			t.Fatalf("slot %d: open %v, member %v", i, one.view.Open(i), m)
		}
	}
}

// Whatever comes, goes and is down: what is picked is a member that serves, and there is one whenever one does.
func TestSet_property(t *testing.T) {
	r := reactor(t)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := NewSet()
		views := []*View{s.View(1, balance.RoundRobin), s.View(1, balance.RoundRobin)}
		var last []*Member
		for range 100 {
			switch rng.IntN(3) {
			case 0:
				var list []Spec
				for i := range 10 {
					if rng.IntN(2) == 0 {
						list = append(list, Spec{Address: addr(i).String(), Weight: rng.IntN(5)})
					}
				}
				s.Update(list)
				for _, m := range last {
					named := slices.ContainsFunc(list, func(b Spec) bool { return b.Address == m.Address() })
					if named != slices.Contains(s.Members(), m) {
						t.Fatalf("seed %d: %s stays: %v", seed, m.Address(), !named)
					}
				}
				last = s.Members()
			default:
				if len(last) > 0 {
					m := last[rng.IntN(len(last))]
					if why := Reason(1) << rng.IntN(5); rng.IntN(2) == 0 {
						m.Down(why)
					} else {
						m.Up(why)
					}
				}
			}
			s.check(t)
			var q balance.Request
			serves := 0
			for _, m := range last {
				if m.Reasons() == 0 {
					serves++
				}
			}
			for range min(serves+1, 7) {
				m := views[rng.IntN(2)].Pick(r, &q)
				if (m != nil) != (serves > 0) || m != nil && (m.Reasons() != 0 || !slices.Contains(last, m)) {
					t.Fatalf("seed %d: picked %v, %d are left", seed, m, serves)
				}
				if serves--; m != nil {
					q.Tried.Add(m.Slot())
				}
			}
		}
	}
}

// More backends than tables of balancing take are left out, also while others take the places of all of them.
func TestSet_boundsMembers(t *testing.T) {
	fleet := func(network byte) []Spec {
		list := make([]Spec, 40000)
		for i := range list {
			list[i].Address = fmt.Sprintf("10.%d.%d.%d:%d", network, byte(i>>8), byte(i), 1+i>>16)
		}
		return list
	}
	s := NewSet(Spec{Address: "10.9.0.1:80"})
	for network := range byte(2) {
		s.Apply("registry", fleet(network))
		if n := s.Len(); n != membersMax || !slices.ContainsFunc(s.Members(), func(m *Member) bool {
			return m.Address() == "10.9.0.1:80"
		}) {
			t.Errorf("%d members, or the first one is not among them", n)
		}
	}
}
