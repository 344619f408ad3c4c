package server

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy/cache"
)

// countedOrigin answers each request with its number, and with the fields that its query has.
func countedOrigin(t *testing.T) (addr string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.URL.Query() {
			w.Header().Set(name, values[0])
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/missing"):
			w.WriteHeader(404)
		case r.URL.Path == "/moved":
			w.WriteHeader(301)
		}
		fmt.Fprintf(w, "%d %s %s", asked.Add(1), r.URL.Path, r.Header.Get("X-Env"))
	}))
	t.Cleanup(o.Close)
	return o.Listener.Addr().String(), asked
}

const fresh = "?Cache-Control=max-age%3D600"

// cacheStatus returns the body of an answer and what Cache-Status says of it, without the lifetime.
func cacheStatus(t *testing.T, s *Server, path string) (body, status string) {
	t.Helper()
	resp := askFor(t, "GET", urlOf(t, s, "web")+path)
	status, _, _ = strings.Cut(resp.Header.Get("Cache-Status"), "; ttl")
	return bodyOf(t, resp), status
}

const (
	cacheMiss = "edge; fwd=uri-miss; fwd-status=200; stored"
	cacheHit  = "edge; hit"
)

// wantCached fails unless the answer for path begins so and Cache-Status says so.
func wantCached(t *testing.T, s *Server, path, body, status string) {
	t.Helper()
	if b, st := cacheStatus(t, s, path); !strings.HasPrefix(b, body+" ") || st != status {
		t.Errorf("%s: %q, Cache-Status: %q, want %q and %q", path, b, st, body, status)
	}
}

// Files go into the cache whole, be they sent from memory, from the file, or in many pieces to a client that waits for
// the same fill.
func TestCaches_ofFiles(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"/empty": "", "/small": "small\n", "/large": strings.Repeat("large\n", 100_000)}
	for name, text := range files {
		testutil.Must(t, os.WriteFile(dir+name, []byte(text), 0o600))
	}
	s := start(t, Options{}, web+"cache.memory = \"64m\"\n"+
		"routes = [{ pattern = \"/*\", dest = \"static:%s\", cache = { ttl = \"10m\" } }]\n", dir)
	for name, text := range files {
		if resp := askFor(t, "HEAD", urlOf(t, s, "web")+name); int(resp.ContentLength) != len(text) {
			t.Errorf("%s: %d bytes by HEAD", name, resp.ContentLength)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if got, _ := cacheStatus(t, s, name); got != text {
					t.Errorf("%s: %d of %d bytes", name, len(got), len(text))
				}
			})
		}
		all.Wait()
		if got, status := cacheStatus(t, s, name); got != text || status != cacheHit {
			t.Errorf("%s: %d of %d bytes, Cache-Status: %q", name, len(got), len(text), status)
		}
	}
}

