package pool

// Shard is the idle connections of one owner, C, by key, K. Owned by one goroutine.
//
//	a node is in both lists, or in none; node.group != nil  <=>  it is in both
//	idle <= capacity, but for the one being evicted
//	Parked == Taken + Given + Removed + Evicted + idle
type Shard[K comparable, C any] struct {
	oldest, newest *Node[K, C]
	idle           int
	capacity       int
	counters       Counters
	evict          func(C)
	groups         map[K]*Group[K, C]
}

// Group is the idle connections of one key in one Shard. Owned by the shard's goroutine.
type Group[K comparable, C any] struct {
	oldest, newest *Node[K, C]
	idle           int
	shard          *Shard[K, C] // nil once dropped
	key            K
}

// Node is a connection's place in a Shard, to be embedded in it. The zero value with Conn set is ready.
// Owned by the shard's goroutine. It must not be copied, nor its memory reused, while it is parked.
type Node[K comparable, C any] struct {
	Conn                   C // set once, before the first Park: usually a pointer to what embeds the node
	group                  *Group[K, C]
	older, newer           *Node[K, C] // in the shard
	groupOlder, groupNewer *Node[K, C]
}

// Counters count what happened to a shard's connections since it was made.
type Counters struct {
	Parked  int // by Park
	Taken   int // by Take
	Given   int // by PopOldest
	Removed int // by Remove
	Evicted int // handed to evict: over capacity, by EvictOldest, or because the group was dropped
}

// New makes a shard that keeps up to capacity idle connections and hands to evict those it lets go.
// evict runs on the owner's goroutine, inside the call that evicts, when the connection is no longer parked; it may
// Remove, and should put off everything slow. A capacity of zero or less keeps nothing.
func New[K comparable, C any](capacity int, evict func(C)) *Shard[K, C] {
	return &Shard[K, C]{capacity: max(capacity, 0), evict: evict, groups: make(map[K]*Group[K, C])}
}

// Group returns the group of k, made when there is none. It stays the group of k until DropGroup, so look it up once.
func (s *Shard[K, C]) Group(k K) *Group[K, C] {
	g := s.groups[k]
	if g == nil {
		g = &Group[K, C]{shard: s, key: k}
		s.groups[k] = g
	}
	return g
}

// DropGroup forgets g and evicts what is idle in it. Connections parked in it later are evicted at once, so a peer that
// is gone collects none. The next Group of the same key makes a new one.
func (s *Shard[K, C]) DropGroup(g *Group[K, C]) {
	if g.shard != s {
		return
	}
	delete(s.groups, g.key)
	g.shard = nil
	for g.oldest != nil {
		s.evictNode(g.oldest)
	}
	s.check()
}

// Take takes the connection of g that was parked last. It is the caller's then.
func (s *Shard[K, C]) Take(g *Group[K, C]) (c C, ok bool) {
	n := g.newest
	if n == nil {
		return c, false
	}
	s.unlink(n)
	s.counters.Taken++
	s.check()
	return n.Conn, true
}

// PopOldest takes the connection of g that was parked first: the one this shard misses least when another asks.
func (s *Shard[K, C]) PopOldest(g *Group[K, C]) (c C, ok bool) {
	n := g.oldest
	if n == nil {
		return c, false
	}
	s.unlink(n)
	s.counters.Given++
	s.check()
	return n.Conn, true
}

// Park makes the connection of n the newest of g and of s. When that is one too many, the oldest of s is evicted, which
// is n itself when the capacity is 0; so is n when g was dropped. Parking a parked node panics: its connection would be
// taken twice.
func (s *Shard[K, C]) Park(g *Group[K, C], n *Node[K, C]) {
	if n.group != nil {
		panic("pool: parked twice")
	}
	s.counters.Parked++
	if g.shard == nil {
		s.counters.Evicted++
		s.evict(n.Conn)
		return
	}
	s.link(g, n)
	if s.idle > s.capacity {
		s.evictNode(s.oldest)
	}
	s.check()
}

// Remove takes n out of s because its connection died, and reports whether it was parked.
func (s *Shard[K, C]) Remove(n *Node[K, C]) bool {
	if n.group == nil {
		return false
	}
	s.unlink(n)
	s.counters.Removed++
	s.check()
	return true
}

// EvictOldest evicts the connection that was parked first, and reports whether there was one.
func (s *Shard[K, C]) EvictOldest() bool {
	if s.oldest == nil {
		return false
	}
	s.evictNode(s.oldest)
	s.check()
	return true
}

// SetCapacity changes how many idle connections s keeps, and evicts the oldest ones above it.
func (s *Shard[K, C]) SetCapacity(capacity int) {
	s.capacity = max(capacity, 0)
	for s.idle > s.capacity {
		s.evictNode(s.oldest)
	}
	s.check()
}

// Oldest is the connection that was parked first. It stays parked.
func (s *Shard[K, C]) Oldest() (c C, ok bool) {
	if s.oldest == nil {
		return c, false
	}
	return s.oldest.Conn, true
}

// Len is the number of idle connections.
func (s *Shard[K, C]) Len() int { return s.idle }

// Groups is the number of groups, empty ones included.
func (s *Shard[K, C]) Groups() int { return len(s.groups) }

// Counters returns the counts so far.
func (s *Shard[K, C]) Counters() Counters { return s.counters }

// Key is the key g was made for.
func (g *Group[K, C]) Key() K { return g.key }

// Len is the number of idle connections of g.
func (g *Group[K, C]) Len() int { return g.idle }

// Parked reports whether n is in a shard.
func (n *Node[K, C]) Parked() bool { return n.group != nil }

// link puts n at the new end of both lists.
func (s *Shard[K, C]) link(g *Group[K, C], n *Node[K, C]) {
	n.group = g
	n.older = s.newest
	if n.older != nil {
		n.older.newer = n
	} else {
		s.oldest = n
	}
	s.newest = n
	n.groupOlder = g.newest
	if n.groupOlder != nil {
		n.groupOlder.groupNewer = n
	} else {
		g.oldest = n
	}
	g.newest = n
	s.idle++
	g.idle++
}

// unlink takes n out of both lists. The links are cleared so that a connection in use keeps no other alive.
func (s *Shard[K, C]) unlink(n *Node[K, C]) {
	g := n.group
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		s.oldest = n.newer
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		s.newest = n.older
	}
	if n.groupOlder != nil {
		n.groupOlder.groupNewer = n.groupNewer
	} else {
		g.oldest = n.groupNewer
	}
	if n.groupNewer != nil {
		n.groupNewer.groupOlder = n.groupOlder
	} else {
		g.newest = n.groupOlder
	}
	n.group, n.older, n.newer, n.groupOlder, n.groupNewer = nil, nil, nil, nil, nil
	s.idle--
	g.idle--
}

// evictNode lets the owner have n back. The shard is whole again before evict sees it.
func (s *Shard[K, C]) evictNode(n *Node[K, C]) {
	s.unlink(n)
	s.counters.Evicted++
	s.evict(n.Conn)
}
