package server

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
)

// tenants is a dest with variables, of all requests and of some.
const tenants = `
http = { name = "web", listen = "127.0.0.1:0" }
upstream_defaults = { resolver = "DNS", host = "backend" }
routes = [
	{ pattern = "/*", dest = "http://{header:X-Tenant}.svc.test:PORT",
		allow_dest = ["http://*.svc.test:PORT", "127.0.0.0/16"] },
	{ pattern = "/by/path/*", dest = "{path:3}.svc.test:PORT", allow_dest = "http://acme.svc.test:PORT" },
]
`

// A dest with variables leads where each request says, as far as allow_dest lists it, and through reloads.
func TestDynamic(t *testing.T) {
	testutil.CheckLeaks(t)
	testutil.EventLog(t, slog.DiscardHandler)
	e, dns := listenEverywhere(t), dnsserver.Start(t)
	for name, record := range map[string]string{
		"acme.svc.test.": "127.0.0.11", "other.svc.test.": "127.0.0.12", "a.b.svc.test.": "127.0.0.13",
		"outside.svc.test.": "127.1.0.1", "metadata.svc.test.": "169.254.169.254",
	} {
		dns.Answer(name, "A 300 "+record)
	}
	file := func(more string) string {
		fill := strings.NewReplacer("DNS", fmt.Sprint(dns.Addr), "PORT", fmt.Sprint(e.port))
		return quiet + fill.Replace(tenants) + more
	}
	s := start(t, Options{}, "%s", file(""))
	ask := func(path, tenant, want string) {
		t.Helper()
		resp, body := askBy(t, direct, "GET", urlOf(t, s, "web")+path, "X-Tenant: "+tenant)
		if resp.StatusCode != 200 {
			body = fmt.Sprint(resp.StatusCode)
		}
		if want = strings.ReplaceAll(want, "PORT", fmt.Sprint(e.port)); body != want {
			t.Errorf("%s for %q: %q, want %q", path, tenant, body, want)
		}
	}
	dest := "http://{header:X-Tenant}.svc.test:" + fmt.Sprint(e.port)
	for range 2 {
		ask("/", "acme", "127.0.0.11 for acme.svc.test:PORT")
		ask("/", "Other", "127.0.0.12 for other.svc.test:PORT")
		ask("/", "a.b", "127.0.0.13 for a.b.svc.test:PORT")
		ask("/", "outside", "403")
		ask("/", "metadata", "403")
		ask("/", "none", "502")
		ask("/", "evil.example/", "403")
		ask("/", "", "403")
		ask("/by/path/acme", "", "403") // its address is in no network that this route allows
		apply(t, s, "%s", file("[upstreams.further]\nbackends = [{ address = \"127.0.0.1:1\" }]\n"))
	}
	for why, want := range map[string]float64{"malformed": 4, "address": 4, "unlisted": 0, "own_listener": 0} {
		wantCounter(t, s, want, "edge_dest_refused_total", dest, why)
	}
	wantCounter(t, s, 6, "edge_dest_lookups_total", dest)
	if n := count(&e.conns, "127.0.0.11").Load(); n > 2 { // one for each reactor
		t.Errorf("%d connections", n)
	}
	if n := counter(s, "edge_upstream_connections", dest); n == 0 {
		t.Error("connections to destinations are not counted")
	}
	apply(t, s, "%s", quiet+web+`
routes = [{ pattern = "/*", dest = "status:200" }]
`)
	wantCounter(t, s, 4, "edge_dest_refused_total", dest, "malformed")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return count(&e.conns, "127.0.0.11").Load() == count(&e.ended, "127.0.0.11").Load()
	}, "the connections close")
}