// A second request is answered from the store: Cache-Status, the access log and the metrics say so.
func TestCaches_secondRequestIsAHit(t *testing.T) {
	testutil.CheckLeaks(t)
	addr, asked := countedOrigin(t)
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, "log.output = [%q]\n"+web+`
routes = [
	{ name = "cached", pattern = "/*", dest = %q, cache = true },
	{ name = "plain", pattern = "/plain/*", dest = %q },
]
`, path, addr, addr)
	wantCached(t, s, "/a"+fresh, "1", cacheMiss)
	wantCached(t, s, "/a"+fresh, "1", cacheHit)
	askFor(t, "POST", urlOf(t, s, "web")+"/a"+fresh)
	wantCached(t, s, "/plain/a"+fresh, "3", "")
	wantCached(t, s, "/plain/a"+fresh, "4", "")
	if asked.Load() != 4 {
		t.Errorf("the backend was asked %d times", asked.Load())
	}
	page := values(t, scrape(t, s))
	for line, want := range map[string]float64{
		`edge_cache_requests_total{route="cached",status="hit"}`:    1,
		`edge_cache_requests_total{route="cached",status="miss"}`:   1,
		`edge_cache_requests_total{route="cached",status="bypass"}`: 1,
		`edge_cache_reasons_total{reason="method"}`:                 1,
		`edge_cache_reasons_total{reason="no-store"}`:               0,
		`edge_cache_fills_total{result="stored"}`:                   1,
		`edge_cache_fills_total{result="failed"}`:                   0,
		`edge_cache_followers_total`:                                0,
		`edge_cache_objects{tier="memory"}`:                         1,
		`edge_cache_evictions_total{tier="memory"}`:                 0,
	} {
		if got, there := page[line]; !there || got != want {
			t.Errorf("%s is %v, want %v", line, got, want)
		}
	}
	if page[`edge_cache_bytes{tier="memory"}`] <= 0 {
		t.Error("the store has no bytes")
	}
	testutil.Must(t, s.Stop())
	var all []string
	for line := range strings.Lines(readFile(path)) {
		var l struct {
			Method, Cache string
			Reason        string `json:"cache_reason"`
			Age           *int   `json:"cache_age"`
		}
		testutil.Must(t, json.Unmarshal([]byte(line), &l))
		all = append(all, fmt.Sprint(l.Method, " ", l.Cache, " ", l.Reason, " ", l.Age != nil))
	}
	want := []string{"GET   false", "GET   false", "GET hit  true", "GET miss  false", "POST bypass method false"}
	if slices.Sort(all); !slices.Equal(all, want) {
		t.Errorf("logged %q, want %q", all, want)
	}
}

// A route has its own word before [defaults], ttl gives lifetimes by status, and a program without a cache has none.
func TestCaches_keysOfRoutes(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+`
cache.status = false
defaults.cache = true
`+web+`
routes = [
	{ pattern = "/*", dest = %q },
	{ pattern = "/off/*", dest = %q, cache = false },
	{ pattern = "/missing", dest = %q, cache.ttl = { 404 = "10s" } },
]
`, addr, addr, addr)
	for _, c := range []struct {
		path   string
		bodies []string
	}{{"/a" + fresh, []string{"1", "1"}}, {"/off/a" + fresh, []string{"2", "3"}}, {"/missing", []string{"4", "4"}},
		{"/missing/a", []string{"5", "6"}}, {"/b", []string{"7", "8"}}} {
		for _, body := range c.bodies {
			want := body
			if b, status := cacheStatus(t, s, c.path); !strings.HasPrefix(b, want+" ") || status != "" {
				t.Errorf("%s: %q, Cache-Status %q, want %q and none", c.path, b, status, want)
			}
		}
	}
}

// Routes share answers where they lead to one upstream and tell it the same; a key and a query make others of them.
func TestCaches_whatRoutesShare(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+"defaults.cache = true\n"+web+`
upstreams.one.backends = [{ address = %q }]
upstreams.two.backends = [{ address = %q }]
routes = [
	{ pattern = "/*", dest = "one" },
	{ pattern = "a.test/*", dest = "one" },
	{ pattern = "/1/*", dest = "one", rewrite.strip_prefix = "/1" },
	{ pattern = "/2/*", dest = "two", rewrite.strip_prefix = "/2" },
	{ pattern = "/told/*", dest = "one", rewrite.strip_prefix = "/told", headers.request.X-Env = "prod" },
	{ pattern = "/ruled/*", dest = "one", rewrite.strip_prefix = "/ruled", rules = [
		{ headers.request.X-Env = "test" },
	] },
	{ pattern = "/lang/*", dest = "one", cache.key = ["{header.x-lang}"],
		cache.query = { drop = ["utm_*"], sort = true } },
]
`, addr, addr)
	url := urlOf(t, s, "web")
	for _, c := range []struct {
		path  string
		field string
		body  string
	}{
		{"/a", "", "1 /a"}, {"/1/a", "", "1 /a"}, {"/2/a", "", "2 /a"}, {"/told/a", "", "3 /a prod"},
		{"/ruled/a", "", "4 /a test"}, {"/a", "", "1 /a"}, {"/a", "Host: a.test", "5 /a"},
		{"/lang/a", "X-Lang: de", "6 /lang/a"}, {"/lang/a", "X-Lang: en", "7 /lang/a"},
		{"/lang/a", "X-Lang: de", "6 /lang/a"},
	} {
		resp := askFor(t, "GET", url+c.path+fresh, c.field)
		if body := bodyOf(t, resp); strings.TrimSpace(body) != c.body {
			t.Errorf("%s %s: %q, want %q", c.path, c.field, body, c.body)
		}
	}
	for _, query := range []string{fresh + "&b=1&a=2&utm_x=1", "?a=2&utm_y&b=1&Cache-Control=max-age%3D600"} {
		wantPrefix(t, bodyOf(t, askFor(t, "GET", url+"/lang/q"+query)), "8 ", "%s", query)
	}
}

