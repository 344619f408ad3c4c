package upstream

import (
	"slices"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/poller"
)

// site is what one reactor keeps of a member.
// Owned by its reactor.
//
//	len(groups) == len(sets), or sets is nil
//	parked > 0  <=>  it is among local.pending
type site struct {
	local       *local
	origin      *origin
	member      *backend.Member
	addrs       *[]poller.Addr // the addresses that groups are for
	groups      []*group       // idle connections, by address
	sets        []*sharedSet   // like groups, for an upstream whose connections are shared; else nil
	queue       waiterQueue
	parked      int   // connections parked since serve looked, while an exchange waited
	nextPending *site // in local.pending
	closed      bool  // nothing is parked any more: the member has gone, or the Upstream is closed
}

// site returns what l keeps of m, nil when m has gone and was not used here before.
func (l *local) site(m *backend.Member) *site {
	if i := m.Slot(); i < len(l.sites) {
		if s := l.sites[i]; s != nil && s.member == m {
			return s.renewed()
		}
	}
	return l.findSite(m)
}

// findSite is site for a member that was not used here, or whose slot was another one's.
func (l *local) findSite(m *backend.Member) *site {
	o, closed := l.upstream.origin(m)
	if o == nil {
		return nil
	}
	s := o.sites[l.reactor.Index()]
	if s == nil {
		s = &site{local: l, origin: o, member: m, closed: closed}
		o.sites[l.reactor.Index()] = s
	}
	if n := m.Slot() + 1 - len(l.sites); n > 0 {
		l.sites = append(l.sites, make([]*site, n)...)
	}
	l.sites[m.Slot()] = s
	return s.renewed()
}

// siteOf returns the site of an origin that l has had connections or waiters of.
func (l *local) siteOf(o *origin) *site { return o.sites[l.reactor.Index()].renewed() }

// group returns the group of address number i, or of the last one: they may have become fewer.
func (s *site) group(i int) *group { return s.groups[min(i, len(s.groups)-1)] }

// set returns the shared connections to address number i, as group does.
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

// renewed returns s with groups for the addresses that its member has now.
func (s *site) renewed() *site {
	if s.addrs != s.member.Addrs() {
		s.renew()
	}
	return s
}

// renew replaces the groups, and the sets; connections to addresses that are gone are closed once they are idle.
func (s *site) renew() {
	shard := s.local.shard
	addrs, peers := s.origin.current()
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
		s.renewSets(sets)
	}
	if s.closed {
		s.close()
	}
}

// renewSets makes a set for each group that has none among old, and ends the others.
func (s *site) renewSets(old []*sharedSet) {
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

// publish lets the other reactors know how many connections of g are parked on this one, or are shared.
func (s *site) publish(g *group) {
	p := g.Key()
	if p.idle.cells == nil {
		return
	}
	n := g.Len()
	if s.sets != nil {
		n += s.sharing(g)
	}
	p.idle.mark(s.local.reactor.Index(), int64(n))
}

// sharing returns how many connections of g are shared.
func (s *site) sharing(g *group) int {
	for _, t := range s.sets {
		if t.group == g {
			return len(t.conns)
		}
	}
	return 0
}
