package server

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

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
	try(t, err)
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
		try(t, err)
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
