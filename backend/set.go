package backend

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// slotsFree is how many slots are free before one is used again.
const slotsFree = 8

// tiersMax bounds the tiers of a set.
const tiersMax = 8

// Set is the members of a service.
// Safe for any goroutine.
type Set struct {
	now         atomic.Pointer[state]
	loads       *balance.Loads
	local       atomic.Pointer[[]*load] // by Reactor.Index; written with mu held
	applying    sync.Mutex              // held while members come and go; before mu, which is free while tiers are made
	mu          sync.Mutex
	free        []int // slots whose members have gone, the longest ago first
	lists       []sourceList
	followers   []Follower
	methods     []*balance.Method // of the views: what they need of a state is made with it
	changeHooks hooks[Change]
	panicHooks  hooks[Panic]
	panics      panicState     // guarded by mu
	joinWith    Reason         // of members that join; guarded by mu
	policy      Policy         // written with applying held, too; guarded by mu
	indices     [tiersMax][]ID // of members and others, for subsets; guarded by mu
	schedule    schedule       // guarded by mu

	resolver  NameFollower             // nil: none; guarded by mu
	addresses map[string][]poller.Addr // of the names that the parts list; guarded by mu
}

// state is a Set at one moment.
// Immutable.
//
//	members[i] is of tier t  <=>  the weight of i in tiers[t] is above 0
type state struct {
	order
	members []*Member // by slot
	tiers   []*tier
}

// tier is the members of a state that are picked before the members of the next tier. Turns and draws of its views go
// by the weights of the members times the parts that they take.
// Immutable.
//
//	view.Open(i)  <=>  member i is of this tier and there is no reason against it
//	spare.Open(i)  <=>  the same, but for Unreachable
//	panic.Open(i)  <=>  the same, but for what may be a mistake; panic is nil unless Policy.Panic says so
type tier struct {
	number int
	view   *balance.View
	spare  *balance.View
	panic  *balance.View
}

func (now *state) byID() map[ID]*Member {
	all := make(map[ID]*Member, len(now.members))
	for _, m := range now.members {
		if m != nil {
			all[m.id] = m
		}
	}
	return all
}

// tierOf returns the tier that m, a member of now, is of. While tables are made, m.tier is the next one already.
func (now *state) tierOf(m *Member) *tier {
	i := slices.IndexFunc(now.tiers, func(t *tier) bool { return t.view.Weight(m.slot) > 0 })
	return now.tiers[i]
}

// Follower hears of the members of a Set. Its methods must not change the Set.
type Follower interface {
	Joined(m *Member) // before m can be picked
	Left(m *Member)   // after m can be picked no more
}

