package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// named is a backend that says its name first, then sends back what comes, and ends after its client has.
func named(t *testing.T, name string) (addr string) {
	t.Helper()
	return testutil.Serve(t, func(c net.Conn) {
		fmt.Fprintf(c, "%s\n", name)
		io.Copy(c, c) //nolint:errcheck // the client sees it
		c.Close()
	}).Addr().String()
}

// relaying returns a configuration with a service that leads to backends.
func relaying(log, more string, backends ...string) string {
	text := "log = { output = [" + log + "] }\n[services.db]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\n" +
		"dest = \"db\"\n" + more + "\n[upstreams.db]\nload_balancing = \"round_robin\"\n"
	for _, b := range backends {
		text += "[[upstreams.db.backends]]\naddress = \"" + b + "\"\n"
	}
	return text
}

// A server that speaks first is heard, bytes go both ways, backends take turns, and an end passes.
func TestRelays(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, "%s", relaying("'"+log+"'", "", named(t, "one"), named(t, "two")))
	big := strings.Repeat("0123456789abcdef", 1<<16)
	met := map[string]int{}
	for range 3 { // two of them on one event loop, which has turns of its own
		w := testutil.Dial(t, addressOf(t, s, "db"))
		met[w.ReadUntil("\n")]++
		go func() {
			w.Send(big)
			w.CloseWrite()
		}()
		if got := w.ReadAll(); got != big {
			t.Errorf("%d bytes of %d", len(got), len(big))
		}
	}
	wantEqual(t, len(met), 2, "%v", met)
	lines := func() string { return readFile(log) }
	testutil.Eventually(t, testutil.Patience, func() bool { return strings.Count(lines(), "\n") == 3 }, lines)
	want := `"proto":"TCP","status":200,"bytes_in":1048576,"bytes_out":1048580,`
	if got := lines(); strings.Count(got, want) != 3 ||
		!strings.Contains(got, `"listener":"db","client_ip":"127.0.0.1"`) ||
		!strings.Contains(got, `"upstream":"db","backend":"127.0.0.1:`) {
		t.Error(got)
	}
	wantCounter(t, s, 3, "edge_service_connections_total", "closed", "db")
	wantCounter(t, s, 3145728, "edge_service_bytes_total", "in", "db")
}

// A backend that refuses is passed by, and where all do the client is reset.
func TestRelays_failures(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "access.log")
	dead := testutil.Listen(t)
	dead.Close()
	alive := named(t, "alive")
	s := start(t, Options{}, "%s", relaying("'"+log+"'", "", dead.Addr().String(), alive))
	for range 4 {
		w := testutil.Dial(t, addressOf(t, s, "db"))
		w.Want("alive\n")
		w.Close()
	}
	apply(t, s, "%s", relaying("'"+log+"'", "", dead.Addr().String()))
	wantReset(t, addressOf(t, s, "db"))
	lines := func() string { return readFile(log) }
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.Contains(lines(), `"status":502,"reason":"backend:connect"`)
	}, lines)
}

// A reload leads new connections elsewhere and leaves the others where they are.
func TestRelays_reload(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	s := start(t, Options{}, "%s", relaying("", "", one))
	before := testutil.Dial(t, addressOf(t, s, "db"))
	before.Want("one\n")
	apply(t, s, "%s", relaying("", "timeouts.idle = \"1m\"", two))
	after := testutil.Dial(t, addressOf(t, s, "db"))
	after.Want("two\n")
	before.Send("still\n")
	before.Want("still\n")
	apply(t, s, "%s", quiet+"http.listen = \"127.0.0.1:0\"\n")
	after.Send("too\n")
	after.Want("too\n")
	before.CloseWrite()
	before.WantEnd()
}

// Connections of a client end by the idle timeout, and a backend has no more of them than it may.
func TestRelays_bounds(t *testing.T) {
	t.Parallel()
	s := start(t, Options{}, "%s", relaying("", "timeouts.idle = \"1s\"", named(t, "one"))+
		"[upstreams.db.breaker]\nmax_requests = 1\n")
	w := testutil.Dial(t, addressOf(t, s, "db"))
	w.Want("one\n")
	wantReset(t, addressOf(t, s, "db"))
	w.WantEnd() // it is idle
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.Dial("tcp", addressOf(t, s, "db"))
		if err != nil {
			return false
		}
		defer c.Close()
		n, _ := c.Read(make([]byte, 4))
		return n == 4
	})
}

