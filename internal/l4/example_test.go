package l4_test

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// speaker is a server that says a word to each client.
func speaker(word string) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(c).ReadByte() //nolint:errcheck // an end is one, too
			fmt.Fprintln(c, word)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// Clients of TLS are led by the name that they ask for, and all others elsewhere.
func ExampleService() {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		log.Fatal(err)
	}
	to := func(address string) *l4.Backends {
		return &l4.Backends{Name: address, View: backend.Of(address).View(1, balance.ByName("round_robin"))}
	}
	mail, others := to(speaker("mail")), to(speaker("other"))
	s := &l4.Service{
		Name: "by name", Peek: true,
		Choose: func(_ *engine.Conn, hello *tlsconn.Hello) *l4.Backends {
			if hello != nil && string(hello.ServerName) == "mail.example" {
				return mail
			}
			return others
		},
	}
	l, err := e.Listen(engine.ListenOptions{
		Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}, DeferAccept: true,
	}, s.Accept)
	if err != nil {
		log.Fatal(err)
	}
	e.Start()
	defer e.Stop()
	for _, hello := range []string{string(helloOf("mail.example")), "HELO\r\n"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(c, hello)
		word, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Print(word)
		c.Close()
	}
	// Output:
	// mail
	// other
}
