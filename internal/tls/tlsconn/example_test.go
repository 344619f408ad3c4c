package tlsconn_test

import (
	"crypto/tls"
	"fmt"
	"io"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// greeter says who it talks to, and closes.
type greeter struct{ engine.NopHandler }

func (greeter) OnOpen(c *engine.Conn) {
	d := tlsconn.DigestOf(c)
	c.Write([]byte("hello over " + d.VersionName() + ", you asked for " + d.ServerName))
	c.Close(nil)
}

func ExampleHandshaker_Server() {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		panic(err)
	}
	e.Start()
	defer e.Stop()
	hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{})
	accept := func(*engine.Conn) engine.Handler { return greeter{} }
	o := tlsconn.ServerOptions{Config: serverConfig()}
	l, err := e.Listen(engine.ListenOptions{Addr: loopback, Gate: hs}, hs.Server(o, accept))
	if err != nil {
		panic(err)
	}
	c, err := tls.Dial("tcp", l.Addr().IP.String(), clientConfig())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	said, _ := io.ReadAll(c)
	fmt.Printf("%s\n", said)
	// Output: hello over TLS 1.3, you asked for localhost
}
