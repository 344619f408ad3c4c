package tlsrules

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/poller"
)

var (
	none    = &Auth{Asked: "none"}
	ours    = &Auth{Asked: "require ours.pem", Require: true}
	theirs  = &Auth{Asked: "require theirs.pem", Require: true}
	request = &Auth{Asked: "request"}
)

// made prepares rules, each tls.Config of which says by its CipherSuites which ones there are.
func made(list []Rule) (r *Rules, configs int) {
	r = New("web", list, Decision{Auth: none, MinVersion: tls.VersionTLS12})
	r.Prepare(func(*Auth, uint16) *tls.Config {
		configs++
		return &tls.Config{}
	})
	return r, configs
}

// The first rule that decides a thing decides it, and all are asked until one denies.
func TestRules_decide(t *testing.T) {
	a := condition(t, `tls.sni == "a"`)
	shows := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	r, configs := made([]Rule{
		{When: condition(t, `tls.sni starts_with "a"`), MinVersion: tls.VersionTLS13, Count: &Count{}},
		{When: a, Auth: ours, MinVersion: tls.VersionTLS10, Count: &Count{}},
		{When: a, Auth: theirs, Certificate: shows, Count: &Count{}},
		{When: condition(t, `tls.sni == "ab"`), Auth: ours, Certificate: shows, Count: &Count{}},
		{When: condition(t, `tls.sni in {"b" "ab"}`), Deny: true, Count: &Count{}},
		{When: condition(t, `tls.sni == "b"`), Auth: ours, Count: &Count{}},
	})
	if configs != 3*3 {
		t.Errorf("%d configurations of 3 ways to ask and 3 versions", configs)
	}
	for _, c := range []struct {
		name string
		want Decision
	}{
		{"", Decision{Auth: none, MinVersion: tls.VersionTLS12, By: By{-1, -1, -1, -1, -1}}},
		{"ac", Decision{Auth: none, MinVersion: tls.VersionTLS13, By: By{-1, -1, -1, 0, -1}}},
		{"a", Decision{Auth: ours, MinVersion: tls.VersionTLS13, By: By{-1, -1, 1, 0, 2}}},
		{"ab", Decision{Denied: true, Auth: ours, MinVersion: tls.VersionTLS13, By: By{4, -1, 3, 0, 3}}},
		{"b", Decision{Denied: true, Auth: none, MinVersion: tls.VersionTLS12, By: By{4, -1, -1, -1, -1}}},
	} {
		got, held := r.Explain(digest("10.0.0.1:1"), c.name, nil)
		if held[4] != got.Denied || held[5] {
			t.Errorf("%s: %v", c.name, held)
		}
		got.Certificate = nil
		if got.Denied != c.want.Denied || got.Auth != c.want.Auth || got.MinVersion != c.want.MinVersion ||
			got.By != c.want.By {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		terms := r.Choose(&tls.ClientHelloInfo{ServerName: c.name})
		if (terms.Config == nil) != got.Denied || terms.Config != nil && terms.Asked != got.Auth.Asked {
			t.Errorf("%s: %+v", c.name, terms)
		}
	}
	for i, want := range []uint64{2, 1, 1, 0, 0, 0} {
		if n := r.list[i].Count.Applied.Load(); n != want {
			t.Errorf("rule %d was applied %d times, want %d", i, n, want)
		}
	}
	if n := r.list[4].Count.Denied.Load(); n != 2 {
		t.Errorf("%d were denied", n)
	}
}

// A condition that has no room for what it computes denies the handshake, whatever its rule decides: a rule that denies
// would let it pass.
func TestRules_conditionThatIsCut(t *testing.T) {
	for _, rule := range []Rule{{Deny: true}, {MinVersion: tls.VersionTLS13}} {
		rule.When = condition(t, `url_encode(tls.alpn.join("")) contains "end"`)
		r, _ := made([]Rule{rule})
		offered := []string{strings.Repeat("%", 10_000)}
		if got, _ := r.Explain(digest("10.0.0.1:1"), "a", offered); got.Denied {
			t.Errorf("%+v: %d bytes are too many", rule, len(offered[0]))
		}
		offered = append(offered, strings.Repeat("%", 40_000), "end")
		if got, _ := r.Explain(digest("10.0.0.1:1"), "a", offered); !got.Denied || got.By.Deny != 0 {
			t.Errorf("%+v: %+v", rule, got)
		}
	}
}

// A connection may have the requests for whose hosts it was asked for the same certificate, and for no others.
func TestRules_Fit(t *testing.T) {
	r, _ := made([]Rule{
		{When: condition(t, `tls.sni == "ours"`), Auth: ours},
		{When: condition(t, `tls.sni == "theirs"`), Auth: theirs},
		{When: condition(t, `tls.sni == "new"`), MinVersion: tls.VersionTLS13},
		{When: condition(t, `tls.sni == "closed" or client.ip == 10.0.0.2`), Deny: true},
		{When: condition(t, `tls.alpn == "h2" and tls.sni == "asks"`), Auth: request},
	})
	conn := func(name, asked string, verified bool, version uint16) *tlsconn.Digest {
		d := digest("10.0.0.1:1")
		d.ServerName, d.Asked, d.Verified, d.Version = name, asked, verified, version
		return d
	}
	plain := conn("a", "none", false, tls.VersionTLS12)
	mine := conn("ours", ours.Asked, true, tls.VersionTLS13)
	before := conn("asks", "none", false, tls.VersionTLS13)
	before.ALPN = "h2"
	offers := conn("asks", "request", false, tls.VersionTLS13)
	offers.ALPN, offers.Offered = "http/1.1", []string{"http/1.1", "h2"}
	bad := conn("a", "none", false, tls.VersionTLS13)
	bad.Peer = digest("10.0.0.2:1").Peer
	for _, c := range []struct {
		name string
		d    *tlsconn.Digest
		host string
		want bool
	}{
		{"its own name", plain, "a", true}, {"no host", plain, "", true}, {"another host", plain, "b", true},
		{"an address", plain, "192.0.2.1", true}, {"what is no name", plain, "a..b", true},
		{"one that demands", plain, "ours", false}, {"in upper case", plain, "Ours", false},
		{"with the dot of the root", plain, "ours.", false}, {"one that is closed", plain, "closed", false},
		{"an old version", plain, "new", false},
		{"a new version", conn("a", "none", false, tls.VersionTLS13), "new", true},
		{"its own name, with a certificate", mine, "ours", true}, {"no host, with one", mine, "", true},
		{"of another authority", mine, "theirs", false}, {"of none", mine, "a", false},
		{"one that nobody has verified", conn("ours", ours.Asked, false, tls.VersionTLS13), "ours", false},
		{"what it has agreed upon", before, "asks", false}, {"what it has offered", offers, "asks", true},
		{"an address that is denied", bad, "a", false},
	} {
		if got := r.Fit(c.d, []byte(c.host)); got != c.want {
			t.Errorf("%s, %q on a connection for %q: %v", c.name, c.host, c.d.ServerName, got)
		}
	}
}

func TestRules_doNotAllocate(t *testing.T) {
	r, _ := made([]Rule{
		{When: condition(t, `tls.sni ends_with ".example.org" and tls.alpn == "h2"`), Auth: ours, Count: &Count{}},
		{When: condition(t, `client.ip in {10.0.0.0/8}`), MinVersion: tls.VersionTLS13},
	})
	hello := &tls.ClientHelloInfo{ServerName: "A.example.org", SupportedProtos: []string{"h2"}}
	d := digest("10.0.0.1:1")
	d.ALPN, d.Asked = "h2", "none"
	host := []byte("Other.Example.ORG")
	if n := testutil.Allocs(100, func() { r.Choose(hello) }); n != 0 {
		t.Errorf("%v allocations a handshake", n)
	}
	if n := testutil.Allocs(100, func() { r.Fit(d, host) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func BenchmarkRules(b *testing.B) {
	list := []Rule{}
	for range 10 {
		list = append(list, Rule{When: condition(b, `tls.sni == "x.example.org" and client.ip in {10.0.0.0/8}`),
			Auth: ours})
	}
	r, _ := made(list)
	hello := &tls.ClientHelloInfo{ServerName: "a.example.org", SupportedProtos: []string{"h2", "http/1.1"}}
	d, host := digest("10.0.0.1:1"), []byte("a.example.org")
	d.Asked, d.Offered = "none", hello.SupportedProtos
	b.Run("handshake", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Choose(hello)
		}
	})
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Fit(d, host)
		}
	})
}

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
