package netconn_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4/netconn"
)

// taker hands each connection to a goroutine.
type taker struct {
	engine.NopHandler
	conns chan<- net.Conn
}

func (t taker) OnOpen(c *engine.Conn) { t.conns <- netconn.New(c) }

func Example() {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		log.Fatal(err)
	}
	conns := make(chan net.Conn, 1) // with room: a callback must not wait
	l, err := e.Listen(engine.ListenOptions{Addr: loopback}, func(*engine.Conn) engine.Handler {
		return taker{conns: conns}
	})
	if err != nil {
		log.Fatal(err)
	}
	e.Start()
	defer e.Stop()
	go func() { // code that blocks
		c := <-conns
		defer c.Close()
		line, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Fprintf(c, "you said %q", line)
	}()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "hello")
	answer, err := io.ReadAll(c)
	fmt.Println(string(answer), err)
	// Output: you said "hello\n" <nil>
}
