package engine_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// upper sends back what it reads, in capitals.
type upper struct{ engine.NopHandler }

func (upper) OnData(c *engine.Conn, in []byte) int {
	out := c.Reserve(len(in))
	for _, b := range in {
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		out = append(out, b)
	}
	c.Commit(out)
	if c.Congested() {
		c.PauseRead()
	}
	return len(in)
}

func (upper) OnSendable(c *engine.Conn) { c.ResumeRead() }

func Example() {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		log.Fatal(err)
	}
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	l, err := e.Listen(engine.ListenOptions{Addr: addr}, func(*engine.Conn) engine.Handler { return upper{} })
	if err != nil {
		log.Fatal(err)
	}
	e.Start()
	defer e.Stop()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "hello")
	c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	fmt.Println(string(answer), err)
	// Output: HELLO <nil>
}
