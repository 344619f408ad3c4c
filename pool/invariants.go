//go:build invariants

package pool

import "fmt"

// checkedMax bounds the shards that check themselves after each change: the walk is linear.
const checkedMax = 1024

// check panics when the invariants of Shard do not hold.
func (s *Shard[K, C]) check() {
	if s.idle > checkedMax {
		return
	}
	n := 0
	var older *Node[K, C]
	for node := s.oldest; node != nil; older, node = node, node.newer {
		n++
		if node.older != older || node.group == nil {
			s.fail("broken link at place %d", n)
		}
		if g := node.group; g.shard != nil && (g.shard != s || s.groups[g.key] != g) {
			s.fail("the node at place %d is of a group that is not of this shard", n)
		}
	}
	if s.newest != older || n != s.idle {
		s.fail("%d nodes from the old end", n)
	}
	for _, g := range s.groups {
		s.checkGroup(g)
	}
	if c := s.counters; c.Parked != c.Taken+c.Given+c.Removed+c.Evicted+s.idle {
		s.fail("counters do not add up: %+v", c)
	}
}

// checkGroup panics when g's list is broken. That its nodes are in the shard's list follows from the counts.
func (s *Shard[K, C]) checkGroup(g *Group[K, C]) {
	n := 0
	var older *Node[K, C]
	for node := g.oldest; node != nil; older, node = node, node.groupNewer {
		n++
		if node.groupOlder != older || node.group != g {
			s.fail("broken link at place %d of group %v", n, g.key)
		}
	}
	if g.newest != older || n != g.idle {
		s.fail("%d of %d nodes in group %v", n, g.idle, g.key)
	}
}

func (s *Shard[K, C]) fail(format string, args ...any) {
	panic(fmt.Sprintf("pool: %d idle: ", s.idle) + fmt.Sprintf(format, args...))
}
