package server

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	_ "github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A limit of a rule is counted under the name of the rule, and what it has counted outlives a reload as long as it
// stays as it is. Rules of one name in two places count apart.
func TestRules_limitOutlivesReloads(t *testing.T) {
	const text = quiet + web + `
[[rules]]
name = "first"
when = 'path starts_with "/a"'
limit = { rate = "%d/h" }
[[rules]]
when = 'path starts_with "/b"'
limit = { rate = "1/h", key = "{path}" }
[[routes]]
pattern = "/*"
dest = "status:204"
[[routes.rules]]
name = "first"
when = 'path starts_with "/c"'
limit = { rate = "2/h" }
`
	s := start(t, Options{}, text, 2)
	ask := func(path string, want ...int) {
		t.Helper()
		for i, want := range want {
			resp, _ := testutil.Get(t, http.DefaultClient, urlOf(t, s, "web")+path)
			wantEqual(t, resp.StatusCode, want, "%s, request %d", path, i)
		}
	}
	ask("/a", 204, 204, 429)
	ask("/c", 204, 204, 429)
	ask("/b", 204, 429)
	ask("/b/2", 204)
	apply(t, s, text+"[[routes.rules]]\nwhen = 'path == \"/x\"'\ndeny = 404\n", 2)
	ask("/a", 429)
	ask("/b", 429)
	ask("/c", 429)
	wantCounter(t, s, 4, "edge_ratelimit_total", "first", "allowed")
	wantCounter(t, s, 4, "edge_ratelimit_total", "first", "limited")
	wantCounter(t, s, 2, "edge_ratelimit_total", "rule 2 of defaults", "limited")
	apply(t, s, text, 3) // another limit begins anew
	ask("/a", 204)
	ask("/c", 429)
}

