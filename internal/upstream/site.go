package upstream

import (
	"slices"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/poller"
)

// site is what one reactor keeps of a member.
// Owned by its reactor.
//
//	len(groups) == len(sets), or sets is nil
//	parked > 0  <=>  it is in the list local.pending
type site struct {
	local       *local
	origin      *origin
	member      *backend.Member
	addrs       *[]poller.Addr // the addresses that groups are for
	groups      []*group       // idle connections, by address
	sets        []*sharedSet   // like groups, for an upstream whose connections are shared; else nil
	queue       list.List[Waiter]
	parked      int   // connections parked since serve looked, while an exchange waited
	nextPending *site // in local.pending
	closed      bool  // nothing is parked any more: the member has gone, or the Upstream is closed
}

// site returns what l keeps of m.
func (l *local) site(m *backend.Member) *site {
	if i := m.Slot(); i < len(l.sites) {
		if s := l.sites[i]; s != nil && s.member == m {
			return s.refresh()
		}
	}
	return l.findSite(m)
}

// findSite is site for a member that was not used here before, or whose slot belonged to another member then.
func (l *local) findSite(m *backend.Member) *site {
	o, keep := l.upstream.origin(m)
	s := o.sites[l.reactor.Index()]
	if s == nil {
		s = &site{local: l, origin: o, member: m, closed: !keep}
		o.sites[l.reactor.Index()] = s
	}
	if !keep {
		return s.refresh()
	}
	if n := m.Slot() + 1 - len(l.sites); n > 0 {
		l.sites = append(l.sites, make([]*site, n)...)
	}
	l.sites[m.Slot()] = s
	return s.refresh()
}

// siteOf returns the site of an origin that l has had connections or waiters of.
func (l *local) siteOf(o *origin) *site { return o.sites[l.reactor.Index()].refresh() }

// group returns the group of address i, or of the last one: there may be fewer addresses than when i was chosen.
func (s *site) group(i int) *group { return s.groups[min(i, len(s.groups)-1)] }

// set returns the shared connections to address i, or to the last one.
func (s *site) set(i int) *sharedSet { return s.sets[min(i, len(s.sets)-1)] }

// groupOf returns the group of p, nil when p is no address of the member any more.
func (s *site) groupOf(p *peer) *group {
	for _, g := range s.groups {
		if g.Key() == p {
			return g
		}
	}
	return nil
}

// groupAt returns the group of an address, nil when it is none of the member's any more.
func (s *site) groupAt(at poller.Addr) *group {
	for _, g := range s.groups {
		if g.Key().addr == at {
			return g
		}
	}
	return nil
}

// setOf returns the shared connections of g, which is of s.
func (s *site) setOf(g *group) *sharedSet {
	for _, t := range s.sets {
		if t.group == g {
			return t
		}
	}
	return nil
}

// refresh returns s with groups for the addresses that its member has now.
func (s *site) refresh() *site {
	if s.addrs != s.member.Addrs() {
		s.replaceGroups()
	}
	return s
}

// replaceGroups makes groups and sets for the addresses that the member has now. Connections to other addresses are
// closed when they become idle.
func (s *site) replaceGroups() {
	shard := s.local.shard
	addrs, peers := s.origin.currentPeers()
	old, sets := s.groups, s.sets
	s.addrs, s.groups, s.sets = addrs, nil, nil
	for _, p := range peers {
		s.groups = append(s.groups, shard.Group(p))
	}
	for _, g := range old {
		if s.groupOf(g.Key()) == nil {
			shard.DropGroup(g)
		}
	}
	if s.local.upstream.share {
		s.replaceSets(sets)
	}
	if s.closed {
		s.close()
	}
}

// replaceSets makes a set for each group that has none among old, and ends the others.
func (s *site) replaceSets(old []*sharedSet) {
	for _, g := range s.groups {
		i := slices.IndexFunc(old, func(t *sharedSet) bool { return t.group == g })
		if i < 0 {
			s.sets = append(s.sets, &sharedSet{site: s, group: g})
			continue
		}
		s.sets = append(s.sets, old[i])
	}
	for _, t := range old {
		if t.gone = !slices.Contains(s.sets, t); t.gone {
			t.retire()
		}
	}
}

// close closes what is parked and lets nothing be parked any more. Shared connections end with their last exchange.
func (s *site) close() {
	s.closed = true
	for _, g := range s.groups {
		s.local.shard.DropGroup(g)
	}
	for _, t := range s.sets {
		t.retire()
	}
}

// publish tells the other reactors how many connections of g are parked on this one, or are shared.
func (s *site) publish(g *group) {
	p := g.Key()
	if p.idle.cells == nil {
		return
	}
	n := g.Len()
	if t := s.setOf(g); t != nil {
		n += len(t.conns)
	}
	p.idle.mark(s.local.reactor.Index(), int64(n))
}

// serveLater arranges that exchanges that wait get the connections that are parked now. Not at once: the callback that
// parked one still works on it.
func (s *site) serveLater() {
	l := s.local
	if s.parked++; s.parked == 1 {
		s.nextPending, l.pending = l.pending, s
	}
	if !l.serving {
		l.serving = true
		l.reactor.Defer(&l.server)
	}
}

// anyIdle reports whether a connection to any address is parked here.
func (s *site) anyIdle() bool {
	for _, g := range s.groups {
		if g.Len() > 0 {
			return true
		}
	}
	return false
}
