package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const (
	asks       = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	twoClients = "limits.connections_per_client = 2\n"
)

// clientConnsOf returns how many connections of the client at ip are counted at a listener.
func clientConnsOf(t *testing.T, s *Server, listener, ip string) int64 {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners.now {
		if l.name == listener && l.clients != nil {
			return l.clients.table.Count(l.clients.hasher.Addr(netip.MustParseAddr(ip)) ^ l.clients.salt)
		}
	}
	t.Fatalf("%s has no limit", listener)
	return 0
}

// wantCounted waits until n connections from this machine are counted.
func wantCounted(t *testing.T, s *Server, listener string, n int64) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return clientConnsOf(t, s, listener, "127.0.0.1") == n })
}

// relayed is a service of the type tcp.
func relayed(t *testing.T) string {
	return "[services.web]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \"" + named(t, "one") + "\"\n" + twoClients
}

// caller makes a connection, says something, and reports whether it was answered.
type caller func(t *testing.T, addr string) (c net.Conn, answered bool)

// call makes a caller that says text on a connection, after header and with with TLS where that is not nil.
func call(header, text string, with *tls.Config) caller {
	return func(t *testing.T, addr string) (net.Conn, bool) {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil { // it was reset before the dialler looked
			return nil, false
		}
		t.Cleanup(func() { c.Close() })
		if _, err = io.WriteString(c, header); err == nil && with != nil {
			c = tls.Client(c, with)
		}
		if err == nil {
			_, err = io.WriteString(c, text)
		}
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		return c, err == nil
	}
}

// A client has as many connections as it may, whatever they speak: the next one is closed, and another one follows a
// connection that has ended.
func TestClientLimit(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	const told = "PROXY TCP4 127.0.0.1 198.51.100.1 1000 443\r\n"
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	hello := func(protocol string) *tls.Config {
		return &tls.Config{RootCAs: ca.Pool, ServerName: "example.org", NextProtos: []string{protocol}}
	}
	plain := "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" + twoClients
	https := secured(t, ca, dir) + twoClients
	announced := "proxy_protocol.from = [\"127.0.0.0/8\"]\n"
	for name, c := range map[string]struct {
		text string
		call caller
	}{
		"http":           {plain, call("", asks, nil)},
		"h2c":            {plain, call("", preface, nil)},
		"https":          {https, call("", asks, hello("http/1.1"))},
		"h2":             {https, call("", preface, hello("h2"))},
		"told":           {plain + announced, call(told, asks, nil)},
		"told, https":    {https + announced, call(told, asks, hello("http/1.1"))},
		"trusted, plain": {plain + announced, call("", asks, nil)},
		"tcp":            {relayed(t), call("", "", nil)},
	} {
		t.Run(name, func(t *testing.T) {
			log := logged(t, 1000)
			s := start(t, Options{}, "%s", quiet+c.text+strings.Repeat(all200, strings.Count(c.text, "name =")))
			addr := addressOf(t, s, "web")
			first, ok := c.call(t, addr)
			_, second := c.call(t, addr)
			if !ok || !second {
				t.Fatal("a connection within the limit is closed")
			}
			for range 3 {
				if _, third := c.call(t, addr); third {
					t.Fatal("a connection above the limit is served")
				}
			}
			wantCounted(t, s, "web", 2)
			first.Close()
			wantCounted(t, s, "web", 1)
			if _, ok := c.call(t, addr); !ok {
				t.Error("a connection that ended counts")
			}
			refused := counter(s, "edge_listener_refused_total", "web", "connections_per_client")
			if lines := log.with("limits.connections_per_client: connection closed"); refused != 3 || len(lines) != 1 {
				t.Errorf("%v refused, %v", refused, lines)
			}
		})
	}
}