// wantAnswers sends the requests of cases in order, and fails where an answer is another one.
func wantAnswers(t *testing.T, cases []cacheCase) {
	t.Helper()
	for _, c := range cases {
		resp := askFor(t, "GET", c.url+fresh, c.fields...)
		status, _, _ := strings.Cut(resp.Header.Get("Cache-Status"), "; ttl")
		if body := strings.TrimSpace(bodyOf(t, resp)); body != c.body || status != c.status {
			t.Errorf("%s %q: %q, Cache-Status: %q, want %q and %q", c.url, c.fields, body, status, c.body, c.status)
		}
	}
}

type cacheCase struct {
	url          string
	fields       []string
	body, status string
}

// A field that the rule of another listener sets is not in the answers to the public.
func TestCaches_rulesOfListeners(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+web+`
listeners = [{ name = "internal", listen = "127.0.0.1:0", rules = [{ headers.request.X-Env = "SECRET" }] }]
routes = [{ pattern = "/*", dest = %q, cache = true }]
`, addr)
	public, internal, host := urlOf(t, s, "web")+"/a", urlOf(t, s, "internal")+"/a", []string{"Host: a.test"}
	wantAnswers(t, []cacheCase{
		{internal, host, "1 /a SECRET", cacheMiss}, {public, host, "2 /a", cacheMiss},
		{internal, host, "1 /a SECRET", cacheHit}, {public, host, "2 /a", cacheHit},
	})
}

// A rule that holds for some requests makes other answers for them, and so does a value of the request.
func TestCaches_rulesWithConditions(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+web+`
rules = [{ when = 'header.x-beta == "1"', headers.request.X-Env = "beta" }]
routes = [
	{ pattern = "/*", dest = %q, cache = true },
	{ pattern = "/user/*", dest = %[1]q, headers.request.X-Env = "{header.x-user}", cache = true },
]
`, addr)
	url, beta := urlOf(t, s, "web"), []string{"X-Beta: 1"}
	anna, bob := []string{"X-User: anna"}, []string{"X-User: bob"}
	wantAnswers(t, []cacheCase{
		{url + "/a", beta, "1 /a beta", cacheMiss}, {url + "/a", nil, "2 /a", cacheMiss},
		{url + "/a", beta, "1 /a beta", cacheHit}, {url + "/a", nil, "2 /a", cacheHit},
		{url + "/user/a", anna, "3 /user/a anna", cacheMiss}, {url + "/user/a", bob, "4 /user/a bob", cacheMiss},
		{url + "/user/a", nil, "5 /user/a", cacheMiss}, {url + "/user/a", anna, "3 /user/a anna", cacheHit},
		{url + "/user/a", bob, "4 /user/a bob", cacheHit}, {url + "/user/a", nil, "5 /user/a", cacheHit},
	})
}