// NewSet makes a set of backends. Those that need no resolving are up at once.
func NewSet(backends ...Spec) *Set {
	s := &Set{loads: balance.NewLoads()}
	s.now.Store(&state{})
	s.local.Store(&[]*load{})
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

// Unresolved returns the backends whose name no member has yet: an Update may give them the addresses that they have,
// so that they are up at once.
func (s *Set) Unresolved(backends []Spec) (list []*Spec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range backends {
		if _, known := s.addresses[backends[i].Address]; !known && backends[i].Resolves() {
			list = append(list, &backends[i])
		}
	}
	return list
}

// has reports whether m is a member still.
func (s *Set) has(m *Member) bool {
	members := s.now.Load().members
	return m.slot < len(members) && members[m.slot] == m
}

// Len returns the number of members.
func (s *Set) Len() int { return len(s.Members()) }

// join makes a member, for a free slot or for the next one.
func (s *Set) join(id ID, b Spec, next int) *Member {
	m := &Member{set: s, id: id, address: b.Address, slot: next, parts: fullWeight, requests: new(heldRequests)}
	if len(s.free) >= slotsFree {
		m.slot, s.free = s.free[0], s.free[1:]
		s.loads.Forget(m.slot)
	}
	addrs := b.Addrs
	if !id.Resolves() {
		addrs = []poller.Addr{id.Addr}
	}
	m.reasons.Store(uint32(s.joinWith))
	if m.addrs.Store(&addrs); len(addrs) == 0 {
		m.reasons.Store(uint32(s.joinWith | Names))
	}
	return m
}

// replace puts next in the place of old, and tells the followers. applying and mu are held; mu is free for a while.
func (s *Set) replace(old, next *state) {
	s.makeTiers(old, next)
	s.arrange(next)
	for i, m := range next.members {
		if !isNewMember(old, m, i) {
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
		s.endSlowStart(m)
		s.free = append(s.free, i)
		for _, f := range s.followers {
			f.Left(m)
		}
	}
}

// isNewMember reports whether m, which has slot i, is no member yet.
func isNewMember(old *state, m *Member, i int) bool {
	return m != nil && (i >= len(old.members) || old.members[i] != m)
}

// makeTiers makes the tiers of next of its members. applying and mu are held. The table or ring of a method may take a
// second, for which reactors must not wait: mu is free meanwhile.
func (s *Set) makeTiers(old, next *state) {
	backends := [tiersMax][]balance.Backend{make([]balance.Backend, len(next.members))}
	for slot, m := range next.members {
		if m == nil {
			continue
		}
		for t := range m.tier + 1 {
			if backends[t] == nil {
				backends[t] = make([]balance.Backend, len(next.members))
			}
		}
		backends[m.tier][slot] = balance.Backend{Name: m.address, Weight: m.weight}
	}
	for t := 0; t < tiersMax && backends[t] != nil; t++ {
		all := balance.NewView(backends[t], s.loads)
		next.tiers = append(next.tiers, &tier{number: t, view: all, spare: all})
	}
	methods := slices.Clone(s.methods)
	s.mu.Unlock()
	for _, one := range next.tiers {
		for _, m := range methods {
			m.Prepare(one.view) // what is made belongs to all views of these backends
		}
	}
	s.mu.Lock()
	for i, m := range next.members {
		if isNewMember(old, m, i) && m.Reasons() == 0 && m.tier < len(old.tiers) && old.tiers[m.tier].view.Count() > 0 {
			s.beginSlowStart(m)
		}
	}
	for _, one := range next.tiers {
		s.openMembers(one, next.members)
	}
}

// openMembers opens the members of t that serve. mu is held.
func (s *Set) openMembers(t *tier, members []*Member) {
	s.endCrowdedSlowStart(t.number, members)
	s.placeZones(t.number, members)
	t.view = t.view.Where(func(i int) bool { return members[i].Reasons() == 0 }).Weighing(weightsOf(t.number, members))
	unreachable := func(m *Member) bool { return m != nil && m.Reasons() == Unreachable }
	if t.spare = t.view; slices.ContainsFunc(members, unreachable) {
		t.spare = t.view.Where(func(i int) bool { return members[i].Reasons()&^Unreachable == 0 })
	}
	if t.panic = nil; s.policy.Panic > 0 {
		t.panic = t.view.Where(func(i int) bool { return members[i].Reasons()&^mistakable == 0 })
	}
	t.check(members)
}

func (t *tier) check(members []*Member) {
	if !invariant.On {
		return
	}
	for i, m := range members {
		if t.view.Weight(i) == 0 {
			continue
		}
		reasons := m.Reasons()
		invariant.That(t.view.Open(i) == (reasons == 0), "member %d is open against reasons %b", i, reasons)
		spare := reasons&^Unreachable == 0
		invariant.That(t.spare.Open(i) == spare, "member %d is spare against reasons %b", i, reasons)
		maybe := reasons&^mistakable == 0
		invariant.That(t.panic == nil || t.panic.Open(i) == maybe, "member %d panics against reasons %b", i, reasons)
	}
}

// updateOpen opens or closes m, by its reasons. mu is held.
func (s *Set) updateOpen(m *Member) {
	if !s.has(m) {
		return // it is joining: its reasons are looked at when it has
	}
	t, reasons := s.now.Load().tierOf(m), m.Reasons()
	same := t.view.Open(m.slot) == (reasons == 0) && t.spare.Open(m.slot) == (reasons&^Unreachable == 0)
	if same && !s.policy.Spill && s.policy.Panic == 0 { // these look at what drains, too
		return
	}
	if !t.view.Open(m.slot) && reasons == 0 {
		// Something has found that it serves again. How it answered before it was closed says nothing any more.
		s.loads.Forget(m.slot)
		s.publishPart(m)
	}
	switch serves := reasons == 0; {
	case !serves:
		s.endSlowStart(m)
	case !t.view.Open(m.slot) && t.view.Count() > 0:
		s.beginSlowStart(m)
	}
	s.rebuildTiers(1 << t.number)
}

// rebuildTiers makes tiers anew, a set of bits, since members have opened or closed, or take other parts. mu is held.
func (s *Set) rebuildTiers(tiers uint8) {
	now := s.now.Load()
	next := &state{tiers: slices.Clone(now.tiers), members: now.members}
	for i, t := range now.tiers {
		if tiers>>i&1 == 0 {
			continue
		}
		one := *t
		s.openMembers(&one, now.members)
		next.tiers[i] = &one
	}
	s.arrange(next)
	s.now.Store(next)
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