// A client that has used up its key gets no further by more values of the field, cookie or parameter that the key is
// made of, in whatever order. The backend may read any of them.
func TestLimits_chargeEveryValueOfTheKey(t *testing.T) {
	s := start(t, Options{}, quiet+web+`
filters.field = { type = "rate_limit", key = "{header.x-key}/{cookie.k}", rate = "1/h" }
rules = [{ when = 'path == "/rule"', limit = { rate = "1/h", key = "{query.k}" } }]
routes = [
	{ pattern = "/field", filters = ["field"], dest = "status:204" },
	{ pattern = "/waits", filters = ["waits"], dest = "status:204" },
	{ pattern = "/*", dest = "status:204" },
]
[filters.waits]
type = "rate_limit"
key = "{header.x-key.lower()}"
rate = "1/h"
mode = "delay"
max_delay = "1ms"
`)
	for _, c := range []struct {
		target string
		fields []string
		status int
	}{
		{"/field", []string{"X-Key: a", "Cookie: k=1"}, 204},
		{"/field", []string{"X-Key: a", "X-Key: r1", "Cookie: k=1; k=r2"}, 429},
		{"/field", []string{"X-Key: r3", "X-Key: a", "Cookie: k=r4; k=1"}, 429},
		{"/field", []string{"X-Key: r5", "X-Key: a", "Cookie: k=1", "Cookie: k=r6"}, 429},
		{"/field", []string{"X-Key: b", "X-Key: b", "Cookie: k=1"}, 204},
		{"/field", []string{"X-Key: c", "X-Key: d", "Cookie: k=1; k=2; k=3; k=4"}, 204},
		{"/field", []string{"X-Key: d", "Cookie: k=3"}, 429},
		{"/field", []string{"X-Key: e", "X-Key: f", "X-Key: g", "Cookie: k=1; k=2; k=3"}, 400},
		{"/field", []string{"Cookie: k=1"}, 204},
		{"/field", []string{"Cookie: k=1", "X-Other: 1"}, 429},
		{"/waits", []string{"X-Key: a"}, 204},
		{"/waits", []string{"X-Key: x", "X-Key: A"}, 429},
		{"/waits", []string{"X-Key: 1" + strings.Repeat("\r\nX-Key: a", 8)}, 400},
		{"/rule?k=a", nil, 204},
		{"/rule?k=b&k=a", nil, 429},
		{"/rule?k=%61&k=c", nil, 429},
		{"/rule?k=1&k=2&k=3&k=4&k=5&k=6&k=7&k=8", nil, 204},
		{"/rule?k=1&k=2&k=3&k=4&k=5&k=6&k=7&k=8&k=9", nil, 400},
	} {
		w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
		w.Send("GET " + c.target + " HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(c.fields, ""), "\r\n") + "\r\n")
		resp, body := w.ReadResponse("GET")
		w.Close()
		retry := resp.Header.Get("Retry-After") != ""
		if resp.StatusCode != c.status || retry != (c.status == 429) {
			t.Errorf("%s %q: %d, Retry-After %v, want %d: %s", c.target, c.fields, resp.StatusCode, retry, c.status,
				body)
		}
	}
}

// Mistakes in a limit are shown at their place, those of texts inside the string.
func TestRules_limitMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`limit = { burst = 3 }`:    `:2:1: error: "limit" needs "limit.rate"`,
		`limit = {}`:               `:2:1: error: "limit" needs "limit.rate"`,
		`limit = 5`:                `:2:9: error: "limit" must be a table`,
		`limit = { rate = "5/x" }`: `:2:18: error: "rate" must be a rate, not "5/x"`,
		`limit = { rate = "5/s", key = "{clien.ip}" }`:  `:2:33: error: there is no variable clien.ip`,
		"limit.rate = \"5/s\"\nlimit.key = 'a{status}'": `:3:16: error: status is not known before an answer`,
		`limit = { rate = "5/s", mode = "delay" }`:      `:2:32: error: "mode" must be "reject" or "log", not "delay"`,
		`limit = { rate = "5/s", max_delay = "1s" }`:    `:2:25: error: unknown key "max_delay" in [rules.limit]`,
		"limit = { rate = \"5/s\" }\ndeny = 403":        `:2:1: error: "limit" has no effect`,
		`limit = { rate = "5/s", burst = -1 }`:          `:2:33: error: "burst" must be between 0 and 1000000`,
		`limit = { rate = "5/s" }`:                      ``,
	} {
		_, rep := config.Parse("edge.toml", []byte("[[rules]]\n"+text+"\n"))
		got := ""
		for i := range rep.Errors {
			got += rep.Errors[i].Error() + "\n"
		}
		if !strings.Contains(got, want) || want == "" && got != "" || strings.Count(got, "error: ") > 1 {
			t.Errorf("%s\n%s want %s", text, got, want)
		}
	}
}