// wantReset connects to a service that has no backend for it: a reset.
func wantReset(t *testing.T, addr string) {
	t.Helper()
	n, c, err := 0, net.Conn(nil), error(nil)
	if c, err = net.Dial("tcp", addr); err == nil { // the reset may be there before the dialler looks
		defer c.Close()
		n, err = c.Read(make([]byte, 9))
	}
	if n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// relayPair returns an authority and a certificate of it for db.example.org: loaded, and as ca.pem, a.pem and a.key in
// dir.
func relayPair(t *testing.T) (ca *testutil.Authority, dir string, pair tls.Certificate) {
	t.Helper()
	ca, dir = testutil.NewAuthority(t), t.TempDir()
	ca.IssueTo(t, dir, "a", nil, "db.example.org")
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key"))
	testutil.Must(t, err)
	return ca, dir, pair
}

// headers is a backend that says what the header of the PROXY protocol before a connection tells. Those that tell
// nothing go to own, whole.
func headers(t *testing.T, own chan<- string, wrap func(net.Conn) net.Conn) (addr string) {
	t.Helper()
	return testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		b := make([]byte, 1)
		for n := 0; ; b = append(b, 0) {
			if _, err := io.ReadFull(c, b[n:]); err != nil {
				return
			}
			h, used, err := proxyproto.Parse(b)
			if n++; used == 0 && err == nil {
				continue
			}
			if err != nil || !h.Told() {
				own <- string(b)
				io.Copy(io.Discard, wrap(c)) //nolint:errcheck // a check with TLS is one of the handshake too
				return
			}
			fmt.Fprintf(wrap(c), "v%d %v %v\n", h.Version, h.Source, h.Destination)
			io.Copy(io.Discard, c) //nolint:errcheck // until the client ends it
			return
		}
	}).Addr().String()
}

// A backend is told the client by a header before all else, TLS included, and is told that checks are edge's own.
func TestRelays_proxyProtocol(t *testing.T) {
	t.Parallel()
	_, dir, pair := relayPair(t)
	secure := func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}}) }
	plain := func(c net.Conn) net.Conn { return c }
	keys := fmt.Sprintf("tls = { ca = %q, sni = \"db.example.org\" }\n", filepath.Join(dir, "ca.pem"))
	for _, tt := range []struct {
		version, keys, own string
		wrap               func(net.Conn) net.Conn
	}{
		{"1", "", "PROXY UNKNOWN\r\n", plain},
		{"2", "", string(proxyproto.AppendV2(nil, netip.AddrPort{}, netip.AddrPort{})), plain},
		{"2", keys, string(proxyproto.AppendV2(nil, netip.AddrPort{}, netip.AddrPort{})), secure},
	} {
		own := make(chan string, 1000)
		text := relaying("", "", headers(t, own, tt.wrap))
		text = strings.Replace(text, "[upstreams.db]\n", "[upstreams.db]\nproxy_protocol = \"v"+tt.version+"\"\n"+
			"health_check = { interval = \"1s\", start = \"up\" }\n"+tt.keys, 1)
		s := start(t, Options{}, "%s", text)
		if got := <-own; got != tt.own {
			t.Errorf("a check sends %q, want %q", got, tt.own)
		}
		w := testutil.Dial(t, addressOf(t, s, "db"))
		w.Want(fmt.Sprintf("v%s %v %v\n", tt.version, w.Conn().LocalAddr(), w.Conn().RemoteAddr()))
	}
}

// TLS is ended for clients and begun for backends.
func TestRelays_secured(t *testing.T) {
	ca, dir, pair := relayPair(t)
	plain := named(t, "plain")
	l := testutil.Serve(t, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
		io.WriteString(s, "secured") //nolint:errcheck // the client sees it
		io.Copy(io.Discard, s)       //nolint:errcheck // until the client ends it
	})
	keys := fmt.Sprintf("cert = %q\nkey = %q\n", filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key"))
	s := start(t, Options{}, "%s", relaying("", keys, plain))
	c, err := tls.Dial("tcp", addressOf(t, s, "db"), &tls.Config{RootCAs: ca.Pool, ServerName: "db.example.org"})
	testutil.Must(t, err)
	defer c.Close()
	c.Write([]byte("abc")) //nolint:errcheck // the read tells
	c.CloseWrite()         //nolint:errcheck // the read tells
	if got, err := io.ReadAll(c); string(got) != "plain\nabc" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	s = start(t, Options{}, "%s", relaying("", "", l.Addr().String())+
		fmt.Sprintf("[upstreams.db.tls]\nca = %q\nsni = \"db.example.org\"\n", filepath.Join(dir, "ca.pem")))
	w := testutil.Dial(t, addressOf(t, s, "db"))
	w.Want("secured")
	apply(t, s, "%s", relaying("", "", l.Addr().String())+
		fmt.Sprintf("[upstreams.db.tls]\nca = %q\nsni = \"other.example.org\"\n", filepath.Join(dir, "ca.pem")))
	wantReset(t, addressOf(t, s, "db"))
}

