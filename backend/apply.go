package backend

import (
	"log/slog"
	"slices"

	"github.com/edge-proxy/edge/poller"
)

// membersMax bounds the members of a Set. As many may leave while as many others join: balance.NewView takes 65535.
const membersMax = 32000

// sourceList is what one source says of the members of a Set.
type sourceList struct {
	source string
	list   []Spec // immutable
}

// Update makes backends the members that are named by hand: it is Apply of the source "".
func (s *Set) Update(backends []Spec) { s.Apply("", backends) }

// Apply makes list, which must not change afterwards, what source says of the members; none ends its part. What other
// sources say stays. Those that were members before stay, with all that is kept for them, and with the addresses that
// their names have; those that no source names any more go. A backend that several sources name is one member, as the
// source "" says, else that which was applied first. Beyond membersMax, those that were named last are left out.
func (s *Set) Apply(source string, list []Spec) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.lists, func(p sourceList) bool { return p.source == source })
	switch {
	case i < 0 && len(list) == 0:
		return
	case i < 0 && source == "":
		s.lists = slices.Insert(s.lists, 0, sourceList{source, list})
	case i < 0:
		s.lists = append(s.lists, sourceList{source, list})
	case len(list) == 0:
		s.lists = slices.Delete(s.lists, i, i+1)
	default:
		s.lists[i].list = list
	}
	s.mergeLists()
}

// mergeLists makes the members those that the lists name. applying and mu are held; mu is free for a while.
func (s *Set) mergeLists() {
	old := s.now.Load()
	present := old.byID()
	next := &state{members: make([]*Member, len(old.members))}
	changed := false
	list := s.choose(s.listedBackends())
	if more := len(list) - membersMax; more > 0 {
		slog.Warn("an upstream has too many backends", "left_out", more, "first", list[membersMax].Address)
		list = list[:membersMax]
	}
	for _, c := range list {
		m := present[c.id]
		if m == nil {
			m = s.join(c.id, *c.Spec, len(next.members))
			if m.slot == len(next.members) {
				next.members = append(next.members, nil)
			}
			changed = true
		}
		next.members[m.slot] = m
		weight, tier := max(c.Weight, 1), c.tier()
		changed = changed || m.weight != weight || m.tier != tier || m.zone != c.Zone
		m.weight, m.tier, m.zone = weight, tier, c.Zone
	}
	if changed || len(list) < len(present) {
		s.replace(old, next)
	}
}

// candidate is a backend that may be a member.
type candidate struct {
	*Spec
	id ID
}

// listedBackends returns the backends that the lists name, each once. mu is held.
func (s *Set) listedBackends() (list []candidate) {
	seen, names, known := make(map[ID]bool), make(map[string][]poller.Addr), addressesOf(s.addresses)
	for i := range s.lists {
		copies := make(map[ID]int)
		add := func(b *Spec) {
			id := idOf(b)
			first := id
			id.Copy = copies[first]
			copies[first]++
			if !seen[id] {
				seen[id] = true
				list = append(list, candidate{b, id})
			}
		}
		for k := range s.lists[i].list {
			b := &s.lists[i].list[k]
			if !b.Resolves() {
				add(b)
				continue
			}
			addrs := s.addresses[b.Address]
			if len(addrs) == 0 && known+len(b.Addrs) <= addressesMax {
				addrs = b.Addrs
				known += len(addrs)
			}
			names[b.Address] = addrs
			eachOf(b, addrs, add)
		}
	}
	s.setNames(names)
	return list
}