// Rules of a listener run first, then those of all requests, then those of the route; a reload changes them.
func TestRules_ofListenersAllAndRoutes(t *testing.T) {
	origin := func(name string) string { return mirror(t, name) }
	text := quiet + `
[[listeners]]
name = "one"
listen = "127.0.0.1:0"
[[listeners.rules]]
set = { by = "one" }
headers.response = { X-By = "{local.by}" }
[[listeners]]
name = "two"
listen = "127.0.0.1:0"
[[rules]]
when = 'path starts_with "/v1/"'
rewrite = '{path.cut_prefix("/v1")}'
[[rules]]
name = "secret"
when = 'path like "*.git*"'
deny = %d
[[rules]]
when = 'header.x-canary == "1"'
dest = "canary"
[[rules]]
headers.response = { X-All = "{status} {local.by ?? 'nobody'}", X-By = "{local.by ?? 'all'}" }
[upstreams.canary]
backends = [{ address = "` + origin("canary") + `" }]
[[routes]]
name = "api"
pattern = "/api/*"
dest = "` + origin("api") + `"
headers.response = { X-Route = "route", X-All = "route" }
[[routes.rules]]
when = 'path ~ "^/api/(.*)$"'
rewrite = "/{match.1}"
headers = { request = { X-Path = "{path}" }, response = { X-Route = "rule" } }
[[routes]]
pattern = "/own"
dest = "status:204"
`
	s := start(t, Options{}, text, 404)
	for _, c := range []struct {
		listener, path, canary string
		status                 int
		by, all, route, body   string
	}{
		{"one", "/own", "", 204, "one", "204 one", "", ""},
		{"two", "/own", "", 204, "all", "204 nobody", "", ""},
		{"one", "/v1/own", "", 204, "one", "204 one", "", ""},
		{"two", "/.git/config", "", 404, "", "", "", ""},
		{"one", "/.git/config", "", 404, "one", "", "", ""},
		{"two", "/v1/api/x", "", 200, "all", "route", "rule", "api GET /x"},
		{"two", "/api/x", "1", 200, "all", "route", "rule", "canary GET /x"},
	} {
		resp, body := askBy(t, direct, "GET", urlOf(t, s, c.listener)+c.path, "X-Canary: "+c.canary)
		h := resp.Header
		got := fmt.Sprint(resp.StatusCode, h.Get("X-By"), h.Get("X-All"), h.Get("X-Route"))
		want := fmt.Sprint(c.status, c.by, c.all, c.route)
		if got != want || c.body != "" && !strings.HasPrefix(body, c.body) {
			t.Errorf("%s %s: got %s %.60q, want %s %q", c.listener, c.path, got, body, want, c.body)
		}
	}
	wantCounter(t, s, 2, "edge_filter_total", "defaults", "denied", "rules")
	if d := apply(t, s, text, 410); len(d.Entries) == 0 {
		t.Error("a changed rule is no change")
	}
	wantStatus(t, direct, urlOf(t, s, "two")+"/.git", 410, "after a reload")
}

// ruledFilters has rules that name filters.
const ruledFilters = quiet + `
filters.first.type = "test_note"
filters.all.type = "test_note"
filters.own.type = "test_note"
filters.more = { type = "test_note", when = 'query.more != "never"' }
filters.late.type = "test_note"
filters.closed = { type = "maintenance", on = true }
filters.teapot = { type = "maintenance", on = true, status = 418 }
defaults.filters = ["all", "closed"]
rules = [
	{ when = 'has(query.more)', filters = ["more", "!all"] },
	{ when = 'query.more == "both"', filters = ["all", "!own"] },
	{ when = 'query.open == "rule"', filters = ["!closed"] },
	{ when = 'has(query.deny)', filters = ["late"], deny = true },
]
listeners = [
	{ name = "one", listen = "127.0.0.1:0", filters = ["first"], rules = [
		{ when = 'has(query.first)', filters = ["!first"] },
	] },
	{ name = "two", listen = "127.0.0.1:0" },
]
routes = [
	{ pattern = "/*", dest = "status:204", filters = ["own"], rules = [
		{ when = 'query.open == "route"', filters = ["!closed"] },
		{ when = 'has(query.late)', filters = ["late"] },
		{ when = 'has(query.tea)', filters = ["teapot", "!closed"] },
	] },
	{ pattern = "/plain", dest = "status:204", filters = ["!closed", "more"] },
	{ pattern = "/none", dest = "status:204", filters = ["!closed", "!more"] },
]
`

// Rules add filters and take them out, in all phases but those that have run.
func TestRules_filters(t *testing.T) {
	s := start(t, Options{}, "%s", ruledFilters)
	for _, c := range []struct {
		listener, target string
		status           int
		filters          string
	}{
		{"two", "/", 503, "all own"},
		{"one", "/", 503, "first all own"},
		{"one", "/?first", 503, "all own"},
		{"two", "/?first", 503, "all own"},
		{"two", "/?open=rule", 204, "all own"},
		{"two", "/?open=route", 204, "all own"},
		{"two", "/?open=route&late", 204, "all late own"},
		{"two", "/?more", 503, "more own"},
		{"two", "/?more=both", 503, "all more"},
		{"one", "/?more=never&first&open=rule", 204, "own"},
		{"two", "/?deny", 403, "all late"},
		{"two", "/?tea", 418, "all own"},
		{"two", "/plain", 204, "all more"},
		{"two", "/plain?more=both", 204, "all more"},
		{"two", "/plain?more", 204, "more"},
		{"two", "/none?more", 204, ""},
	} {
		resp := askFor(t, "GET", urlOf(t, s, c.listener)+c.target)
		if got := resp.Header.Get("X-Filters"); resp.StatusCode != c.status || got != c.filters {
			t.Errorf("%s %s: got %d %q, want %d %q", c.listener, c.target, resp.StatusCode, got, c.status, c.filters)
		}
	}
}

