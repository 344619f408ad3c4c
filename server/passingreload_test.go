package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// An address goes from TLS that ends here to TLS that is passed on and back by reloads, while a client has said a half
// of its ClientHello: that connection ends as it began. To a service that may speak first it does not go.
func TestPassing_reload(t *testing.T) {
	h := newNamedHouse(t)
	backend := h.backend(t, "b.example", nil)
	h.pair(t, "a.example")
	base := filepath.Join(h.dir, "a.example")
	text := func(keys string) string {
		return fmt.Sprintf(quiet+"tls.handshake_timeout = \"10m\"\n[services.in]\nlisten = \"127.0.0.1:0\"\n%s\n", keys)
	}
	ends := text(fmt.Sprintf("cert = %q\nkey = %q\ndest = %q", base+".pem", base+".key", named(t, "plain")))
	peeks := text(fmt.Sprintf("peek = true\n[[services.in.routes]]\nwhen = 'tls.sni == \"b.example\"'\ndest = %q",
		backend))
	s := start(t, Options{}, "%s", ends)
	addr := addressOf(t, s, "in")
	conns := func(n int) {
		testutil.Eventually(t, testutil.Patience, func() bool { return s.engine.Conns() == n }, "connections")
	}
	half := func(name string) (rest func() error) {
		conns(0)
		c, err := net.Dial("tcp", addr)
		try(t, err)
		open, half := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- tls.Client(&halved{Conn: c, half: half, open: open},
				&tls.Config{RootCAs: h.ca.Pool, ServerName: name}).Handshake()
		}()
		<-half
		conns(1)
		return func() error { defer c.Close(); close(open); return <-done }
	}
	for range 2 {
		rest := half("a.example")
		apply(t, s, "%s", peeks)
		if err := rest(); err != nil {
			t.Error(err)
		}
		rest = half("b.example")
		apply(t, s, "%s", ends)
		if err := rest(); err != nil {
			t.Error(err)
		}
	}
	apply(t, s, "%s", peeks)
	wantRefused(t, s, parse(t, text(fmt.Sprintf("dest = %q", backend))), "peek = true")
	if err := h.echoes(addr, "b.example"); err != nil {
		t.Error(err)
	}
}

// halved sends the first half of the bytes of its first write, and the rest once it may.
type halved struct {
	net.Conn
	half, open chan struct{}
}

func (c *halved) Write(b []byte) (int, error) {
	if c.half == nil {
		return c.Conn.Write(b)
	}
	n, err := io.WriteString(c.Conn, string(b[:len(b)/2]))
	if err != nil {
		return n, err
	}
	close(c.half)
	c.half = nil
	<-c.open
	rest, err := c.Conn.Write(b[n:])
	return n + rest, err
}
