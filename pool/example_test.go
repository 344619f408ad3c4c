package pool_test

import (
	"fmt"

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

func Example() {
	s := pool.New[origin](2, func(c *conn) { fmt.Println("close", c.name) })
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