// A rule turns the cache off for visitors with a session, and on for a path of a route without.
func TestCaches_rulesTurnItOnAndOff(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+web+`
rules = [{ when = 'cookie.session != ""', cache = false }]
routes = [
	{ name = "cached", pattern = "/*", dest = %q, cache = true },
	{ name = "plain", pattern = "/plain/*", dest = %[1]q, rules = [
		{ when = 'path starts_with "/plain/img/" and cookie.session == ""', cache = true },
	] },
]
`, addr)
	url, session := urlOf(t, s, "web"), []string{"Cookie: session=1"}
	const off = "edge; fwd=bypass; fwd-status=200; detail=off"
	wantAnswers(t, []cacheCase{
		{url + "/a", nil, "1 /a", cacheMiss}, {url + "/a", session, "2 /a", off}, {url + "/a", nil, "1 /a", cacheHit},
		{url + "/plain/a", nil, "3 /plain/a", ""}, {url + "/plain/a", nil, "4 /plain/a", ""},
		{url + "/plain/img/a", nil, "5 /plain/img/a", cacheMiss},
		{url + "/plain/img/a", nil, "5 /plain/img/a", cacheHit},
	})
	if hits, off := counter(s, "edge_cache_requests_total", "plain", "hit"),
		counter(s, "edge_cache_requests_total", "cached", "bypass"); hits != 1 || off != 1 {
		t.Errorf("%v hits and %v that went by are counted", hits, off)
	}
}

// A table of a rule gives other lifetimes and another key, for the requests of its listener, of its route or all. The
// last rule that holds counts.
func TestCaches_tablesOfRules(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+web+`
rules = [{ when = 'header.x-lang != ""', cache.key = "{header.x-lang}" }]
listeners = [
	{ name = "internal", listen = "127.0.0.1:0", rules = [
		{ set = { who = "inside" }, cache = { ttl = { 404 = "1m" }, key = "{local.who}" } },
	] },
]
routes = [
	{ pattern = "/*", dest = %q, cache = true },
	{ pattern = "/missing/*", dest = %[1]q, rules = [
		{ when = 'query.keep == "1"', cache.ttl = { 404 = "1m" } },
	] },
]
`, addr)
	public, internal := urlOf(t, s, "web"), urlOf(t, s, "internal")
	host := []string{"Host: a.test"}
	de, en := append(host, "X-Lang: de"), append(host, "X-Lang: en")
	wantAnswers(t, []cacheCase{
		{public + "/a", host, "1 /a", cacheMiss}, {internal + "/a", host, "2 /a", cacheMiss},
		{public + "/a", de, "3 /a", cacheMiss}, {public + "/a", en, "4 /a", cacheMiss},
		{internal + "/a", de, "3 /a", cacheHit}, {internal + "/a", host, "2 /a", cacheHit},
		{public + "/a", en, "4 /a", cacheHit}, {public + "/a", host, "1 /a", cacheHit},
	})
	for _, c := range [][2]string{{"/missing/a", "5"}, {"/missing/a", "6"}, {"/missing/a?keep=1", "7"},
		{"/missing/a?keep=1", "7"}} {
		if body, status := cacheStatus(t, s, c[0]); !strings.HasPrefix(body, c[1]+" ") {
			t.Errorf("%s: %q, Cache-Status: %q, want %s", c[0], body, status, c[1])
		}
	}
}

// Rules of a new configuration go by what an earlier one has stored.
func TestCaches_rulesOverReloads(t *testing.T) {
	addr, _ := countedOrigin(t)
	file := func(rules string) string {
		return "global.worker_threads = 2\n" + quiet + web + "[[routes]]\nname = \"r\"\npattern = \"/*\"\n" +
			fmt.Sprintf("dest = %q\n", addr) + rules
	}
	s := serve(t, parse(t, file("[[routes.rules]]\ncache = true\n")), Options{})
	wantCached(t, s, "/a"+fresh, "1", cacheMiss)
	for _, c := range []struct{ rules, body, status string }{
		{"[[rules]]\ntag = \"a\"\n[[rules]]\ncache.ttl = \"1s\"\n", "1", cacheHit},
		{"cache = true\n[[rules]]\ncache = false\n", "2", "edge; fwd=bypass; fwd-status=200; detail=off"},
		{"cache = true\n", "1", cacheHit},
		{"cache = true\n[[rules]]\ncache = { obey = \"ttl\", ttl = 5 }\n", "3", cacheMiss},
		{"[[rules]]\ncache = false\n", "4", ""},
		{"[[rules]]\ncache = true\n", "5", cacheMiss}, // the store was given back
	} {
		mustApply(t, s, parse(t, file(c.rules)))
		wantCached(t, s, "/a"+fresh, c.body, c.status)
	}
}

