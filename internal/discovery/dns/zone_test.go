package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
)

const resolverAddr = "192.0.2.53:53"

// world is a resolver and two servers of example.org, at addresses of nobody.
type world struct {
	resolver, first, second *dnsserver.Server
}

func newWorld() *world {
	w := &world{dnsserver.New(), dnsserver.New(), dnsserver.New()}
	for _, s := range []*dnsserver.Server{w.resolver, w.first, w.second} {
		s.Answer("example.org.", "SOA 60", "NS 60 ns1.example.net.", "NS 60 ns2.example.net.")
		s.Answer("www.example.org.", "A 60 10.0.0.1")
	}
	w.resolver.Answer("ns1.example.net.", "A 60 192.0.2.1")
	w.resolver.Answer("ns2.example.net.", "A 60 192.0.2.2", "AAAA 60 2001:db8::2")
	return w
}

func (w *world) client(t *testing.T) *Client {
	o := files(t, "nameserver 192.0.2.53\nsearch corp.example\n", "")
	o.Exchange = func(ctx context.Context, network string, server netip.AddrPort, query []byte,
		fits func([]byte) bool) ([]byte, error) {
		at := map[string]*dnsserver.Server{resolverAddr: w.resolver, "192.0.2.1:53": w.first, "192.0.2.2:53": w.second,
			"[2001:db8::2]:53": w.second}[server.String()]
		if at == nil {
			return nil, fmt.Errorf("nobody is at %s", server)
		}
		return at.Exchange(ctx, network, server, query, fits)
	}
	return New(o)
}

// The zone of a name is found past names that are not there, and by the end of aliases, but for aliases of wildcards.
func TestZone(t *testing.T) {
	w := newWorld()
	w.resolver.Answer("sub.example.org.", "SOA 60", "NS 60 ns1.example.net.")
	w.resolver.Answer("_acme-challenge.alias.example.org.", "CNAME 60 Mine.Delegated.test.")
	w.resolver.Answer("mine.delegated.test.", "CNAME 60 last.delegated.test.")
	w.resolver.Answer("delegated.test.", "SOA 60", "NS 60 ns1.example.net.")
	w.resolver.Answer("*.wild.example.org.", "CNAME 60 host.cdn.test.")
	w.resolver.Answer("*.sub.example.org.", "CNAME 60 www.example.org.")
	w.resolver.Answer("cdn.test.", "SOA 60", "NS 60 ns1.example.net.")
	w.resolver.Answer("_acme-challenge.circle.test.", "CNAME 60 a.circle.test.")
	w.resolver.Answer("a.circle.test.", "CNAME 60 _acme-challenge.circle.test.")
	w.resolver.Answer("empty.test.", "SOA 60")
	w.resolver.Fail("broken.test.", dnsserver.ServFail)
	w.resolver.Fail("_acme-challenge.lame.test.", dnsserver.Lame)
	w.resolver.Fail("lame.test.", dnsserver.Lame)
	w.resolver.Fail("_acme-challenge.cached.example.org.", dnsserver.NoSOA) // as by an older dnsmasq
	w.resolver.Fail("_acme-challenge.filtered.example.org.", dnsserver.OtherSOA)
	w.resolver.Answer("_acme-challenge.acmedns.example.org.", "CNAME 60 a1b2.delegated.test.")
	w.resolver.Fail("a1b2.delegated.test.", dnsserver.Lame) // as by acme-dns
	w.resolver.Answer("_acme-challenge.odd.example.org.", "CNAME 60 a\";id.delegated.test.")
	w.resolver.Answer("_acme-challenge.option.example.org.", "CNAME 60 -x.delegated.test.")
	long := strings.Repeat(strings.Repeat("a", 59)+".", 3) + strings.Repeat("a", 45) + ".example.org" // 253 with label
	w.resolver.Answer("_acme-challenge."+long+".", "CNAME 60 last.delegated.test.")
	c := w.client(t)
	const label = "_acme-challenge."
	for name, want := range map[string]string{
		label + "www.example.org":                 label + "www.example.org. in example.org. at 3",
		label + "Example.ORG.":                    label + "example.org. in example.org. at 3",
		"example.org":                             "example.org. in example.org. at 3",
		label + "a.sub.example.org":               label + "a.sub.example.org. in sub.example.org. at 1",
		label + "alias.example.org":               "last.delegated.test. in delegated.test. at 1",
		label + "x.wild.example.org":              label + "x.wild.example.org. in example.org. at 3",
		label + "circle.test":                     "error the aliases go in a circle",
		label + "unknown.invalid":                 "error " + label + "unknown.invalid.: no zone has this name",
		label + "empty.test":                      "error the servers of empty.test.: no zone has this name",
		label + "cached.example.org":              label + "cached.example.org. in example.org. at 3",
		label + "filtered.example.org":            label + "filtered.example.org. in example.org. at 3",
		label + "acmedns.example.org":             "a1b2.delegated.test. in delegated.test. at 1",
		label + "odd.example.org":                 `error "a\";id.delegated.test.": this is not the name of a host`,
		label + "option.example.org":              `error "-x.delegated.test.": this is not the name of a host`,
		label + long:                              "last.delegated.test. in delegated.test. at 1",
		label + "lame.test":                       "error " + label + "lame.test.: no zone has this name",
		"broken.test":                             "error CNAME broken.test. at " + resolverAddr + ": SERVFAIL",
		"a..b":                                    "error \"a..b.\": this is not the name",
		strings.Repeat("a.", 130):                 "error",
		label + strings.Repeat("a", 64) + ".test": "error",
	} {
		z, err := c.Zone(t.Context(), name)
		got := fmt.Sprintf("error %v", err)
		if err == nil {
			got = fmt.Sprintf("%s in %s at %d", z.Record, z.Name, len(z.Servers))
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A record is there when no server says that it lacks it. Servers that do not answer, and such as do not serve the
// zone, have no say.
func TestLacking(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		const name = "_acme-challenge.www.example.org."
		w := newWorld()
		c := w.client(t)
		z, err := c.Zone(t.Context(), name)
		testutil.Must(t, err)
		check := func(what, want string, in time.Duration) {
			t.Helper()
			begun := time.Now()
			var names []string
			lacking, answered := c.Lacking(t.Context(), z, "text")
			for _, one := range lacking {
				names = append(names, one.Addr.String())
			}
			if got := fmt.Sprintf("%v %t", names, answered); got != want || time.Since(begun) > in {
				t.Errorf("%s: %s after %v, want %s", what, got, time.Since(begun), want)
			}
		}
		check("none", "[192.0.2.1:53 192.0.2.2:53 [2001:db8::2]:53] true", 0)
		w.first.Answer(name, "TXT 1 other", "TXT 1 text")
		check("one", "[192.0.2.2:53 [2001:db8::2]:53] true", 0)
		w.second.Answer(name, "TXT 1 te xt")
		check("both", "[] true", 0)
		w.second.Answer(name, "TXT 1 texts")
		check("another", "[192.0.2.2:53 [2001:db8::2]:53] true", 0)
		w.second.Fail("", dnsserver.Drop)
		check("one is dead", "[] true", 4*time.Second)
		w.second.Fail("", dnsserver.Lame)
		check("one is lame", "[] true", 0)
		w.second.Fail("", dnsserver.None)
		w.second.Forget("example.org.")
		w.second.Answer(name)
		check("one serves another zone", "[] true", 0)
		w.first.Fail("", dnsserver.Refused)
		check("nobody", "[] false", 0)
	})
}