// A stream of TLS that was cut does not look complete on the other side, whichever that is.
func TestRelays_truncated(t *testing.T) {
	ca, dir, pair := relayPair(t)
	ends := make(chan error, 1)
	plain := testutil.Serve(t, func(c net.Conn) {
		_, err := io.ReadAll(c)
		ends <- err
		c.Close()
	})
	keys := fmt.Sprintf("cert = %q\nkey = %q\n", filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key"))
	s := start(t, Options{}, "%s", relaying("", keys, plain.Addr().String()))
	c, err := tls.Dial("tcp", addressOf(t, s, "db"), &tls.Config{RootCAs: ca.Pool, ServerName: "db.example.org"})
	testutil.Must(t, err)
	c.Write([]byte("a part"))               //nolint:errcheck // the backend tells
	c.NetConn().(*net.TCPConn).CloseWrite() //nolint:errcheck // the backend tells
	if err := <-ends; err == nil {
		t.Error("the backend took a stream that was cut for a whole one")
	}
	c.Close()
	cutting := testutil.Serve(t, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
		s.Read(make([]byte, 1))     //nolint:errcheck // the client is there: a reset must not come before
		io.WriteString(s, "a part") //nolint:errcheck // the client sees it
		c.Close()
	})
	s = start(t, Options{}, "%s", relaying("", "", cutting.Addr().String())+
		fmt.Sprintf("[upstreams.db.tls]\nca = %q\nsni = \"db.example.org\"\n", filepath.Join(dir, "ca.pem")))
	w := testutil.Dial(t, addressOf(t, s, "db"))
	w.Send("x")
	if b, err := io.ReadAll(w.Conn()); err == nil {
		t.Errorf("the client took %q, which was cut, for a whole", b)
	}
}