// What leads back to a listener of this process is refused, whatever allow_dest says.
func TestDynamic_notToItself(t *testing.T) {
	testutil.EventLog(t, slog.DiscardHandler)
	dns := dnsserver.Start(t)
	dns.Answer("own.test.", "A 300 127.0.0.1")
	dns.Answer("six.test.", "AAAA 300 ::1")
	dns.Answer("any.test.", "A 300 127.9.9.9")
	s := start(t, Options{}, "%s", quiet+fmt.Sprintf(`
http = { name = "web", listen = "127.0.0.1:0" }
upstream_defaults.resolver = %q
listeners = [{ name = "all", listen = ":0" }]
routes = [
	{ pattern = "/*", dest = "{header:X-To}", allow_dest = ["http://*.test:*", "http://own.test:*",
		"http://127.0.0.0/8:*", "127.0.0.0/8", "::1", "http://0.0.0.0:*", "http://[::]:*", "http://[::1]:*"] },
	{ pattern = "/secret", dest = "status:200" },
]
`, dns.Addr))
	url := urlOf(t, s, "web")
	port := func(listener string) string {
		to := urlOf(t, s, listener)
		return to[strings.LastIndexByte(to, ':'):]
	}
	refused := 0.0
	for _, to := range []string{
		"own.test" + port("web"), "127.0.0.1" + port("web"), "own.test" + port("all"), "any.test" + port("all"),
		"six.test" + port("all"), "127.0.0.1" + port("all"), "0.0.0.0" + port("web"), "0.0.0.0" + port("all"),
		"[::]" + port("web"), "[::]" + port("all"), "[::ffff:127.0.0.1]" + port("web"), "[::ffff:0:0]" + port("web"),
		"[0:0::1]" + port("all"), "[::ffff:7f00:1]" + port("all"), "OWN.test." + port("web"),
	} {
		resp := askFor(t, "GET", url+"/x", "X-To: "+to)
		if refused++; resp.StatusCode != 403 || counter(s, "edge_dest_refused_total", "own_listener") != refused {
			t.Errorf("%s: %d", to, resp.StatusCode)
		}
	}
}

// A destination that was judged before a reload opens a listener there is refused after that.
func TestDynamic_listenerComesLater(t *testing.T) {
	testutil.EventLog(t, slog.DiscardHandler)
	at := testutil.FreeAddr(t)
	file := func(more string) string {
		return quiet + more + `
http = { name = "web", listen = "127.0.0.1:0" }
routes = [
	{ pattern = "/*", dest = "{header:X-To}", allow_dest = "http://127.0.0.0/8:*" },
	{ pattern = "/secret", dest = "status:200" },
]
`
	}
	s := start(t, Options{}, "%s", file(""))
	ask := func() int {
		t.Helper()
		return askFor(t, "GET", urlOf(t, s, "web")+"/x", "X-To: "+at).StatusCode
	}
	if status := ask(); status != 502 && status != 503 {
		t.Errorf("%d before", status)
	}
	apply(t, s, "%s", file(`listeners = [{ name = "later", listen = "`+at+`" }]`))
	if status := ask(); status != 403 || counter(s, "edge_dest_refused_total", "own_listener") != 1 {
		t.Errorf("%d after", status)
	}
}

// A dry run says where a request leads without looking anything up.
func TestDryRun_dynamic(t *testing.T) {
	cfg := parse(t, `
http.listen = ":80"
routes = [{ pattern = "/*", dest = "https://{host:1}.svc.internal", allow_dest = "https://*.svc.internal" }]
`)
	for host, want := range map[string][2]string{
		"acme.example.com": {"https://acme.svc.internal:443", ""},
		"-.example.com":    {"https://-.svc.internal", "its host is neither a name nor an address"},
	} {
		run, err := DryRun(cfg, &DryRequest{
			Listener: &cfg.Listeners[0], Wire: []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"),
			Client: netip.MustParseAddrPort("192.0.2.1:1"),
		})
		if err != nil || run.Dest != want[0] || run.DestRefused != want[1] || (run.Sent != nil) != (want[1] == "") {
			t.Errorf("%s: %+v, %v", host, run, err)
		}
		if want[1] != "" && (run.Status != 403 || run.Reason != "edge:dest_not_allowed") {
			t.Errorf("%s: %d %s", host, run.Status, run.Reason)
		}
	}
}

// Two routes with one dest and different lists are two upstreams.
func TestDynamic_upstreamsHaveNamesOfTheirOwn(t *testing.T) {
	cfg := parse(t, `
http.listen = ":80"
health_check.path = "/"
routes = [
  { pattern = "/a", dest = "http://{host:1}.a", allow_dest = "http://*.a" },
  { pattern = "/b", dest = "http://{host:1}.a", allow_dest = ["http://b.a", "10.0.0.0/8"] },
  { pattern = "/c", dest = "http://{host:1}.a", allow_dest = "http://*.a" },
]
`)
	names := func(u config.Upstream) string { return u.Name }
	var all []string
	for _, u := range cfg.Upstreams {
		all = append(all, names(u))
		if u.HealthCheck != nil || u.TLS.On || len(u.Backends) > 0 {
			t.Errorf("%+v", u)
		}
	}
	want := []string{"http://{host:1}.a", "http://{host:1}.a -> http://b.a, 10.0.0.0/8"}
	if !slices.Equal(all, want) || cfg.Routes[0].Dest.Upstream != cfg.Routes[2].Dest.Upstream {
		t.Errorf("%q", all)
	}
}