// Connections end in many ways, and none is counted then.
func TestClientLimit_everyEnd(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	web := "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" + twoClients
	own := "[services.web]\nlisten = \"127.0.0.1:0\"\n" + twoClients
	parts := ownParts
	parts.Services = map[string]*plugin.Service{"web": ownParts.Services["greet"]}
	door := func(refuse string) string {
		return "connection_filters = [\"door\"]\n" + all200 +
			"[connection_filters.door]\ntype = \"test_door\"\nrefuse = \"" + refuse + "\"\n"
	}
	https, hello := secured(t, ca, dir)+twoClients, &tls.Config{RootCAs: ca.Pool, ServerName: "example.org"}
	leaves := func(w *testutil.Wire) { w.Close() }
	resets := func(w *testutil.Wire) { w.Reset() }
	says := func(text string) func(w *testutil.Wire) {
		return func(w *testutil.Wire) {
			io.WriteString(w.Conn(), text) //nolint:errcheck // it may be closed by now
			io.Copy(io.Discard, w.Conn())  //nolint:errcheck // an end or a reset
			w.Close()
		}
	}
	for name, c := range map[string]struct {
		text     string
		end      func(w *testutil.Wire)
		services []string
	}{
		"end":           {web + all200, leaves, nil},
		"reset":         {web + all200, resets, nil},
		"close":         {web + all200, says("GET / HTTP/1.0\r\n\r\n"), nil},
		"malformed":     {web + all200, says("nonsense\r\n\r\n"), nil},
		"silent":        {web + "limits.header_timeout = \"100ms\"\n" + all200, says("GET"), nil},
		"filter":        {web + door("all"), says("x"), nil},
		"filter panics": {web + door("panic"), says("x"), nil},
		"filter later": {https + door("secured"), func(w *testutil.Wire) {
			tls.Client(w.Conn(), hello).Handshake() //nolint:errcheck // it may be over already
			says("")(w)
		}, nil},
		"no TLS":  {https + all200, says("nonsense\r\n"), nil},
		"cut TLS": {https + all200, func(w *testutil.Wire) { w.Send("\x16\x03\x01"); w.Reset() }, nil},
		"service": {own, leaves, []string{"web"}},
		"panic":   {own, says("fail"), []string{"web"}},
		"tcp":     {relayed(t), resets, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, parseOwn(t, c.text, c.services...), parts)
			for range 3 {
				c.end(testutil.Dial(t, addressOf(t, s, "web")))
				wantCounted(t, s, "web", 0)
			}
			for len(met) > 0 {
				<-met
			}
			testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == 0 })
		})
	}
}

// A reload changes the number, and open connections count on. Without a number nothing is refused.
func TestClientLimit_reload(t *testing.T) {
	text := func(keys string) string {
		return quiet + "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" + keys + all200
	}
	s := start(t, Options{}, "%s", text(twoClients))
	addr, ask := addressOf(t, s, "web"), call("", asks, nil)
	for i, want := range []struct {
		keys string
		ok   bool
		n    int64
	}{
		{twoClients, true, 1}, {twoClients, true, 2}, {twoClients, false, 2},
		{"limits.connections_per_client = 3\n", true, 3}, {"limits.connections_per_client = 1\n", false, 3},
		{"", true, 3}, {twoClients, false, 3}, {"limits.connections_per_client = 4\n", true, 4},
	} {
		apply(t, s, "%s", text(want.keys))
		if _, ok := ask(t, addr); ok != want.ok {
			t.Errorf("%d, %q: served: %v", i, want.keys, ok)
		}
		if want.keys != "" {
			wantCounted(t, s, "web", want.n)
		}
	}
}

// Clients of IPv6 are networks, addresses of IPv4 are clients however they are written, and listeners count apart.
func TestClientLimit_clients(t *testing.T) {
	listener := func(name string) string {
		return "[[listeners]]\nname = \"" + name + "\"\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n" +
			"limits.connections_per_client = 1\nproxy_protocol.from = [\"127.0.0.0/8\"]\n"
	}
	s := start(t, Options{}, "%s", quiet+listener("web")+listener("other")+all200)
	var addrs []string
	for _, a := range s.Addresses() {
		addrs = append(addrs, a.Addr.String())
	}
	for _, c := range []struct {
		header string
		at     int
		ok     bool
	}{
		{"TCP6 2001:db8::1 ::1", 0, true}, {"TCP6 2001:db8::2 ::1", 0, false},
		{"TCP6 2001:db8:0:0:ffff::2 ::1", 1, false}, {"TCP6 2001:db8:0:1::1 ::1", 0, true},
		{"TCP6 2001:db8::2 ::1", 2, true}, {"TCP6 2001:db8::1 ::1", 3, false},
		{"TCP4 198.51.100.7 127.0.0.1", 0, true}, {"TCP6 ::ffff:198.51.100.7 ::1", 0, false},
		{"TCP4 198.51.100.8 127.0.0.1", 0, true},
	} {
		if _, ok := call("PROXY "+c.header+" 1000 80\r\n", asks, nil)(t, addrs[c.at]); ok != c.ok {
			t.Errorf("%s at %d: served: %v", c.header, c.at, ok)
		}
	}
}

