package pool_test

import (
	"fmt"
	"sync"
	"time"

	"github.com/edge-proxy/edge/pool"
)

type origin struct{ addr, sni string }

type conn struct {
	name string
	node pool.Node[origin, *conn]
}

func open(name string) *conn {
	c := &conn{name: name}
	c.node.Conn = c
	return c
}

// pooled is a pool for goroutines: a Shard with a lock, and a limit for each key.
type pooled struct {
	mu     sync.Mutex
	shard  *pool.Shard[origin, *conn] // guarded by mu
	perKey int
}

func (p *pooled) take(k origin) (c *conn, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shard.Take(p.shard.Group(k))
}

func (p *pooled) park(k origin, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.shard.Group(k)
	p.shard.Park(g, &c.node)
	if g.Len() > p.perKey {
		if old, ok := p.shard.PopOldest(g); ok {
			old.close()
		}
	}
}

func (c *conn) close() { fmt.Println("close", c.name) }

// A pool that goroutines share, with a limit over all keys and one for each.
func Example_goroutines() {
	p := &pooled{shard: pool.New[origin](100, (*conn).close), perKey: 1}
	k := origin{"192.0.2.1:443", "a.example"}
	p.park(k, open("first"))
	p.park(k, open("second"))
	c, ok := p.take(k)
	fmt.Println("take", c.name, ok)
	// Output:
	// close first
	// take second true
}

// Connections that were idle for a minute are closed: the oldest of all keys comes first, whatever its key.
func Example_idleTimeout() {
	type timed struct {
		node   pool.Node[origin, *timed]
		parked time.Duration // since the start
	}
	s := pool.New[origin](100, func(*timed) { fmt.Println("close") })
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	for i := range 3 {
		c := &timed{parked: time.Duration(i) * 40 * time.Second}
		c.node.Conn = c
		s.Park(g, &c.node)
	}

	now := 110 * time.Second
	for c, ok := s.Oldest(); ok && now-c.parked >= time.Minute; c, ok = s.Oldest() {
		s.EvictOldest()
	}
	fmt.Println("idle", s.Len())
	// Output:
	// close
	// close
	// idle 1
}

func Example() {
	s := pool.New[origin](2, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})

	s.Park(g, &open("first").node)
	s.Park(g, &open("second").node)
	s.Park(g, &open("third").node) // one too many

	c, ok := s.Take(g)
	fmt.Println("take", c.name, ok)
	fmt.Println("idle", g.Len())
	// Output:
	// close first
	// take third true
	// idle 1
}

// Look a group up once, and keep it with what holds the key.
func ExampleShard_Group() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	fmt.Println(s.Group(origin{"192.0.2.1:443", "a.example"}) == g, g.Key().addr)
	// Output: true 192.0.2.1:443
}

// A peer that left the configuration: its connections go, those in use when they come back.
func ExampleShard_DropGroup() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	s.Park(g, &open("idle").node)
	busy := open("busy")
	s.DropGroup(g)
	s.Park(g, &busy.node) // comes back later
	fmt.Println("groups", s.Groups())
	// Output:
	// close idle
	// close busy
	// groups 0
}

func ExampleShard_Take() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	_, ok := s.Take(g)
	fmt.Println(ok) // open one
	s.Park(g, &open("first").node)
	s.Park(g, &open("second").node)
	c, ok := s.Take(g)
	fmt.Println(c.name, ok)
	// Output:
	// false
	// second true
}

func ExampleShard_PopOldest() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	s.Park(g, &open("first").node)
	s.Park(g, &open("second").node)
	c, ok := s.PopOldest(g) // for another shard
	fmt.Println(c.name, ok, s.Counters().Given)
	// Output: first true 1
}

func ExampleShard_Park() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	c := open("first")
	s.Park(g, &c.node)
	fmt.Println(c.node.Parked(), s.Len(), g.Len())
	// Output: true 1 1
}

func ExampleShard_Remove() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	c := open("first")
	s.Park(g, &c.node)
	fmt.Println(s.Remove(&c.node)) // the peer closed it
	fmt.Println(s.Remove(&c.node))
	// Output:
	// true
	// false
}

func ExampleShard_SetCapacity() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	s.Park(g, &open("first").node)
	s.Park(g, &open("second").node)
	s.SetCapacity(0) // nothing stays idle from now on
	// Output:
	// close first
	// close second
}

func ExampleShard_Counters() {
	s := pool.New[origin](10, (*conn).close)
	g := s.Group(origin{"192.0.2.1:443", "a.example"})
	s.Park(g, &open("first").node)
	s.Park(g, &open("second").node)
	s.Take(g)
	fmt.Printf("%+v", s.Counters())
	// Output: {Parked:2 Taken:1 Given:0 Removed:0 Evicted:0}
}
