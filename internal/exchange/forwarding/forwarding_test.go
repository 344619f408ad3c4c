package forwarding

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

func TestName_count(t *testing.T) {
	n := NewName("edge")
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
		{"fe80::1%eth0, 10.0.0.1", "::"},
		{" ", "invalid IP"},
		{", 10.0.0.1", "10.0.0.1"},
		{"1.2.3.4, unknown, 10.0.0.1", "::"},
		{"1.2.3.4, , 10.0.0.1", "1.2.3.4"}, // RFC 9110 §5.6.1.2: empty members are ignored
		{"1.2.3.4,,\t,10.0.0.1,", "1.2.3.4"},
		{",1.2.3.4|,|10.0.0.1", "1.2.3.4"},
		{" , ,", "invalid IP"},
		{"1.2.3.4" + strings.Repeat(",", 2*forwardersMax), "1.2.3.4"},
		{"1.2.3.4, unknown", "::"},
		{"1.2.3.4,", "1.2.3.4"},
		{"1.2.3.256", "::"},
		{"1.2.3", "::"},
		{"1.2.3.4x", "::"},
		{"[::1", "::"},
		{"_hidden", "::"},
		{"1.2.3.4," + strings.Repeat("10.0.0.1,", forwardersMax) + "10.0.0.2", "10.0.0.1"},
		{strings.Repeat("1", 1000), "::"},
	} {
		h := &message.Head{}
		for _, v := range strings.Split(c.fields, "|") {
			h.Add("X-Forwarded-For", v)
		}
		if got := trust.Client(h).String(); got != c.want {
			t.Errorf("%q: %s, want %s", c.fields, got, c.want)
		}
	}
}

// A list of IPv4 addresses, the common one, costs no allocation.
func TestTrust_clientAllocatesNothing(t *testing.T) {
	trust := &Trust{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	h := &message.Head{}
	h.Add("X-Forwarded-For", "1.2.3.4, 10.0.0.1")
	if n := testutil.Allocs(100, func() { trust.Client(h) }); n != 0 {
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
