package quic_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// RFC 9000 §21.1.1: a client that has read challenges, and then sends from an address at which it reads nothing, cannot
// answer the challenge that goes there. So its requests are its own address's, and that address gets three times what
// it has sent at most.
func TestForged_anAddressIsNotValidated(t *testing.T) {
	testutil.CheckLeaks(t)
	g := newForger(t)
	own, moved, forged := g.socket("127.0.0.1"), g.socket("127.0.0.1"), g.socket("127.0.0.9")

	g.by = own
	g.begin()
	g.until("the handshake", func() bool { return g.end.Established })
	g.ask("/own")
	g.until("an answer", func() bool { return g.answered == 1 })
	g.by = moved
	g.ask("/moved")
	g.until("an answer at the other port", func() bool { return g.answered == 2 })
	learned := g.challenge
	if learned == ([8]byte{}) {
		t.Fatal("no challenge came")
	}

	g.by = forged // and reads at moved
	s := g.open()
	rest := request("/forged")
	for g.challenge == learned && len(rest) > 1 {
		g.end.Conn.Send(s, rest[:1], false)
		rest = rest[1:]
		g.flush()
		g.read(moved, time.Millisecond)
	}
	if g.challenge == learned {
		t.Fatal("the server has not followed")
	}
	for _, data := range [][8]byte{learned, g.challenge} {
		for range 4 {
			data = stepped(data)
			g.end.Conn.Respond(data)
			g.flush()
		}
	}
	g.end.Conn.Send(s, rest, true)
	g.flush()

	g.by = moved
	g.ask("/back")
	g.until("all answers", func() bool { return g.answered == 4 })
	for path, want := range map[string]string{"/own": "127.0.0.1", "/forged": "127.0.0.1", "/back": "127.0.0.1"} {
		if got := g.client(path); got != want {
			t.Errorf("%s has come from %q, not %q", path, got, want)
		}
	}
	if got := received(forged); got > 3*g.sent[forged] {
		t.Errorf("%d bytes came to the forged address, which has sent %d", got, g.sent[forged])
	}
	g.end.Conn.Close(0x100)
	g.flush()
}

// stepped is the next output of xorshift64, whose outputs are its states.
func stepped(data [8]byte) [8]byte {
	x := binary.LittleEndian.Uint64(data[:])
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	return [8]byte(binary.LittleEndian.AppendUint64(nil, x))
}

// forger is a client of HTTP/3 that sends from any of its sockets. Its server's backend notes which clients ask.
type forger struct {
	t      *testing.T
	server netip.AddrPort
	config *tls.Config
	begun  time.Time
	end    quicpeer.End
	path   quic.Path

	by   *net.UDPConn
	sent map[*net.UDPConn]int

	challenge [8]byte // the latest PATH_CHALLENGE that came
	answered  int     // requests whose answers came whole

	mu      sync.Mutex
	clients map[string]string // of requests, by path
}

func newForger(t *testing.T) *forger {
	g := &forger{t: t, begun: time.Now(), sent: map[*net.UDPConn]int{}, clients: map[string]string{}}
	large := []byte(strings.Repeat("x", 1<<20))
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.clients[r.URL.Path] = r.Header.Get("X-Forwarded-For")
		g.mu.Unlock()
		if r.URL.Path == "/forged" {
			_, _ = w.Write(large)
		}
	}))
	t.Cleanup(origin.Close)
	authority := testutil.NewAuthority(t)
	cert, key := authority.Issue(t, nil, "forged.test")
	pair := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	g.config = &tls.Config{RootCAs: authority.Pool, ServerName: "forged.test", NextProtos: []string{"h3"},
		MinVersion: tls.VersionTLS13}
	s := &edge.Server{Addr: "127.0.0.1:0", HTTP3: true, TLS: &tls.Config{Certificates: []tls.Certificate{pair}}}
	s.Routes = slices.Grow(s.Routes, 1)[:1]
	s.Routes[0].To = edge.Backends(origin.Listener.Addr().String())
	testutil.Must(t, s.Start())
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	g.server = netip.MustParseAddrPort(s.ListenAddrs()[0])
	return g
}

func (g *forger) socket(ip string) *net.UDPConn {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0)))
	testutil.Must(g.t, err)
	g.t.Cleanup(func() { c.Close() })
	return c
}

func (g *forger) now() int64 { return int64(time.Since(g.begun)) + 1 }

func (g *forger) begin() {
	g.end.OnEvent = func(ev *quic.Event) {
		if ev.Kind != quic.Data {
			return
		}
		g.end.Conn.Release(ev.Stream, len(ev.Body))
		if ev.End {
			g.answered++
			g.end.Conn.Done(ev.Stream)
		}
	}
	g.path = quic.Path{Local: g.by.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), Peer: g.server}
	g.end.Begin(g.config, g.path, g.now(), rand.Uint64)
	g.t.Cleanup(g.end.Stop)
	g.flush()
}

// open opens a stream; before the first one, the control stream with empty SETTINGS (RFC 9114 §6.2.1).
func (g *forger) open() *quic.Stream {
	if g.answered == 0 {
		if s, err := g.end.Conn.Open(quic.OneWay); err == nil {
			g.end.Conn.Send(s, []byte("\x00\x04\x00"), false)
		}
	}
	s, err := g.end.Conn.Open(quic.TwoWay)
	testutil.Must(g.t, err)
	return s
}

// request is a GET: the frame HEADERS with the static table and literals (RFC 9204 §4.5).
func request(path string) []byte {
	fields := "\x00\x00\xd1\xd7" // GET, https
	fields += "\x50" + string(rune(len("forged.test"))) + "forged.test"
	fields += "\x51" + string(rune(len(path))) + path
	return []byte("\x01" + string(rune(len(fields))) + fields)
}

func (g *forger) ask(path string) {
	g.end.Conn.Send(g.open(), request(path), true)
	g.flush()
}

// flush sends all that may leave from the present socket.
func (g *forger) flush() {
	for {
		d, _ := g.end.Conn.AppendDatagram(make([]byte, 0, quic.DatagramMax), g.now())
		if len(d) == 0 {
			return
		}
		g.sent[g.by] += len(d)
		_, _ = g.by.WriteToUDPAddrPort(d, g.server)
	}
}

// read takes the datagrams that come to one socket, until none has come for a while.
func (g *forger) read(from *net.UDPConn, wait time.Duration) {
	b := make([]byte, 1<<16)
	_ = from.SetReadDeadline(time.Now().Add(wait))
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		g.end.Conn.Receive(b[:n], g.path, g.now())
		g.end.Events()
		if data, ok := g.end.Conn.Asked(); ok {
			g.challenge = data
		}
		_ = from.SetReadDeadline(time.Now().Add(wait))
	}
}

func (g *forger) until(what string, cond func() bool) {
	g.t.Helper()
	testutil.Eventually(g.t, testutil.Patience, func() bool {
		g.read(g.by, time.Millisecond)
		if at := g.end.Conn.Deadline(); at != 0 && at <= g.now() {
			g.end.Conn.Expire(g.now())
			g.end.Events()
		}
		g.flush()
		return cond()
	}, what)
}

func (g *forger) client(path string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clients[path]
}

// received counts the bytes that have come to a socket. Datagrams of this machine are there when they are sent.
func received(c *net.UDPConn) (sum int) {
	b := make([]byte, 1<<16)
	for {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := c.Read(b)
		if err != nil {
			return sum
		}
		sum += n
	}
}
