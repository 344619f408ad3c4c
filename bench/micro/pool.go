package micro

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/pool"
)

const (
	poolKeys = 4
	poolIdle = 1000 // connections of each key
)

var poolEntries = []Entry{
	{"pool/take-park/edge", "pool of idle connections",
		"Take and Park; 4 keys with 1000 connections each, in no order of memory", "", takePark},
	{"pool/take-park/mutex-map", "pool of idle connections",
		"a map of slices under a sync.Mutex, which nobody contends for: locked to take, locked to park. " +
			"It can neither remove a dead connection nor find the oldest", "pool/take-park/edge", takeParkMutex},
}

// peerKey is what makes two connections not interchangeable.
type peerKey struct {
	addr [16]byte
	port uint16
	sni  string
}

type idleConn struct {
	node pool.Node[peerKey, *idleConn]
	_    [400]byte // what a connection has beside: nodes are far apart in memory
}

func idleConns() (keys [poolKeys]peerKey, conns []*idleConn) {
	for i := range keys {
		keys[i] = peerKey{port: uint16(i), sni: "origin.example"}
	}
	conns = make([]*idleConn, poolKeys*poolIdle)
	for i := range conns {
		conns[i] = new(idleConn)
		conns[i].node.Conn = conns[i]
	}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	return keys, conns
}

func takePark(b *testing.B) {
	keys, conns := idleConns()
	s := pool.New[peerKey](len(conns), func(*idleConn) {})
	var groups [poolKeys]*pool.Group[peerKey, *idleConn]
	for i := range groups {
		groups[i] = s.Group(keys[i])
	}
	for i, c := range conns {
		s.Park(groups[i%poolKeys], &c.node)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g := groups[i%poolKeys]
		c, ok := s.Take(g)
		if !ok {
			b.Fatal("nothing idle")
		}
		s.Park(g, &c.node)
	}
}

// mutexPool is the obvious implementation: a map and a mutex.
type mutexPool struct {
	mu   sync.Mutex
	idle map[peerKey][]*idleConn // guarded by mu
}

func (p *mutexPool) take(k peerKey) *idleConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle[k]
	if len(idle) == 0 {
		return nil
	}
	c := idle[len(idle)-1]
	p.idle[k] = idle[:len(idle)-1]
	return c
}

func (p *mutexPool) park(k peerKey, c *idleConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle[k] = append(p.idle[k], c)
}

func takeParkMutex(b *testing.B) {
	keys, conns := idleConns()
	p := &mutexPool{idle: make(map[peerKey][]*idleConn)}
	for i, c := range conns {
		p.park(keys[i%poolKeys], c)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := keys[i%poolKeys]
		c := p.take(k)
		if c == nil {
			b.Fatal("nothing idle")
		}
		p.park(k, c)
	}
}