// foreign are requests for the rules of other programs in docs/rules.md: by the comment before each, the method, the
// target and fields of one that its condition holds for, and of one that it does not hold for; "": it has none.
var foreign = []struct{ begins, holds, not string }{
	{`Cloudflare: http.request.uri.path matches`, "GET /user/17", "GET /user/x"},
	{`Cloudflare: not ip.src in`, "GET / Host: admin.x.org", "GET / Host: x.org"},
	{`Cloudflare: ip.geoip.country`, "GET / client: 177.8.9.10", "GET / client: 81.2.69.1"},
	{`Cloudflare: ip.src.asnum`, "GET / client: 192.0.2.1", "GET / client: 81.2.69.1"},
	{`Cloudflare: http.user_agent eq`, "GET /", "GET / User-Agent: x"},
	{`Cloudflare: ip.src in $office`, "GET / client: 10.1.2.3", "GET / client: 192.0.2.1"},
	{`Cloudflare: any(`, "GET / X: b\r\nX: ba", "GET / X: b"},
	{`nginx: location ~* \.(jpg|png)$`, "GET /A.JPG", "GET /a.jpg/"},
	{`nginx: if ($http_cookie`, "GET / Cookie: a=b; id=1", "GET / Cookie: idx=1"},
	{`nginx: rewrite ^/old/`, "GET /old/a", "GET /older"},
	{`nginx: return 301`, "GET / Host: secure.x.org", "GET / Host: x.org"},
	{`nginx: map $http_upgrade`, "GET /", ""},
	{`nginx: split_clients`, "", "GET / client: 192.0.2.1"},
	{`nginx: limit_req_zone`, "GET /", ""},
	{`nginx: proxy_set_header`, "GET /", ""},
	{`nginx: location ~ /\.git`, "GET /a/.git/x", "GET /git"},
	{`Caddy: @x`, "GET /api/a X: ab", "POST /api/a X: ab"},
	{`Caddy: header_regexp`, "GET / X: v2", "GET / X: v"},
	{`Caddy: expression`, "GET / Host: A.org", "GET / Host: b.a"},
	{`Traefik: Host(`, "GET /?q=1 Host: a", "GET /c Host: a"},
	{`Traefik: ClientIP(`, "GET / client: 10.0.0.1\r\nX: a", "GET / client: 11.0.0.1\r\nX: a"},
	{`Traefik: HostSNI(`, "", "GET /"},
	{`HAProxy: acl a path_beg`, "GET /API/x", "GET /API/x client: 10.0.0.1"},
	{`HAProxy: http-request set-path`, "GET /v1/x", "GET /v2/x"},
	{`HAProxy: balance hdr(X-User)`, "GET /", ""},
	{`HAProxy: ssl_fc_alpn`, "", "GET /"},
	{`HAProxy: http-request tarpit`, "GET /wp-login.php?a", "GET /"},
	{`HAProxy: http-request silent-drop`, "GET / User-Agent: zgrab/0.x", "GET /"},
}