// A service logs where its access_log says, in its format, or nowhere, and others as [log] says. A reload changes that
// for connections that stand.
func TestRelays_logOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	all, own := filepath.Join(dir, "all.log"), filepath.Join(dir, "own.log")
	b := named(t, "one")
	others := "[services.silent]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \"db\"\naccess_log = false\n" +
		"[services.plain]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \"db\"\n"
	text := func(key string) string { return relaying("'"+all+"'", key+others, b) }
	s := start(t, Options{}, "%s", text(""))
	var open []*testutil.Wire
	for _, name := range []string{"db", "silent", "plain"} {
		w := testutil.Dial(t, addressOf(t, s, name))
		w.Want("one\n")
		open = append(open, w)
	}
	apply(t, s, "%s", text("access_log = { path = '"+own+"', format = \"combined\" }\n"))
	for _, w := range open { // the one of plain ends last
		w.CloseWrite()
		w.WantEnd()
	}
	lines := readFile
	testutil.Eventually(t, testutil.Patience, func() bool { return lines(own) != "" && lines(all) != "" })
	if got := lines(own); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "127.0.0.1 - - [") {
		t.Error(got)
	}
	if got := lines(all); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"listener":"plain"`) {
		t.Error(got)
	}
}

// A connection goes where DryRelay says, by the address of its client.
func TestDryRelay(t *testing.T) {
	names := map[string]string{}
	var all []string
	for _, name := range []string{"one", "two", "three"} {
		all = append(all, named(t, name))
		names[all[len(all)-1]] = name
	}
	text := strings.Replace(relaying("", "", all...), "round_robin", "ketama", 1)
	s := start(t, Options{}, "%s", text)
	cfg, _ := config.Parse("edge.toml", []byte(text))
	u, met := &cfg.Upstreams[cfg.Relays["db"].Upstream], map[int]bool{}
	for i := range 16 {
		ip := netip.AddrFrom4([4]byte{127, 0, 7, byte(i + 1)})
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))}
		c, err := d.Dial("tcp", addressOf(t, s, "db"))
		testutil.Must(t, err)
		line, _ := bufio.NewReader(c).ReadString('\n')
		c.Close()
		says := DryRelay(cfg, &cfg.Services[0], u, ip, "")
		if want := names[u.Backends[says.Backend].String()] + "\n"; line != want {
			t.Errorf("%s came to %q, not to %q", ip, line, want)
		}
		met[says.Backend] = true
	}
	says := DryRelay(cfg, &cfg.Services[0], u, netip.Addr{}, "")
	if len(met) < 2 || says.Backend != -1 || says.Shares[0] < 0.33 {
		t.Errorf("%v, %+v", met, says)
	}
}

// A connection that outlives its access log by a reload is told of in the log that there is at its end.
func TestRelays_logOfAReload(t *testing.T) {
	dir := t.TempDir()
	old, now := filepath.Join(dir, "old.log"), filepath.Join(dir, "now.log")
	b := named(t, "one")
	s := start(t, Options{}, "%s", relaying("'"+old+"'", "", b))
	w := testutil.Dial(t, addressOf(t, s, "db"))
	w.Want("one\n")
	apply(t, s, "%s", relaying("'"+now+"'", "", b))
	for _, k := range s.logs.lingering {
		if err := k.close(); err != nil { // as without requests that log there
			t.Fatal(err)
		}
	}
	w.CloseWrite()
	w.WantEnd()
	lines := func() string { return readFile(now) }
	testutil.Eventually(t, testutil.Patience, func() bool { return strings.Contains(lines(), `"proto":"TCP"`) }, lines)
}

// In a drain a pair on which nothing moves ends in an orderly way, before the process does.
func TestRelays_drain(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, "%s", relaying("'"+log+"'", "", named(t, "one")))
	w := testutil.Dial(t, addressOf(t, s, "db"))
	w.Want("one\n")
	done := make(chan bool)
	go func() { done <- s.engine.Drain(6 * time.Second) }()
	w.WantEnd()
	w.Close()
	if !<-done {
		t.Error("a connection is left")
	}
	testutil.Must(t, s.Stop())
	if text, _ := os.ReadFile(log); !strings.Contains(string(text), `"reason":"edge:drain"`) {
		t.Error(string(text))
	}
}

// A reload that fails half way leaves a service, and what its connections count, as they were.
func TestRelays_failedReload(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	busy := testutil.Listen(t)
	s := start(t, Options{}, "%s", relaying("", "", one))
	w := testutil.Dial(t, addressOf(t, s, "db"))
	w.Want("one\n")
	for _, more := range []string{
		"[services.other]\ntype = \"tcp\"\nlisten = \"" + busy.Addr().String() + "\"\ndest = \"db\"\n",
		"[services.fresh]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \"" + two + "\"\n" +
			"[services.other]\ntype = \"tcp\"\nlisten = \"" + busy.Addr().String() + "\"\ndest = \"db\"\n",
	} {
		text := "global.worker_threads = 2\n" + relaying("", "", two) +
			"[upstreams.db.breaker]\nmax_requests = 3\n[upstreams.db.outlier]\nerrors = 3\n" + more
		if _, err := s.Apply(parse(t, text)); err == nil {
			t.Fatal("the address is in use")
		}
		x := testutil.Dial(t, addressOf(t, s, "db"))
		x.Want("one\n")
		x.CloseWrite()
		x.WantEnd()
	}
	apply(t, s, "%s", relaying("", "", two)+"[upstreams.db.breaker]\nmax_requests = 3\n[services.fresh]\n"+
		"type = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \"db\"\n")
	x := testutil.Dial(t, addressOf(t, s, "fresh"))
	x.Want("two\n")
	apply(t, s, "%s", relaying("", "", one)) // takes breaker away while x has a place
	x.CloseWrite()
	x.WantEnd()
	w.CloseWrite()
	w.WantEnd()
	testutil.Eventually(t, testutil.Patience, func() bool {
		const closed = `edge_service_connections_total{result="closed",service="db"} 3`
		return s.engine.Conns() == 0 && strings.Contains(scrapeNow(s), closed)
	}, func() string { return scrapeNow(s) })
	for _, of := range s.upstreams.now.services {
		for _, m := range of.set.Members() {
			if a, b := m.InFlight(); a+b != 0 || m.Held() != 0 {
				t.Errorf("%s: %d %d %d", m.Address(), a, b, m.Held())
			}
		}
	}
}

// Unix sockets and IPv6 at both ends, with a balancing that goes by the address of the client.
func TestRelays_families(t *testing.T) {
	path := testutil.SocketPath(t)
	l, err := net.Listen("unix", path)
	testutil.Must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	at := testutil.SocketPath(t)
	s := start(t, Options{}, "log = { output = [] }\n"+
		"[services.a]\ntype = \"tcp\"\nlisten = \"unix:%s\"\ndest = \"db\"\n"+
		"[services.b]\ntype = \"tcp\"\nlisten = \"[::1]:0\"\ndest = \"db\"\n"+
		"[upstreams.db]\nload_balancing = \"ip_hash\"\nbackends = [{ address = \"unix:%s\" }]\n", at, path)
	for _, to := range [][2]string{{"unix", at}, {"tcp", addressOf(t, s, "b")}} {
		c, err := net.Dial(to[0], to[1])
		testutil.Must(t, err)
		big := strings.Repeat("x", 3<<20)
		go func() {
			io.WriteString(c, big)
			c.(interface{ CloseWrite() error }).CloseWrite()
		}()
		if b, err := io.ReadAll(c); string(b) != big || err != nil {
			t.Error(len(b), err)
		}
		c.Close()
	}
}
