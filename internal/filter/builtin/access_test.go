package builtin_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func accessRig(t *testing.T, c *builtin.Access) *filterrig.Rig {
	t.Helper()
	f := made(t, builtin.NewAccess, c, nil)
	return filterrig.New(t, f)
}

func TestAccess_letsThroughByTheClientsAddress(t *testing.T) {
	g := accessRig(t, &builtin.Access{
		Allow: prefixes("10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"), Deny: prefixes("10.66.0.0/16"), Status: 404,
	})
	client := filterrig.Clients(t)["HTTP/1"]
	for address, want := range map[string]int{
		"10.1.2.3": 200, "::ffff:10.1.2.3": 200, "2001:db8::1": 200, "192.0.2.7": 200,
		"10.66.0.1": 404, "::ffff:10.66.0.1": 404, "2001:db9::1": 404, "192.0.2.8": 404,
		"": 404, // the peer itself
	} {
		if resp, _ := testutil.Do(t, client, g.From(t, address, "/")); resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", address, resp.StatusCode, want)
		}
	}
}

func TestAccess_denyAloneLetsOthersThrough(t *testing.T) {
	g := accessRig(t, &builtin.Access{Deny: prefixes("0.0.0.0/1", "::/0")})
	client := filterrig.Clients(t)["HTTP/1"]
	for address, want := range map[string]int{"": 403, "2001:db8::1": 403, "203.0.113.7": 200} {
		resp, body := testutil.Do(t, client, g.From(t, address, "/"))
		if resp.StatusCode != want || want == 403 && !strings.Contains(body, "no access") {
			t.Errorf("%q: %d %s, want %d", address, resp.StatusCode, body, want)
		}
	}
}

// One connection of HTTP/2 goes on when one of its streams is dropped; one of HTTP/1 is closed.
func TestAccess_drops(t *testing.T) {
	g := accessRig(t, &builtin.Access{Deny: prefixes("10.0.0.0/8"), Drop: true})
	w := g.Dial(t)
	w.Send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
	if got := w.ReadAll(); got != "" {
		t.Errorf("HTTP/1: %q", got)
	}
	client := testutil.H2C(t)
	if resp, _ := testutil.Do(t, client, g.From(t, "", "/")); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if resp, err := client.Do(g.From(t, "10.0.0.1", "/")); err == nil {
		resp.Body.Close()
		t.Errorf("HTTP/2: %d, want a reset", resp.StatusCode)
	}
	if resp, _ := testutil.Do(t, client, g.From(t, "", "/")); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
}

func TestNewAccess_refusesAFilterForEverybody(t *testing.T) {
	_, err := filterrig.Made(builtin.NewAccess, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "everybody") {
		t.Error(err)
	}
}

func TestAccess_allocatesNothing(t *testing.T) {
	f, err := filterrig.Made(builtin.NewAccess, &builtin.Access{
		Allow: prefixes("0.0.0.0/0"), Deny: prefixes("10.0.0.0/8", "fd00::/8"),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := warm.New(t, warm.Browser, &proxy.Listener{}, f)
	if n := testutil.Allocs(1000, g.Exchange); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleAccess() {
	office, err := filterrig.Made(builtin.NewAccess, &builtin.Access{Allow: prefixes("10.0.0.0/8")}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{office}, Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "welcome\n")},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	resp, err := http.Get("http://" + s.ListenAddr())
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	fmt.Println(resp.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	// Output: 403
}
