package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// A connection to a member that has addresses of both families is tried at addresses of both (Happy Eyeballs, RFC
// 8305): where one family leads nowhere, and packets vanish on the way, a client would wait for a timeout else. The
// family that loses is passed over, and visited again by connections that no client waits for: see revisit.
const (
	racedMax     = 4                      // addresses of one connection
	stagger      = 250 * time.Millisecond // RFC 8305 §8
	staggerKnown = 100 * time.Millisecond // where a race was decided a moment ago: the least that the RFC allows
	decidedFor   = 10 * time.Minute
)

// dialOptions returns how c is dialled: as all of its upstream, unless its member has addresses of both families.
// moves says that c then belongs to the address that it is connected to.
func (c *Conn) dialOptions(moves bool) *engine.DialOptions {
	s := c.site
	if len(s.groups) < 2 {
		return &s.local.options
	}
	others := s.otherAddresses(c.group)
	if len(others) == 0 {
		return &s.local.options
	}
	o := s.local.options
	o.Others, o.Stagger = others, stagger
	if at := s.origin.decided.Load(); at > 0 && s.local.reactor.Now()-at < int64(decidedFor) {
		o.Stagger = staggerKnown
	}
	o.Decided = func(at poller.Addr, slower []poller.Addr, failed []error) {
		if c.site.learn(slower, failed); moves {
			c.moveTo(at)
		}
	}
	return &o
}

// otherAddresses returns the addresses to try after the address of g, families in turns, the other one first. None
// where the other family has no address that is worth it.
func (s *site) otherAddresses(g *group) (others []poller.Addr) {
	first := 0
	for i, other := range s.groups {
		if other == g {
			first = i
		}
	}
	family := g.Key().addr.IP.Addr().Is4()
	var lists [2][]poller.Addr // of the other family, and of the same
	for k := 1; k < len(s.groups); k++ {
		i := (first + k) % len(s.groups)
		if s.member.PassedOver(i) {
			continue
		}
		at := s.groups[i].Key().addr
		same := 0
		if at.IP.Addr().Is4() == family {
			same = 1
		}
		lists[same] = append(lists[same], at)
	}
	if len(lists[0]) == 0 {
		return nil
	}
	for k := 0; len(others) < racedMax-1 && k < len(s.groups); k++ {
		for _, list := range lists {
			if k < len(list) && len(others) < racedMax-1 {
				others = append(others, list[k])
			}
		}
	}
	return others
}

// learn passes over the addresses that were tried before the address that a connection was established to.
func (s *site) learn(slower []poller.Addr, failed []error) {
	s.origin.decided.Store(max(s.local.reactor.Now(), 1))
	for i, at := range slower {
		again := ofSilent
		if failed[i] != nil && isRefused(failed[i]) {
			again = ofRefused
		}
		if g := s.groupAt(at); g != nil {
			s.passOver(g.Key(), again)
		}
	}
}

// moveTo makes c, which is being connected, one to an address.
func (c *Conn) moveTo(at poller.Addr) {
	s := c.site
	g := s.groupAt(at)
	if g == nil || g == c.group {
		return // nil: it is none of the member's any more
	}
	c.group = g
	if m := c.shared; m != nil && m.set != nil {
		m.leaveSet()
		s.setOf(g).admit(m)
		if !m.hasRoom() {
			m.room.Remove()
		}
	}
}