// A disk without room for its size is refused by a check, by a start and by the reload that brings it; a reload that
// leaves it as it is goes through.
func TestCaches_diskWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	testutil.Must(t, os.Chmod(dir, 0o700))
	of := func(size string) *config.Config {
		return parse(t, quiet+web+"[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = \"127.0.0.1:1\"\ncache = true\n"+
			fmt.Sprintf("[cache]\ndisk = { path = %q, size = %q }\n", dir, size))
	}
	const want = "and keeps a 20th free: write a size of [cache] of "
	fine, large := of("64m"), of("1024t")
	if found := CheckState(fine, dir); len(found) > 0 {
		t.Errorf("a check: %q", found)
	}
	if found := CheckState(large, dir); len(found) != 1 || !strings.Contains(found[0].Message, want) ||
		found[0].Line == 0 {
		t.Errorf("a check: %q, want %q", found, want)
	}
	s := serve(t, fine, Options{})
	wantRefused(t, s, large, want)
	s.present = large // of a time when there was room
	if _, err := s.Apply(of("1024t")); err != nil {
		t.Errorf("a reload that does not touch the disk: %v", err)
	}
	testutil.Must(t, s.Stop())
	s, err := New(large, Options{})
	testutil.Must(t, err)
	defer s.Stop() //nolint:errcheck // it has not started
	if err = s.Start(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a start: %v, want %q", err, want)
	}
}

// Two fields with one value are two requests.
func TestCaches_namesOfFields(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+"defaults.cache = true\n"+web+`
upstreams.one.backends = [{ address = %q }]
routes = [
	{ pattern = "/1/*", dest = "one", rewrite.strip_prefix = "/1", headers.request.X-Env = "prod" },
	{ pattern = "/2/*", dest = "one", rewrite.strip_prefix = "/2", headers.request.X-Role = "prod" },
]
`, addr)
	url := urlOf(t, s, "web")
	wantAnswers(t, []cacheCase{{url + "/1/a", nil, "1 /a prod", cacheMiss}, {url + "/2/a", nil, "2 /a", cacheMiss}})
}

// A Location that is stored names a path of its route.
func TestCaches_locationsOfRoutes(t *testing.T) {
	addr, asked := countedOrigin(t)
	s := start(t, Options{}, quiet+"defaults.cache = true\n"+web+`
upstreams.one.backends = [{ address = %q }]
routes = [
	{ pattern = "/a/*", dest = "one", rewrite.strip_prefix = "/a", rewrite_location = true },
	{ pattern = "/b/*", dest = "one", rewrite.strip_prefix = "/b", rewrite_location = true },
	{ pattern = "/c/*", dest = "one", rewrite.strip_prefix = "/c" },
]
`, addr)
	for range 2 {
		for prefix, want := range map[string]string{"/a": "/a/login", "/b": "/b/login", "/c": "/login"} {
			resp := askFor(t, "GET", urlOf(t, s, "web")+prefix+"/moved"+fresh+"&Location=/login")
			if got := resp.Header.Get("Location"); got != want || resp.StatusCode != 301 {
				t.Errorf("%s: %d, Location: %s, want %s", prefix, resp.StatusCode, got, want)
			}
		}
	}
	if asked.Load() != 3 {
		t.Errorf("the backend was asked %d times", asked.Load())
	}
}