// Peers on Unix sockets have no limit, unless a header tells who they are.
func TestClientLimit_unix(t *testing.T) {
	path := t.TempDir() + "/edge.sock"
	s := start(t, Options{}, "%s", quiet+"[[listeners]]\nname = \"web\"\nlisten = \"unix:"+path+"\"\n"+
		"limits.connections_per_client = 1\nproxy_protocol.from = [\"unix\"]\n"+all200)
	for _, c := range []struct {
		header string
		ok     bool
	}{
		{"", true}, {"", true}, {"PROXY TCP4 127.0.0.1 127.0.0.1 1000 80\r\n", true},
		{"PROXY TCP4 127.0.0.1 127.0.0.1 1000 80\r\n", false}, {"", true},
	} {
		w := testutil.Dial(t, path)
		w.Send(c.header + asks)
		if _, err := w.Conn().Read(make([]byte, 1)); (err == nil) != c.ok {
			t.Errorf("%q: %v", c.header, err)
		}
	}
	wantCounted(t, s, "web", 1)
}

// crowded is a connection of a service that counts those that are open.
type crowded struct {
	welcomer
	open, most *atomic.Int64
}

func (h crowded) OnOpen(c *engine.Conn) {
	n := h.open.Add(1)
	for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
	}
	h.welcomer.OnOpen(c)
}

func (h crowded) OnClose(*engine.Conn, error) { h.open.Add(-1) }

// Many connections of a client at once, on two event loops: there are never more than it may have, and at the end
// none is counted.
func TestClientLimit_race(t *testing.T) {
	const clients, most = 200, 7
	var open, top, served, refused atomic.Int64
	parts := ownParts
	parts.Services = map[string]*plugin.Service{"greet": {Accept: func(*engine.Conn) engine.Handler {
		return crowded{open: &open, most: &top}
	}}}
	s := serve(t, parseOwn(t, fmt.Sprintf("global.worker_threads = 2\n[services.greet]\nlisten = \"127.0.0.1:0\"\n"+
		"limits.connections_per_client = %d\n", most), "greet"), parts)
	addr := addressOf(t, s, "greet")
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				refused.Add(1)
				return
			}
			defer c.Close()
			if _, err := c.Read(make([]byte, 6)); err != nil {
				refused.Add(1)
				return
			}
			served.Add(1)
			if i%2 == 0 {
				c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // a reset
			}
		})
	}
	all.Wait()
	wantCounted(t, s, "greet", 0)
	testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == 0 && open.Load() == 0 })
	if top.Load() > most || served.Load() < most || served.Load()+refused.Load() != clients {
		t.Errorf("%d at once, %d served, %d refused", top.Load(), served.Load(), refused.Load())
	}
	wantCounter(t, s, float64(refused.Load()), "edge_listener_refused_total", "greet")
}

// A connection that goes to another process counts there, also above the limit, and here no more.
func TestClientLimit_handover(t *testing.T) {
	file := func(most int) string {
		return quiet + fmt.Sprintf("http = { name = \"web\", listen = \"127.0.0.1:0\", "+
			"limits.connections_per_client = %d }\n", most) + all200
	}
	old := serve(t, parse(t, file(3)), Options{})
	var all [3]*testutil.Wire
	for i := range all {
		all[i] = testutil.Dial(t, addressOf(t, old, "web"))
		all[i].Send(asks)
		all[i].ReadResponse("GET")
	}
	next, _ := successor(t, old, file(2))
	pass(t, old, next)
	m := move(old, next)
	defer m.end()
	wantCounted(t, next, "web", 3)
	wantCounted(t, old, "web", 0)
	ask := call("", asks, nil)
	if _, ok := ask(t, addressOf(t, next, "web")); ok {
		t.Error("a connection above the limit is served")
	}
	all[0].Send(asks)
	all[0].ReadResponse("GET")
	all[0].Close()
	all[1].Reset()
	wantCounted(t, next, "web", 1)
	if c, ok := ask(t, addressOf(t, next, "web")); !ok {
		t.Errorf("%v is refused", c)
	}
}
