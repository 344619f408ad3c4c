package tlsrules

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy/variables"
	"github.com/edge-proxy/edge/tlsconn"
)

// condition compiles a condition on handshakes.
func condition(t testing.TB, text string) *lang.Condition {
	t.Helper()
	office := lang.List{Kind: lang.IP, HasAddr: netip.MustParsePrefix("10.0.0.0/8").Contains}
	scope, err := variables.HandshakeScope(lang.Names{Lists: map[string]lang.List{"office": office},
		Env: func(string) (string, bool) { return "home", true }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := scope.Condition(text, lang.Handshake)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func digest(peer string) *tlsconn.Digest {
	return &tlsconn.Digest{Peer: poller.Addr{IP: netip.MustParseAddrPort(peer)},
		Local: poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:443")}}
}

// Every variable of a handshake says what the handshake does, whatever the spelling of the name.
func TestAsking_values(t *testing.T) {
	h1, both := []string{"http/1.1"}, []string{"h2", "http/1.1"}
	for _, c := range []struct {
		text, name string
		offered    []string
		want       bool
	}{
		{`tls.sni == "a.example.org"`, "A.Example.ORG", both, true},
		{`tls.sni == "a.example.org"`, "a.example.org.", both, true},
		{`tls.sni == "a.example.org"`, "b.a.example.org", both, false},
		{`tls.sni == ""`, "", nil, true}, {`has(tls.sni)`, "", nil, false},
		{`has(tls.sni)`, "192.0.2.1", nil, false}, {`has(tls.sni)`, "[2001:db8::1]", nil, false},
		{`has(tls.sni)`, "2001:db8::1", nil, false}, {`has(tls.sni)`, "a..b", nil, false},
		{`has(tls.sni)`, "a b", nil, false}, {`has(tls.sni)`, "a:443", nil, false}, {`has(tls.sni)`, ".", nil, false},
		{`tls.alpn == "h2"`, "a", both, true}, {`tls.alpn == "h2"`, "a", h1, false},
		{`tls.alpn == "h2"`, "a", nil, false},
		{`tls.alpn != "h2"`, "a", both, false}, {`tls.alpn in {"x" "http/1.1"}`, "a", both, true},
		{`client.ip in {10.0.0.0/8} and client.ip in list.office and peer.ip == 10.1.2.3`, "a", nil, true},
		{`client.port == 5000 and server.ip == 192.0.2.1 and server.port == 443 and listener == "web"`, "", nil, true},
		{`time.unix > 1700000000 and env.HOME == "home" and random(1) == 0`, "", nil, true},
	} {
		a := ask(digest("10.1.2.3:5000"), c.name, c.offered, "web")
		if got := condition(t, c.text).Holds(&a.x); got != c.want {
			t.Errorf("%s for %q is %v", c.text, c.name, got)
		}
		a.release()
	}
}

func TestHolds_doesNotAllocate(t *testing.T) {
	c := condition(t, `tls.sni ends_with ".example.org" and tls.alpn == "h2" and client.ip not in {10.0.0.0/8}`)
	hello := &tls.ClientHelloInfo{ServerName: "A.example.org", SupportedProtos: []string{"h2"}}
	if !Holds(c, hello, "web") {
		t.Fatal("it does not hold")
	}
	if n := testutil.Allocs(100, func() { Holds(c, hello, "web") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