// Each rule of another program on the page does what its comment says: it holds for one request and not for another.
func TestRules_ofOtherPrograms(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testutil.Root(t), "docs/rules.md"))
	testutil.Must(t, err)
	_, page2, _ := strings.Cut(string(page), "## Rules of other programs")
	seen, data := 0, filepath.Join(testutil.Root(t), "internal/match/geo/mmdb/testdata")
	located := strings.NewReplacer(":8080", "127.0.0.1:0", "GeoLite2-Country", data+"/country", "GeoLite2-ASN",
		data+"/asn")
	for _, block := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(page2, -1) {
		parts := strings.Split(block[1], "\n# ")
		route := "[[routes]]" + strings.SplitN(parts[len(parts)-1], "[[routes]]", 2)[1]
		for _, part := range parts[1:] {
			rule, _, _ := strings.Cut(part, "[[routes]]")
			text := located.Replace(parts[0]) + "\n# " + rule + "\n" + route
			cfg, rep := config.Options{Tables: language.NewTables()}.Parse("edge.toml", []byte(text))
			if cfg == nil {
				t.Fatal(rep.Errors)
			}
			cfg.Language.Commit()
			for _, f := range foreign {
				if !strings.HasPrefix(part, f.begins) {
					continue
				}
				seen++
				for _, ask := range []string{f.holds, f.not} {
					if held := holds(t, cfg, ask); ask != "" && held != (ask == f.holds) {
						t.Errorf("%s: for %q it is %v", f.begins, ask, held)
					}
				}
			}
		}
	}
	if seen != len(foreign) {
		t.Errorf("the page has %d of the %d rules", seen, len(foreign))
	}
}

// holds reports whether the only rule of cfg holds for a request: "METHOD TARGET FIELDS", where the field "client" is
// its address.
func holds(t *testing.T, cfg *config.Config, ask string) bool {
	t.Helper()
	if ask == "" {
		return false
	}
	method, rest, _ := strings.Cut(ask, " ")
	target, fields, _ := strings.Cut(rest, " ")
	client := "192.0.2.9"
	if _, after, found := strings.Cut(fields, "client: "); found {
		client, fields, _ = strings.Cut(after, "\r\n")
	}
	if fields != "" {
		fields += "\r\n"
	}
	if !strings.Contains(fields, "Host:") {
		fields += "Host: x.org\r\n"
	}
	got, err := DryRun(cfg, &DryRequest{
		Listener: &cfg.Listeners[0], Wire: []byte(method + " " + target + " HTTP/1.1\r\n" + fields + "\r\n"),
		Client: netip.AddrPortFrom(netip.MustParseAddr(client), 1),
	})
	testutil.Must(t, err)
	if len(got.Rules) != 1 {
		t.Fatalf("%q met %d rules", ask, len(got.Rules))
	}
	return got.Rules[0].Held
}