// A field with the address of the client, as backends log it, does not make a key for every client.
func TestCaches_addressesOfClients(t *testing.T) {
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+web+`
[[routes]]
pattern = "/*"
dest = %q
headers.request = { X-Env = "{client.ip}", X-Request-Id = "{request.id}" }
cache = true
`, addr)
	for _, client := range []string{"127.0.0.1", "127.0.0.2"} {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
		c := http.Client{Transport: &http.Transport{DialContext: from.DialContext, DisableKeepAlives: true}}
		resp, err := c.Get(urlOf(t, s, "web") + "/a" + fresh)
		testutil.Must(t, err)
		wantEqual(t, bodyOf(t, resp), "1 /a 127.0.0.1", "%s", client)
		resp.Body.Close()
	}
}

// What is stored stays over reloads, also failed ones, and the keys of the new configuration hold.
func TestCaches_reloads(t *testing.T) {
	addr, _ := countedOrigin(t)
	file := func(cache string) string {
		return "global.worker_threads = 2\n" + quiet + web + "[[routes]]\nname = \"r\"\npattern = \"/*\"\n" +
			fmt.Sprintf("dest = %q\n", addr) + cache
	}
	told := []int64{}
	s := serve(t, parse(t, file("")), Options{Reserve: func(n int64) { told = append(told, n) }})
	if page := scrape(t, s); strings.Contains(page, "edge_cache_") || len(told) > 0 {
		t.Error("there are series of a cache, and no cache")
	}
	wantCached(t, s, "/a"+fresh, "1", "")
	reload := func(cache string) {
		t.Helper()
		mustApply(t, s, parse(t, file(cache)))
	}

	// A reload that fails leaves no cache where there was none, and the one where there was one.
	last := len(s.parts) - 1
	fail := func(cache string) {
		t.Helper()
		p := s.parts[last]
		s.parts[last] = failing{p, "commit"}
		_, err := s.Apply(parse(t, file(cache)))
		if s.parts[last] = p; err == nil {
			t.Fatal("it did not fail")
		}
	}
	fail("cache = true\n")
	if s.caches.now.Load() != nil || s.caches.next != nil {
		t.Error("a reload that failed has left a cache")
	}
	reload("cache = true\n[cache]\nmemory = \"8m\"\n")
	wantCached(t, s, "/a"+fresh, "2", cacheMiss)
	zone := s.caches.now.Load().Zone
	fail("")
	fail("cache = { query.drop = [\"x\"] }\n")
	wantCached(t, s, "/a"+fresh, "2", cacheHit)

	reload("cache.query.drop = [\"x\"]\n[cache]\nmemory = \"16m\"\n")
	if now := s.caches.now.Load(); now.Zone != zone || now.memory != 8<<20 {
		t.Error("a reload has made another store")
	}
	wantCached(t, s, "/a"+fresh+"&x=1", "2", cacheHit)
	wantCounter(t, s, 2, "edge_cache_requests_total", "r", "hit")

	gone := collected(zone)
	zone = nil
	reload("cache = false\n")
	wantCached(t, s, "/a"+fresh, "3", "")
	if strings.Contains(scrapeNow(s), "edge_cache_") {
		t.Error("there are still series of a cache")
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		return gone()
	}, "the store is given back")
	reload("cache = true\n")
	wantCached(t, s, "/a"+fresh, "4", cacheMiss)
	if len(told) != 3 || told[0] != 8<<20 || told[1] != 0 || told[2] == 0 {
		t.Errorf("the process was told of %d bytes", told)
	}
}

// What a type of destination answers by itself comes through a cache as it is.
func TestCaches_beforeDestinationOfAModule(t *testing.T) {
	s := start(t, Options{}, quiet+`
destinations.hello = { type = "test_greet", text = "hello" }
`+web+`
routes = [{ pattern = "/*", dest = "hello", cache.ttl = "1m" }]
`)
	for range 2 {
		if body, _ := cacheStatus(t, s, "/a"); strings.TrimSpace(body) != "hello /a" {
			t.Errorf("%q", body)
		}
	}
}

