package pool

import (
	"math/rand/v2"
	"testing"
)

type peer struct {
	addr [16]byte
	port uint16
	sni  string
}

type peerConn struct {
	node Node[peer, *peerConn]
	_    [400]byte // what a connection has beside: nodes are far apart in memory
}

// filled has 4 keys with 1000 idle connections each, parked in no order of memory.
func filled() (*Shard[peer, *peerConn], []*Group[peer, *peerConn]) {
	s := New[peer](4096, func(*peerConn) {})
	groups := make([]*Group[peer, *peerConn], 4)
	for i := range groups {
		groups[i] = s.Group(peer{port: uint16(i), sni: "origin.example"})
	}
	conns := make([]*peerConn, 4000)
	for i := range conns {
		conns[i] = new(peerConn)
		conns[i].node.Conn = conns[i]
	}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	for i, c := range conns {
		s.Park(groups[i%4], &c.node)
	}
	return s, groups
}

func BenchmarkShard_takePark(b *testing.B) {
	s, groups := filled()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g := groups[i%4]
		c, _ := s.Take(g)
		s.Park(g, &c.node)
	}
}

// The same with the group looked up by key each time.
func BenchmarkShard_takeParkByKey(b *testing.B) {
	s, groups := filled()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g := s.Group(groups[i%4].key)
		c, _ := s.Take(g)
		s.Park(g, &c.node)
	}
}

// The old end, whose memory is cold.
func BenchmarkShard_popOldestPark(b *testing.B) {
	s, groups := filled()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g := groups[i%4]
		c, _ := s.PopOldest(g)
		s.Park(g, &c.node)
	}
}

// What one would write first: a map of slices. It can neither remove a dead connection nor find the oldest.
func BenchmarkMapOfSlices_takePark(b *testing.B) {
	_, groups := filled()
	m := make(map[peer][]*peerConn)
	for _, g := range groups {
		for range 1000 {
			m[g.key] = append(m[g.key], new(peerConn))
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := groups[i%4].key
		idle := m[k]
		c := idle[len(idle)-1]
		m[k] = idle[:len(idle)-1]
		m[k] = append(m[k], c)
	}
}