// A body has the lines and tabs of its text: in a string of several lines, and by escapes.
func TestRules_bodiesHaveLines(t *testing.T) {
	const text = quiet + web + `
[[rules]]
when = 'path == "/escapes"'
respond = { body = "a\n\tb\n" }
[[rules]]
when = 'path == "/lines"'
respond = { body = """
at {path}
	next
""" }
[filters.closed]
type = "maintenance"
on = true
body = """
back
	soon
"""
[[routes]]
pattern = "/*"
dest = "status:204"
filters = ["closed"]
`
	s := start(t, Options{}, text)
	for path, want := range map[string]string{
		"/escapes": "a\n\tb\n", "/lines": "at /lines\n\tnext\n", "/other": "back\n\tsoon\n",
	} {
		if _, got := testutil.Get(t, http.DefaultClient, urlOf(t, s, "web")+path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// A condition of a filter or a rule sees the groups of its route, where no template names one.
func TestRules_conditionsOnGroupsOfTheRoute(t *testing.T) {
	const text = quiet + web + `
[filters.closed]
type = "maintenance"
on = true
when = 'match.1 == "shut"'
[[routes]]
pattern = "/filter/*"
when = 'path ~ "([^/]+)$"'
filters = ["closed"]
dest = "status:204"
[[routes]]
pattern = "/rule/*"
when = 'path ~ "([^/]+)$"'
dest = "status:204"
[[routes.rules]]
when = 'match.1 == "shut"'
deny = 403
`
	s := start(t, Options{}, "%s", text)
	for path, want := range map[string]int{
		"/filter/open": 204, "/filter/shut": 503, "/rule/open": 204, "/rule/shut": 403,
	} {
		if resp, _ := testutil.Get(t, http.DefaultClient, urlOf(t, s, "web")+path); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// upgrades is a backend that notes what it is asked to upgrade to. Safe for any goroutine.
type upgrades struct {
	mu    sync.Mutex
	asked []string // guarded by mu
}

func (u *upgrades) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, strings.Join(r.Header.Values("Connection"), "|")+" "+
		strings.Join(r.Header.Values("Upgrade"), "|"))
}

// take returns what was noted since the last call.
func (u *upgrades) take() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	asked := u.asked
	u.asked = nil
	return asked
}

// askHTTP1 sends a request with some fields, and returns the status.
func askHTTP1(t *testing.T, addr, host, fields string) string {
	w := testutil.Dial(t, addr)
	defer w.Close()
	w.Send("GET /chat HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "Sec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	return strings.Fields(w.ReadHead())[1]
}

// askHTTP2 asks for a WebSocket by an extended CONNECT, and returns the status.
func askHTTP2(t *testing.T, addr, host, protocol string) string {
	t.Helper()
	w := testutil.Dial(t, addr)
	defer w.Close()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "http"},
		{":path", "/chat"}, {":authority", host}, {"sec-websocket-version", "13"}} {
		testutil.Must(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	w.Send(http2.ClientPreface)
	frames := http2.NewFramer(w.Conn(), w.Conn())
	testutil.Must(t, frames.WriteSettings())
	err := frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	testutil.Must(t, err)
	for {
		f, err := frames.ReadFrame()
		testutil.Must(t, err)
		if h, ok := f.(*http2.HeadersFrame); ok {
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment())
			testutil.Must(t, err)
			return fields[0].Value
		}
	}
}

// A rule that refuses WebSockets holds for them whatever version of HTTP they come by, and however a client spells what
// it asks for.
func TestRules_refuseWebSocketsOfBothVersions(t *testing.T) {
	testutil.CheckLeaks(t)
	u := &upgrades{}
	origin := httptest.NewServer(u)
	defer origin.Close()
	conditions := map[string]string{
		"a": `upgrade == "websocket"`,
		"b": `header.upgrade.lower() == "websocket"`,
		"c": `has(header.upgrade)`,
		"d": `header.connection.lower() contains "upgrade"`,
		"e": `has(upgrade)`,
	}
	var text strings.Builder
	fmt.Fprintf(&text, quiet+"http = { name = \"web\", listen = \"127.0.0.1:0\" }\n")
	for name, when := range conditions {
		fmt.Fprintf(&text, "[[rules]]\nwhen = 'host == \"%s.test\" and %s'\ndeny = 403\n", name, when)
	}
	fmt.Fprintf(&text, "[[routes]]\npattern = \"f.test/*\"\nheader = { Upgrade = \"~(?i)^websocket$\" }\n"+
		"dest = \"status:403\"\n[[routes]]\npattern = \"/*\"\ndest = \"%s\"\n", origin.URL)
	s := start(t, Options{}, "%s", text.String())
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	by1 := func(value string) func(host string) string {
		fields := "Connection: Upgrade\r\nUpgrade: " + value + "\r\n"
		return func(host string) string { return askHTTP1(t, addr, host, fields) }
	}
	for how, ask := range map[string]func(host string) string{
		"HTTP/1":         by1("websocket"),
		"HTTP/1, case":   by1("WebSocket"),
		"HTTP/1, list":   by1("websocket, x"),
		"HTTP/1, h2c":    by1("h2c,\tWEBSOCKET "),
		"HTTP/1, fields": by1(",\r\nUpgrade: websocket"),
		"HTTP/2":         func(host string) string { return askHTTP2(t, addr, host, "websocket") },
		"HTTP/2, case":   func(host string) string { return askHTTP2(t, addr, host, "WebSocket") },
	} {
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			status := ask(name + ".test")
			if asked := u.take(); status != "403" || asked != nil {
				t.Errorf("%s, %s: %s, the backend was asked %q", how, conditions[name], status, asked)
			}
		}
		ask("free.test") // the backend is asked once, and refuses
		asked := u.take()
		if len(asked) != 1 || !strings.EqualFold(asked[0], "Upgrade websocket") {
			t.Errorf("%s: the backend was asked %q", how, asked)
		}
	}
}

// cutConditions has a path for the log and a condition.
const cutConditions = `
log.output = ["%s"]
http = { name = "web", listen = "127.0.0.1:0" }
filters.closed = { type = "maintenance", on = true, when = '%[2]s' }
rules = [
	{ when = 'host == "rule.test" and %[2]s', deny = 403 },
	{ when = 'host == "allowed.test" and %[2]s', tag = "seen" },
	{ when = 'host == "answer.test" and %[2]s', deny = 403 },
	{ when = 'host == "answer.test"', respond = { status = 200, body = "hidden" } },
	{ when = 'host == "set.test"', set = { encoded = "{url_encode(url_encode(header.x))}" } },
	{ when = 'local.encoded contains "%%253Cscript"', deny = 403 },
]
routes = [
	{ pattern = "route.test/*", when = '%[2]s', dest = "status:403" },
	{ pattern = "filter.test/*", filters = ["closed"], dest = "status:204" },
	{ pattern = "own.test/*", dest = "status:204", rules = [{ when = '%[2]s', deny = 403 }] },
	{ pattern = "log.test/*", access_log = { path = "%[1]s", when = 'not (%[2]s)' }, dest = "status:204" },
	{ pattern = "/*", dest = "status:204" },
]
`

// A condition that has no room for what it computes is not taken for one that does not hold: a client could make it so.
func TestConditions_refuseWhatTheyCannotAskWhole(t *testing.T) {
	testutil.CheckLeaks(t)
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, cutConditions, log, `url_encode(url_encode(header.x)) contains "%253Cscript"`)
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	ask := func(host string, fields ...string) string {
		w := testutil.Dial(t, addr)
		defer w.Close()
		w.Send("GET / HTTP/1.1\r\nHost: " + host + "\r\nX: " + strings.Join(fields, "\r\nX: ") + "\r\n\r\n")
		return strings.Fields(w.ReadHead())[1]
	}
	const evil = "<script"
	room, beyond := strings.Repeat("<", 4000), strings.Repeat("<", 10_000)
	for _, c := range []struct{ host, plain, held, cut string }{
		{"rule.test", "204", "403", "400"},
		{"allowed.test", "204", "204", "400"},
		{"answer.test", "200", "403", "400"},
		{"set.test", "204", "403", "400"},
		{"route.test", "204", "403", "400"},
		{"filter.test", "204", "503", "400"},
		{"own.test", "204", "403", "400"},
		{"log.test", "204", "204", "204"},
	} {
		for _, r := range []struct{ how, want, got string }{
			{"plain", c.plain, ask(c.host, "x")},
			{"what it looks for", c.held, ask(c.host, evil)},
			{"what it looks for, after two values", c.held, ask(c.host, room, room, evil)},
			{"beyond the room", c.cut, ask(c.host, beyond+evil)},
			{"beyond the room, in one of two", c.cut, ask(c.host, beyond, "x")},
		} {
			if c.host == "set.test" && strings.Contains(r.how, "two values") {
				continue // texts of several values are one text
			}
			wantEqual(t, r.got, r.want, "%s, %s", c.host, r.how)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		b, err := os.ReadFile(log)
		return err == nil && strings.Count(string(b), `"client:cut"`) == 14
	}, fmt.Sprintf("the log has the reason in %s", log))
}
