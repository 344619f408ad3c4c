package interop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// dialFrom connects by QUIC from an address of this machine.
func dialFrom(t *testing.T, e *edge, from, to string) *quicgo.Conn {
	t.Helper()
	// A client that waits for an answer alone says nothing after a NAT has forgotten it, unless it sends PING.
	o := &quicgo.Config{KeepAlivePeriod: 50 * time.Millisecond}
	c, err := transportAt(t, from).Dial(bound(t), udpAddr(t, to), e.client("h3"), o)
	testutil.Must(t, err)
	t.Cleanup(func() { _ = c.CloseWithError(0x100, "") })
	return c
}

func transportAt(t *testing.T, ip string) *quicgo.Transport {
	t.Helper()
	x := &quicgo.Transport{Conn: quicSocket(t, ip)}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func udpAddr(t *testing.T, at string) *net.UDPAddr {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp4", at)
	testutil.Must(t, err)
	return a
}

// whole asks for n bytes, and has half run once half of them came.
func whole(t *testing.T, c http.RoundTripper, base string, n int, half func()) {
	t.Helper()
	resp, err := c.RoundTrip(httptest.NewRequest("GET", fmt.Sprintf("%s/bytes?%d", base, n), nil))
	testutil.Must(t, err)
	defer resp.Body.Close() //nolint:errcheck // was read
	got := make([]byte, n/2)
	if _, err := io.ReadFull(resp.Body, got); err != nil {
		t.Fatal(err)
	}
	half()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(append(got, rest...), pattern(n)) {
		t.Fatalf("%d bytes after the half, %v", len(rest), err)
	}
}

// echoed sends 4 MiB that come back, and has half run once half of them were sent.
func echoed(t *testing.T, c http.RoundTripper, base string, half func()) {
	t.Helper()
	body := pattern(4 << 20)
	in, out := io.Pipe()
	go func() {
		_, _ = out.Write(body[:len(body)/2])
		half()
		_, _ = out.Write(body[len(body)/2:])
		_ = out.Close()
	}()
	resp, err := c.RoundTrip(httptest.NewRequest("POST", base+"/echo", in))
	testutil.Must(t, err)
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// A client that moves to another address in the middle of an answer gets all of it, and what it asks then comes from
// there.
func TestHTTP3_clientMoves(t *testing.T) {
	e := edgeWithAddresses(t)
	c := dialFrom(t, e, "127.0.0.1", e.secure)
	asks := new(http3.Transport).NewClientConn(c)
	base := "https://" + e.secure
	whole(t, asks, base, 4<<20, func() { move(t, c, "127.0.0.2") })
	if got := page(t, asks, base+"/client"); got != "127.0.0.2" {
		t.Errorf("the client is %q", got)
	}
}

// edgeWithAddresses is edge before an origin that tells the address of the client.
func edgeWithAddresses(t *testing.T) *edge {
	t.Helper()
	mux := muxH3()
	mux.HandleFunc("/client", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	})
	return startEdge(t, "[[routes]]\npattern = \"/\"\ndest = \"web\"\n[upstreams.web]\n"+
		"backends = [{ address = %q }]\n", serveOrigin(t, mux))
}

// nat passes datagrams on between clients and a server, and forgets its port when it is told to.
type nat struct {
	front *net.UDPConn
	to    netip.AddrPort
	back  atomic.Pointer[net.UDPConn]
	from  atomic.Pointer[netip.AddrPort]
	binds atomic.Int32
	dark  atomic.Bool                       // nothing is passed on
	pass  func(d []byte, send func([]byte)) // what becomes of a datagram
}

// newNAT makes a nat. pass decides about each datagram; nil: it is sent.
func newNAT(t *testing.T, host string, to netip.AddrPort, pass func(d []byte, send func([]byte))) *nat {
	t.Helper()
	n := &nat{front: quicSocket(t, host), to: to, pass: pass}
	if pass == nil {
		n.pass = func(d []byte, send func([]byte)) { send(d) }
	}
	n.rebind(t)
	go n.relay(n.front, func(d []byte, from netip.AddrPort) {
		n.from.Store(&from)
		n.pass(d, func(d []byte) { _, _ = n.back.Load().WriteToUDPAddrPort(d, n.to) })
	})
	return n
}

func (n *nat) addr() netip.AddrPort { return addrPortOf(n.front) }

// relay passes on what comes to a socket until it is closed.
func (n *nat) relay(from *net.UDPConn, send func(d []byte, peer netip.AddrPort)) {
	b := make([]byte, 65536)
	for {
		k, peer, err := from.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if !n.dark.Load() {
			send(b[:k], peer)
		}
	}
}

// rebind gives the client another port: what comes to the one before is lost.
func (n *nat) rebind(t *testing.T) {
	t.Helper()
	back := quicSocket(t, n.addr().Addr().String())
	if before := n.back.Swap(back); before != nil {
		_ = before.Close()
	}
	n.binds.Add(1)
	go n.relay(back, func(d []byte, _ netip.AddrPort) {
		n.pass(d, func(d []byte) { _, _ = n.front.WriteToUDPAddrPort(d, *n.from.Load()) })
	})
}

// A NAT that forgets the client's port in the middle of bodies, both ways, costs nothing but time.
func TestHTTP3_rebinding(t *testing.T) {
	e := edgeWithAddresses(t)
	n := newNAT(t, "127.0.0.1", udpAddr(t, e.secure).AddrPort(), nil)
	asks := new(http3.Transport).NewClientConn(dialFrom(t, e, "127.0.0.1", n.addr().String()))
	base := "https://" + e.secure
	for range 3 {
		whole(t, asks, base, 4<<20, func() { n.rebind(t) })
	}
	echoed(t, asks, base, func() { n.rebind(t) })
	if n.binds.Load() != 5 {
		t.Errorf("%d ports", n.binds.Load())
	}
}

// A network that goes dark in the middle of bodies for ten seconds (one with -short), and comes back, costs nothing but
// time.
func TestHTTP3_darkness(t *testing.T) {
	t.Parallel()
	dark := 10 * time.Second
	if testing.Short() {
		dark = time.Second
	}
	e := edgeWithAddresses(t)
	n := newNAT(t, "127.0.0.1", udpAddr(t, e.secure).AddrPort(), nil)
	asks := new(http3.Transport).NewClientConn(dialFrom(t, e, "127.0.0.1", n.addr().String()))
	base := "https://" + e.secure
	night := func() {
		n.dark.Store(true)
		<-time.After(dark)
		n.dark.Store(false)
	}
	whole(t, asks, base, 8<<20, night)
	echoed(t, asks, base, night)
}