func TestCacheMemoryOf(t *testing.T) {
	const m, g = 1 << 20, 1 << 30
	for _, c := range []struct{ asked, limit, want int64 }{
		{0, 8 * g, 256 * m}, {0, 2 * g, 256 * m}, {0, 1 * g, 128 * m}, {0, 16 * m, 2 * m}, {0, 4 * m, 1 * m},
		{1 * g, 8 * g, 1 * g}, {1 * g, 2 * g, 1 * g}, {3 * g, 2 * g, 1 * g}, {1 * m, 16 * m, 1 * m},
		{2 * m, 1 * m, 1 * m},
	} {
		wantEqual(t, cacheMemoryOf(c.asked, c.limit), c.want, "memory %d of %d", c.asked, c.limit)
	}
}

// The budget of the engine is less by the memory of the cache.
func TestCaches_budgetOfTheEngine(t *testing.T) {
	addr, _ := countedOrigin(t)
	for text, want := range map[string]int64{"": 32 << 20, "[cache]\nmemory = \"8m\"\n": 32 << 20,
		"cache = true\n": 28 << 20, "cache = true\n[cache]\nmemory = \"16m\"\n": 24 << 20} {
		s := start(t, Options{}, "global.memory_limit = \"64m\"\n"+quiet+web+
			"[[routes]]\npattern = \"/*\"\ndest = %q\n"+text, addr)
		wantEqual(t, s.engine.Memory(), want, "%q: a budget of", text)
	}
}

// Each word of a key is its constant in package policy, and each key of a route has an effect.
func TestCacheRoute_eachKey(t *testing.T) {
	const text = "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\ncache.%s\n"
	of := func(key string) cache.Route {
		cfg := parse(t, fmt.Sprintf("allow = [\"cache-cookies\", \"no-effect\"]\n"+text, key))
		r, on := choicesOf(cfg).routeOf(cfg, &cfg.Routes[0])
		if !on || r.Off {
			t.Fatalf("%s has no cache", key)
		}
		return r
	}
	plain := of("enabled = true")
	for _, key := range []string{`ttl = "1m"`, `obey = "ttl"`, `ttl_max = "1m"`, `heuristic_max = 0`, `key = "{host}"`,
		`query.drop = "a"`, `query.keep = "a"`, `query.sort = true`, `cookies = "ignore"`, `set_cookie = "strip"`,
		`lock_timeout = "1s"`, `fin_to_cache = false`, `stale_while = "1s"`, `stale_on_error = 0`,
		`request_directives = "honour"`, `fill = "known"`, `range_fill = 0`} {
		if fmt.Sprintf("%+v", of(key)) == fmt.Sprintf("%+v", plain) {
			t.Errorf("%s changes nothing", key)
		}
		name, _, _ := strings.Cut(key, " ")
		shares := !slices.Contains([]string{"obey", "key", "cookies", "set_cookie", "request_directives", "fill"}, name)
		if (of(key).Identity == plain.Identity) != shares || of(key).Identity != of(key).Identity {
			t.Errorf("routes with and without %s share answers: %v", key, !shares)
		}
	}
	wantEqual(t, of(`cookies = "ignore"`).Rules.Cookies, policy.Ignore, "ignore")
	wantEqual(t, of(`set_cookie = "strip"`).Rules.SetCookie, policy.Strip, "strip")
	wantEqual(t, of(`set_cookie = "store"`).Rules.SetCookie, policy.Store, "store")
	if of("range_fill = 0").RangeFill >= 0 || of(`range_fill = "2k"`).RangeFill != 2048 {
		t.Error("range_fill is another number")
	}
	other := of("enabled = true\n[cache]\ntargeted = []")
	if len(other.Rules.Targeted) != 0 || len(plain.Rules.Targeted) != 2 || other.Identity == plain.Identity {
		t.Errorf("targeted: %q, before %q", other.Rules.Targeted, plain.Rules.Targeted)
	}
	known := of("fill = \"known\"\ncache.key = [\"{header.x-lang}\", \"{header.a.lower()}\"]\n" +
		"headers.request = { X-Real-IP = \"{client.ip}\", X-Env = \"prod\" }").Rules.Known
	if !slices.Equal(known, []string{"x-env", "x-lang", "x-real-ip"}) {
		t.Errorf("known are %q", known)
	}
}

