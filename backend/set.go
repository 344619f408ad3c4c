package backend

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/poller"
)

// slotsFree is how many slots are free before one is used again.
const slotsFree = 8

// Set is the members of a service.
// Safe for any goroutine.
type Set struct {
	now       atomic.Pointer[state]
	mu        sync.Mutex
	free      []int // slots whose members have gone, the longest ago first
	followers []Follower
}

// state is a Set at one moment.
// Immutable.
//
//	members[i] == nil  =>  the weight of i in view is 0
//	view.Open(i)  <=>  members[i] != nil and there is no reason against it
//	spare.Open(i)  <=>  members[i] != nil and there is no reason against it but Unreachable
type state struct {
	view    *balance.View
	spare   *balance.View
	members []*Member // by slot
}

// byID returns the members by their identity.
func (now *state) byID() map[ID]*Member {
	all := make(map[ID]*Member, len(now.members))
	for _, m := range now.members {
		if m != nil {
			all[m.id] = m
		}
	}
	return all
}

// Follower hears of the members of a Set. Its methods must not change the Set.
type Follower interface {
	Joined(m *Member) // before m can be picked
	Left(m *Member)   // after m can be picked no more
}

// NewSet makes a set of backends. Those that need no resolving are up at once.
func NewSet(backends ...Spec) *Set {
	s := &Set{}
	none := balance.NewView(nil)
	s.now.Store(&state{view: none, spare: none})
	s.Update(backends)
	return s
}

// Of makes a set of backends of equal weight.
func Of(addresses ...string) *Set {
	backends := make([]Spec, len(addresses))
	for i, a := range addresses {
		backends[i].Address = a
	}
	return NewSet(backends...)
}

// Members returns the members by slot: until some have come or gone, in the order of the list.
func (s *Set) Members() []*Member {
	return slices.DeleteFunc(slices.Clone(s.now.Load().members), func(m *Member) bool { return m == nil })
}

// Unresolved returns those of backends that have a name and are not members yet: an Update may give them the addresses
// that they have, so that they are up at once.
func (s *Set) Unresolved(backends []Spec) (list []*Spec) {
	present := s.now.Load().byID()
	for i := range backends {
		if id := idOf(backends[i].Address); id.Name != "" && present[id] == nil {
			list = append(list, &backends[i])
		}
	}
	return list
}

// Len returns the number of members.
func (s *Set) Len() int { return len(s.Members()) }

// Update makes backends the members. Those that were members before stay, with all that is kept for them, and with the
// addresses that their names have; those that are not named any more go.
func (s *Set) Update(backends []Spec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.now.Load()
	present := old.byID()
	next := &state{members: make([]*Member, len(old.members), len(old.members)+len(backends))}
	weights := make([]int, len(old.members), cap(next.members))
	copies := make(map[ID]int)
	for _, b := range backends {
		id := idOf(b.Address)
		n := copies[id]
		copies[id]++
		id.Copy = n
		m := present[id]
		if m == nil {
			m = s.join(id, b, len(weights))
			if m.slot == len(weights) {
				weights, next.members = append(weights, 0), append(next.members, nil)
			}
		}
		next.members[m.slot], weights[m.slot] = m, max(b.Weight, 1)
	}
	s.replace(old, next, weights)
}

// join makes a member, for a free slot or for the next one.
func (s *Set) join(id ID, b Spec, next int) *Member {
	m := &Member{set: s, id: id, address: b.Address, slot: next}
	if len(s.free) >= slotsFree {
		m.slot, s.free = s.free[0], s.free[1:]
	}
	addrs := b.Addrs
	if id.Name == "" {
		addrs = []poller.Addr{id.Addr}
	}
	if m.addrs.Store(&addrs); len(addrs) == 0 {
		m.reasons.Store(uint32(Names))
	}
	return m
}

// replace puts next, with weights, in the place of old, and tells the followers.
func (s *Set) replace(old, next *state, weights []int) {
	same := len(weights) == old.view.Len()
	for i := 0; same && i < len(weights); i++ {
		same = old.members[i] == next.members[i] && old.view.Weight(i) == weights[i]
	}
	if same {
		return
	}
	next.view = balance.NewView(weights)
	next.spare = next.view
	for i, m := range next.members {
		if m == nil {
			continue
		}
		next.reopen(m)
		if i < len(old.members) && old.members[i] == m {
			continue
		}
		for _, f := range s.followers {
			f.Joined(m)
		}
	}
	s.now.Store(next)
	for i, m := range old.members {
		if m == nil || next.members[i] == m {
			continue
		}
		m.gone = true
		s.free = append(s.free, i)
		for _, f := range s.followers {
			f.Left(m)
		}
	}
}

// reopen has m open or not, by its reasons. mu is held.
func (s *Set) reopen(m *Member) {
	next := *s.now.Load()
	next.reopen(m)
	s.now.Store(&next)
}

// reopen opens or closes m in the views of now, which is not in use yet.
func (now *state) reopen(m *Member) {
	reasons := m.Reasons()
	if open := reasons == 0; open != now.view.Open(m.slot) {
		now.view = now.view.With(m.slot, open)
	}
	if open := reasons&^Unreachable == 0; open != now.spare.Open(m.slot) {
		now.spare = now.spare.With(m.slot, open)
	}
}

// Follow makes f hear of all members from now on, of those that there are already as of those that join.
func (s *Set) Follow(f Follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = append(s.followers, f)
	for _, m := range s.now.Load().members {
		if m != nil {
			f.Joined(m)
		}
	}
}

// Unfollow makes f hear of no more members.
func (s *Set) Unfollow(f Follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = slices.DeleteFunc(s.followers, func(other Follower) bool { return other == f })
}
