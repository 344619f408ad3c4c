package micro

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/cloudwego/netpoll"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

const (
	echoBytes = 128
	echoGroup = "echo over loopback"
	echoOne   = "128 bytes there and back; the client, a net.Conn in the same process, is in it"
	echoMany  = "64 times 128 bytes sent one after the other, then all answers read; an operation is one of " +
		"them. The clients, net.Conns in one goroutine of the same process, are in it"
	anyPort = "127.0.0.1:0"
)

var echoEntries = []Entry{
	{"echo/1/edge", echoGroup, echoOne, echo(1, serveEngine)},
	{"echo/1/net", echoGroup, echoOne, echo(1, serveNet)},
	{"echo/1/netpoll", echoGroup, echoOne, echo(1, serveNetpoll)},
	{"echo/64/edge", echoGroup, echoMany, echo(64, serveEngine)},
	{"echo/64/net", echoGroup, echoMany, echo(64, serveNet)},
	{"echo/64/netpoll", echoGroup, echoMany, echo(64, serveNetpoll)},
}

// echo measures a server, which serve starts and which ends with b.
func echo(conns int, serve func(b *testing.B) (addr string)) func(b *testing.B) {
	return func(b *testing.B) {
		clients := dial(b, serve(b), conns)
		question, answer := bytes.Repeat([]byte("x"), echoBytes), make([]byte, echoBytes)
		all := func() { ask(b, clients, question, answer) }
		all() // warm
		if !bytes.Equal(question, answer) {
			b.Fatalf("got %q", answer)
		}
		for n := 0; b.Loop(); n++ {
			if n%conns == 0 {
				all()
			}
		}
	}
}

// ask writes a question on each connection, and then reads all answers.
func ask(b *testing.B, conns []net.Conn, question, answer []byte) {
	for _, c := range conns {
		if _, err := c.Write(question); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range conns {
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
	}
}

// dial returns so many connections to addr, which end with b.
func dial(b *testing.B, addr string, n int) []net.Conn {
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		conns[i] = c
	}
	return conns
}

type echoHandler struct{ engine.NopHandler }

func (echoHandler) OnData(c *engine.Conn, in []byte) int {
	if c.Write(in) != nil {
		c.Close(engine.ErrQueueFull)
	}
	return len(in)
}

func serveEngine(b *testing.B) (addr string) {
	return serveOn(b, engine.Options{}, func(*engine.Engine) func(*engine.Conn) engine.Handler {
		return func(*engine.Conn) engine.Handler { return echoHandler{} }
	})
}

// serveOn starts an engine that hands its connections to what accept returns, and that ends with b.
func serveOn(
	b *testing.B, o engine.Options, accept func(e *engine.Engine) func(*engine.Conn) engine.Handler,
) (addr string) {
	e, err := engine.New(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(e.Stop)
	any := poller.Addr{IP: netip.MustParseAddrPort(anyPort)}
	l, err := e.Listen(engine.ListenOptions{Addr: any}, accept(e))
	if err != nil {
		b.Fatal(err)
	}
	e.Start()
	return l.Addr().String()
}

func serveNet(b *testing.B) (addr string) {
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echoNet(c)
		}
	}()
	return l.Addr().String()
}

// echoNet answers until the client closes.
func echoNet(c net.Conn) {
	defer func() { _ = c.Close() }()
	p := make([]byte, 4096)
	for {
		n, err := c.Read(p)
		if err != nil {
			return
		}
		if _, err := c.Write(p[:n]); err != nil {
			return
		}
	}
}

func serveNetpoll(b *testing.B) (addr string) {
	l, err := netpoll.CreateListener("tcp", anyPort)
	if err != nil {
		b.Fatal(err)
	}
	loop, err := netpoll.NewEventLoop(echoNetpoll)
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = loop.Serve(l)
	}()
	b.Cleanup(func() {
		_ = loop.Shutdown(context.Background())
		<-ended
	})
	return l.Addr().String()
}

func echoNetpoll(_ context.Context, c netpoll.Connection) error {
	p, err := c.Reader().Next(c.Reader().Len())
	if err != nil {
		return err
	}
	if _, err := c.Writer().WriteBinary(p); err != nil {
		return err
	}
	if err := c.Writer().Flush(); err != nil {
		return err
	}
	return c.Reader().Release()
}
