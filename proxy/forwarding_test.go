package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/message"
)

func TestNaming_count(t *testing.T) {
	n := newNaming("edge")
	for via, want := range map[string]int{
		"": 0, "1.1 edge": 1, "1.0 fred, 1.1 edge": 1, "HTTP/1.1 edge (a comment),1.1\tx": 1, "1.1 edge2, 1.1 xedge": 0,
		"edge": 1, " , ,1.1 edge , 2 edge": 2, "1.1 Edge": 0, strings.Repeat("1.1 edge,", 20): 20,
	} {
		if got := n.count([]byte(via)); got != want {
			t.Errorf("%q: %d times, want %d", via, got, want)
		}
	}
}

func TestTrust_client(t *testing.T) {
	trust := &Trust{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, c := range []struct{ fields, want string }{
		{"", "invalid IP"},
		{"1.2.3.4", "1.2.3.4"},
		{"6.6.6.6, 1.2.3.4 ,10.0.0.1", "1.2.3.4"},
		{"6.6.6.6|1.2.3.4|10.0.0.1,10.0.0.2", "1.2.3.4"},
		{"10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"1.2.3.4:5, [fd00::1]:443, 10.0.0.1:80", "1.2.3.4"},
		{"2001:db8::1, fd00::2", "2001:db8::1"},
		{"::ffff:1.2.3.4, ::ffff:10.0.0.1", "1.2.3.4"},
		{"fe80::1%eth0, 10.0.0.1", "10.0.0.1"},
		{"1.2.3.4, unknown, 10.0.0.1", "10.0.0.1"},
		{"1.2.3.4, , 10.0.0.1", "10.0.0.1"},
		{"1.2.3.4,", "invalid IP"},
		{"1.2.3.256", "invalid IP"},
		{"1.2.3", "invalid IP"},
		{"1.2.3.4x", "invalid IP"},
		{"[::1", "invalid IP"},
		{"_hidden", "invalid IP"},
		{"1.2.3.4," + strings.Repeat("10.0.0.1,", forwardersMax) + "10.0.0.2", "10.0.0.1"},
		{strings.Repeat("1", 1000), "invalid IP"},
	} {
		h := &message.Head{}
		for _, v := range strings.Split(c.fields, "|") {
			h.Add("X-Forwarded-For", v)
		}
		if got := trust.client(h).String(); got != c.want {
			t.Errorf("%q: %s, want %s", c.fields, got, c.want)
		}
	}
}

// A list of IPv4 addresses, the common one, costs no allocation.
func TestTrust_clientAllocatesNothing(t *testing.T) {
	trust := &Trust{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	h := &message.Head{}
	h.Add("X-Forwarded-For", "1.2.3.4, 10.0.0.1")
	if n := testutil.Allocs(100, func() { trust.client(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzTrust_parseForwarder(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "1.2.3.4:80", "[::1]:80", "::ffff:1.2.3.4", "fe80::1%a", "01.2.3.4", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseForwarder([]byte(s))
		want, err := netip.ParseAddr(s)
		if err == nil && len(s) <= 45 && want.Zone() == "" && (!ok || got != want.Unmap()) {
			t.Fatalf("%q: %v %v, want %v", s, got, ok, want)
		}
		if ok && (!got.IsValid() || got.Zone() != "") {
			t.Fatalf("%q: taken for %v", s, got)
		}
	})
}

func TestRewrite_prefixes(t *testing.T) {
	for _, c := range []struct {
		rewrite      Rewrite
		target, want string
	}{
		{Rewrite{StripPrefix: "/v1"}, "/v1/x?y", "/x?y"},
		{Rewrite{StripPrefix: "/v1/"}, "/v1?y", "/?y"},
		{Rewrite{StripPrefix: "/v1"}, "/v1/", "/"},
		{Rewrite{StripPrefix: "/v1"}, "/v12", "/v12"},
		{Rewrite{StripPrefix: "/v1"}, "/V1/x", "/V1/x"},
		{Rewrite{StripPrefix: "/v1"}, "/v1//evil.example/", "/evil.example/"},
		{Rewrite{StripPrefix: "/v1"}, "/v1/\\evil.example/", "/evil.example/"},
		{Rewrite{StripPrefix: "/v1", AddPrefix: "/v2/"}, "/v1", "/v2"},
		{Rewrite{StripPrefix: "/v1", AddPrefix: "/v2"}, "/v1/a?/v1", "/v2/a?/v1"},
		{Rewrite{AddPrefix: "/v2"}, "/", "/v2/"},
		{Rewrite{AddPrefix: "/v2"}, "*", "*"},
		{Rewrite{Path: "/all"}, "/a?b", "/all?b"},
		{Rewrite{Path: "/all"}, "a.example:443", "a.example:443"},
		{Rewrite{Path: "{path}/end?"}, "//a?b", "/a/end"},
	} {
		f, err := c.rewrite.filter()
		if err != nil {
			t.Errorf("%+v: %v", c.rewrite, err)
			continue
		}
		x := &Exchange{}
		x.Request.SetTarget(c.target)
		f.UpstreamRequest(x)
		if got := string(x.Request.Bytes(x.Request.Target)); got != c.want {
			t.Errorf("%+v: %q becomes %q, want %q", c.rewrite, c.target, got, c.want)
		}
	}
	for _, w := range []Rewrite{
		{StripPrefix: "v1"}, {AddPrefix: "/a?b"}, {AddPrefix: "/{path}"}, {AddPrefix: "/a\r\nb"}, {Path: "a"},
		{Path: "/a", AddPrefix: "/b"}, {StripPrefix: "/a b"},
	} {
		if _, err := w.filter(); err == nil {
			t.Errorf("%+v is accepted", w)
		}
	}
}

func TestRewrite_boundsTheTarget(t *testing.T) {
	f, err := (&Rewrite{Path: strings.Repeat("{path}", 20)}).filter()
	if err != nil {
		t.Fatal(err)
	}
	x := &Exchange{}
	x.Request.SetTarget("/" + strings.Repeat("a", 1000))
	if f.UpstreamRequest(x); x.refusal != faultTargetTooLong {
		t.Errorf("a target of %d bytes is sent on", x.Request.Target.Len)
	}
}

func TestRedirect_refuses(t *testing.T) {
	for _, c := range []struct {
		to     string
		status int
	}{{"https://a/", 200}, {"https://a/", 304}, {"a", 0}, {"/a\nb", 0}, {"https://{path}", 0}} {
		if _, err := Redirect(c.to, c.status); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestHostOfAddress(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:8080": "10.0.0.1:8080", "a.example:80": "a.example", "[::1]:80": "[::1]",
		"unix:/run/a.sock": "localhost", "[fe80::1%eth0]:81": "[fe80::1]:81",
	} {
		if got := hostOfAddress(address, false); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
	for address, want := range map[string]string{"a.example:443": "a.example", "a.example:80": "a.example:80"} {
		if got := hostOfAddress(address, true); got != want {
			t.Errorf("%q by TLS: %q, want %q", address, got, want)
		}
	}
}
