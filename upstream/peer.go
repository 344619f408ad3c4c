package upstream

import (
	"slices"
	"sync/atomic"

	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/pool"
)

// group is the idle connections of one peer on one reactor.
type group = pool.Group[*peer, *Conn]

// backend is what all reactors know of one server.
// Safe for any goroutine.
//
//	open <= limit while there is one: every connection, dialling and moving ones too, holds a slot
//	oldest of i != 0  =>  an exchange of reactor i that is counted by waiting is in its line
type backend struct {
	address string
	limit   int64                   // of open; 0: none
	peers   atomic.Pointer[[]*peer] // immutable once stored; nil: not resolved
	oldest  census                  // by reactor: since when the first of them waits there
	secure  *securing               // immutable; nil: connections are not secured

	// Every reactor writes these, and each Take reads peers: they are apart from it, and from each other. Processors
	// fetch cache lines by twos.
	_       [128]byte
	open    atomic.Int64
	_       [120]byte
	waiting atomic.Int64 // exchanges that wait for a slot
	_       [120]byte
}

// peer is an address of a backend: what makes one connection as good as another.
// Immutable, but for idle and for what is remembered of the origin, which any reactor writes.
type peer struct {
	addr    poller.Addr
	backend int
	idle    census // by reactor: how many connections are parked there, or are HTTP/2. Advisory: it is past when read

	streams atomic.Int64 // how many exchanges it took at a time on an HTTP/2 connection; 0: not known
	upgrade atomic.Bool  // it takes upgrades on HTTP/2
	h1Until atomic.Int64 // reactor time up to which it is taken to speak HTTP/1 only; see Auto
}

// assumed is how many exchanges a connection is given before its origin has said how many it takes.
func (p *peer) assumed() int {
	if n := p.streams.Load(); n > 0 && n < streamsAssumed {
		return int(n)
	}
	return streamsAssumed
}

// acquire takes a slot. It reports false when all are taken.
func (b *backend) acquire() bool {
	if b.limit == 0 {
		b.open.Add(1)
		return true
	}
	for {
		n := b.open.Load()
		if n >= b.limit {
			return false
		}
		if b.open.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// longest returns the reactor on which the exchange waits that has waited longest for a slot, -1 when none does.
func (b *backend) longest() (reactor int, since int64) {
	reactor = -1
	for i := b.oldest.next(0); i >= 0; i = b.oldest.next(i + 1) {
		if t := b.oldest.cells[i].Load(); t != 0 && (reactor < 0 || t < since) {
			reactor, since = i, t
		}
	}
	return reactor, since
}

// richestOf is how many reactors richest compares.
const richestOf = 8

// richest returns the reactor, not me, on which most connections of p are parked, of the next few that have any, or -1.
func (p *peer) richest(me int) int {
	best, most, seen := -1, int64(0), 0
	look := func(from, to int) {
		for i := p.idle.next(from); i >= 0 && i < to && seen < richestOf; i = p.idle.next(i + 1) {
			n := p.idle.cells[i].Load()
			if n == 0 {
				p.idle.unmark(i)
				continue
			}
			if seen++; n > most {
				best, most = i, n
			}
		}
	}
	look(me+1, len(p.idle.cells))
	look(0, me)
	return best
}

// site is what one reactor keeps of a backend.
// Owned by its reactor.
type site struct {
	peers  *[]*peer // what groups were made from
	groups []*group
	sets   []*set // like groups, for an upstream whose connections are shared; else nil
	line   line
	parked int // connections parked since serve looked, while somebody waited
}

// group returns the group of address number i, or of the last one: they may have become fewer.
func (s *site) group(i int) *group { return s.groups[min(i, len(s.groups)-1)] }

// set returns the set of address number i, as group does.
func (s *site) set(i int) *set { return s.sets[min(i, len(s.sets)-1)] }

// of returns the group of p, nil when p is no address of the backend any more.
func (s *site) of(p *peer) *group {
	for _, g := range s.groups {
		if g.Key() == p {
			return g
		}
	}
	return nil
}

// renew replaces the groups, and the sets; connections to addresses that are gone are closed once they are idle.
func (s *site) renew(shard *pool.Shard[*peer, *Conn], peers *[]*peer, share bool) {
	old, sets := s.groups, s.sets
	s.peers, s.groups, s.sets = peers, nil, nil
	if peers != nil {
		for _, p := range *peers {
			s.groups = append(s.groups, shard.Group(p))
		}
	}
	for _, g := range old {
		if s.of(g.Key()) == nil {
			shard.DropGroup(g)
		}
	}
	if share {
		s.renewSets(sets)
	}
}

// renewSets makes a set for each group that has none among old, and ends the others.
func (s *site) renewSets(old []*set) {
	for _, g := range s.groups {
		i := slices.IndexFunc(old, func(t *set) bool { return t.group == g })
		if i < 0 {
			s.sets = append(s.sets, &set{group: g})
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

// SetAddrs gives backend i its addresses; none means that it is down. addrs must not change afterwards.
func (u *Upstream) SetAddrs(i int, addrs []poller.Addr) {
	b := &u.backends[i]
	u.mu.Lock()
	defer u.mu.Unlock()
	var old []*peer
	if p := b.peers.Load(); p != nil {
		old = *p
	}
	peers := make([]*peer, 0, len(addrs))
	for _, a := range addrs {
		peers = append(peers, u.peer(i, a, old))
	}
	b.peers.Store(&peers)
	u.set.SetUp(i, len(addrs) > 0)
}

// peer returns the one of old with that address, or a new one.
func (u *Upstream) peer(i int, a poller.Addr, old []*peer) *peer {
	for _, p := range old {
		if p.addr == a {
			return p
		}
	}
	p := &peer{addr: a, backend: i}
	if n := len(u.local); n > 1 {
		p.idle = newCensus(n)
	}
	return p
}