// One choice stands for each rule that has the key, and turns the cache of a route on, off or into another one.
func TestChoices_ofRoutes(t *testing.T) {
	cfg := parse(t, `
http.listen = "127.0.0.1:0"
rules = [
	{ cache = true },
	{ tag = "a" },
]
routes = [
	{ host = ["a.test", "b.test"], dest = "10.0.0.1:80", rules = [
		{ cache = { ttl = "1s", key = "{host}" } },
	] },
	{ pattern = "/*", dest = "10.0.0.1:80", cache = true, rules = [{ cache = false }] },
	{ pattern = "/s", dest = "status:404" },
]
`)
	said := choicesOf(cfg)
	if len(said) != 3 || said.of(&cfg.Rules[1]) != nil || said.of(&cfg.Rules[0]) == nil {
		t.Fatalf("got %v", said)
	}
	table := said.of(&cfg.Routes[0].Rules[0])
	for i := range 2 {
		r, on := said.routeOf(cfg, &cfg.Routes[i])
		if !on || !r.Off || len(r.Choices) != 2 || len(r.Choices[table].Texts) != 1 ||
			len(r.Choices[said.of(&cfg.Rules[0])].Texts) != 0 {
			t.Errorf("host %d: %v, %+v", i, on, r)
		}
	}
	r, on := said.routeOf(cfg, &cfg.Routes[2])
	if !on || r.Off || len(r.Choices) != 1 || r.Choices[said.of(&cfg.Rules[0])].Identity != r.Identity {
		t.Errorf("got %v, %+v", on, r)
	}
	if _, on = said.routeOf(cfg, &cfg.Routes[3]); on {
		t.Error("an answer of edge's own is cached")
	}
}

// By curl, in each version of HTTP: one answer for all of them, and another one for https.
func TestCaches_byCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.IssueTo(t, dir, "example", nil, "example.org")
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	addr, _ := countedOrigin(t)
	s := start(t, Options{}, quiet+web+`
listeners = [{ name = "secure", listen = "127.0.0.1:0", cert = %q, key = %q }]
routes = [{ pattern = "/*", dest = %q, cache = true }]
`, filepath.Join(dir, "example.pem"), filepath.Join(dir, "example.key"), addr)
	_, port, _ := strings.Cut(strings.TrimPrefix(urlOf(t, s, "web"), "http://"), ":")
	_, secure, _ := strings.Cut(strings.TrimPrefix(urlOf(t, s, "secure"), "http://"), ":")
	const miss, hit = " 200 edge; fwd=uri-miss", " 200 edge; hit"
	for _, c := range []struct{ option, url, want string }{
		{"--http1.1", "http://example.org:" + port, "1 /a " + miss},
		{"--http1.1", "http://example.org:" + port, "1 /a " + hit},
		{"--http1.0", "http://example.org:" + port, "1 /a " + hit},
		{"--http2-prior-knowledge", "http://example.org:" + port, "1 /a " + hit},
		{"--head", "http://example.org:" + port, hit},
		{"--http2", "https://example.org:" + secure, "2 /a " + miss},
		{"--http1.1", "https://example.org:" + secure, "2 /a " + hit},
	} {
		out, err := exec.Command(curl, "-sS", "-o", filepath.Join(dir, "body"),
			"--cacert", filepath.Join(dir, "ca.pem"),
			"--connect-to", "::127.0.0.1:", c.option, "-w", "%{http_code} %header{cache-status}",
			c.url+"/a"+fresh).Output()
		got := readFile(filepath.Join(dir, "body")) + " " + string(out)
		if c.option == "--head" {
			got = " " + string(out)
		}
		if err != nil || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %s: %q, %v, want %q", c.option, c.url, got, err, c.want)
		}
	}
}
