package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// cachedProcess is an edge with a cache, before an origin that answers each request with its number, and with the
// fields that its query has.
type cachedProcess struct {
	*running
	t      *testing.T
	socket string
}

const cachedFile = `
[admin]
listen = "unix:%s"
[http]
listen = "127.0.0.1:0"
[[routes]]
pattern = "/*"
dest = "%s"
%s
`

func startCached(t *testing.T, keys string) *cachedProcess {
	t.Helper()
	var asked atomic.Int64
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.URL.Query() {
			w.Header().Set(name, values[0])
		}
		fmt.Fprintln(w, asked.Add(1))
	}))
	t.Cleanup(o.Close)
	p := &cachedProcess{t: t, socket: testutil.SocketPath(t)}
	addr := o.Listener.Addr().String()
	p.running = start(t, cachedFile, p.socket, addr, strings.ReplaceAll(keys, "ADDR", addr))
	p.WaitLine(`"section":"admin"`)
	return p
}

// get sends requests by curl, and returns the bodies of the answers. The port of the URLs is left out.
func (p *cachedProcess) get(args ...string) []string {
	p.t.Helper()
	return strings.Fields(curlWith(p.t, append([]string{"--connect-to", ":80:" + p.addr}, args...)...))
}

const lasting = "?Cache-Control=max-age%3D600"

// Commands and calls of the API purge what they name, and nothing else. Mistakes are told in a sentence, and purge
// nothing.
func TestCache_purge(t *testing.T) {
	t.Parallel()
	p := startCached(t, "cache.query.drop = \"utm_*\"")
	const a, b = "http://a.test/", "http://b.test/"
	names, urls := []string{"a1", "a2", "a3", "b1", "b2"}, []string{a + "shop/1" + lasting + "&Cache-Tag=red,new",
		a + "shop/2" + lasting, a + "shopping" + lasting + "&Surrogate-Key=red", b + "shop/1" + lasting,
		b + lasting + "&Cache-Groups=%22red%22"}
	const done, noHost = "edge: purged, number ", `is no URL with a host: write it as "http://example.com/a"`
	before, last := p.get(urls...), uint64(0)
	for _, c := range []struct {
		args  string // with "|" between them; names stand for URLs
		code  int
		said  string
		ended string
	}{
		{"a1", 0, done, "a1"}, {"a1|b1|--json", 0, `"seq": `, "a1 b1"}, {"a2|--soft", 0, done, "a2"},
		{a + "shop/2" + lasting + "&utm_x=1", 0, done, "a2"}, {a + "shop/2", 0, done, ""},
		{"https://A.test:8443/shop/%32" + lasting, 0, done, "a2"}, {"--prefix|" + a, 0, done, "a1 a2 a3"},
		{"--prefix|" + a + "shop/", 0, done, "a1 a2"}, {"--prefix|" + a + "shop/1/", 0, done, ""},
		{"--host|B.test:81", 0, done, "b1 b2"}, {"--host|test", 0, done, ""}, {"--tag|red", 0, done, "a1 a3"},
		{"--tag|new|--soft", 0, done, "a1"}, {"--tag|Red", 0, done, ""}, {"--all", 0, done, "a1 a2 a3 b1 b2"},
		{"--all|--soft", 0, done, "a1 a2 a3 b1 b2"}, {"a1|/shop/2|a2", 1, `"/shop/2" ` + noHost, "a1"},
		{"a2|/shop/2", 1, `1 of 2 URLs were purged: those before "/shop/2"`, "a2"},
		{"ftp://a.test/", 1, noHost, ""}, {"http:///a", 1, "has no valid host", ""},
		{a + "a b", 1, "has a fragment, or a byte to be written as %XX", ""},
		{"--prefix|" + a + "sho", 1, `ends inside a segment: write "/" at its end`, ""},
		{"--prefix|" + a + "shop/?a=/", 1, "is no prefix: it has a query", ""},
		{"--prefix|" + a + strings.Repeat("a/", 16), 1, "has more than 15 segments", ""},
		{"--host|a b", 1, `"a b" is no host`, ""}, {"--tag|red, new", 1, "has a blank or a comma", ""},
		{"--tag|red|--all", 1, `give one of url, prefix, host, tag, and "all": true`, ""},
		{"--all|a1", 2, "takes URLs or a flag, not both", ""},
		{"--soft", 2, "edge cache purge takes a URL, --tag, --prefix, --host or --all", ""},
		{`POST|{"url":"` + b + "shop/1" + lasting + `"}`, 200, "", "b1"},
		{`POST|{"all":true}`, 200, "", "a1 a2 a3 b1 b2"},
		{`POST|{"prefix":"` + b + `","soft":true}`, 200, "", "b1 b2"}, {`POST|{"regex":".*"}`, 400, "", ""},
		{`POST|{"all":false}`, 400, "", ""}, {`POST|{"tag":"red","all":true}`, 400, "", ""},
	} {
		code, out, purged := p.purge(c.args, names, urls)
		if code != c.code || !strings.Contains(out, c.said) {
			t.Errorf("%s: %d %s, want %d %q", c.args, code, out, c.code, c.said)
		}
		if c.code == 0 || c.code == 200 {
			if purged <= last {
				t.Errorf("%s: number %d after %d", c.args, purged, last)
			}
			last = purged
		}
		var ended []string
		after := p.get(urls...)
		for i := range urls {
			if after[i] != before[i] {
				ended = append(ended, names[i])
			}
		}
		if got := strings.Join(ended, " "); got != c.ended {
			t.Errorf("%s has ended %q, want %q", c.args, got, c.ended)
		}
		before = after
	}
}

var seqPattern = regexp.MustCompile(`(?:number|"seq":) (\d+)`)

// purge runs edge cache purge, or calls the API where the first argument is POST. It returns the number of the purge.
func (p *cachedProcess) purge(text string, names, urls []string) (code int, out string, seq uint64) {
	p.t.Helper()
	if body, call := strings.CutPrefix(text, "POST|"); call {
		var done admin.CachePurged
		code = askAdmin(p.t, p.socket, "POST", "/v1/cache/purge", body, &done)
		return code, "", done.Seq
	}
	args := strings.Split("cache|purge|"+text, "|")
	for i, arg := range args {
		if at := slices.Index(names, arg); at >= 0 {
			args[i] = urls[at]
		}
	}
	code, out = p.tell(p.t, args...)
	if said := seqPattern.FindStringSubmatch(out); said != nil {
		seq, _ = strconv.ParseUint(said[1], 10, 64)
	}
	return code, out, seq
}

// edge cache get says in which state the answer to a request is, and why.
func TestCache_get(t *testing.T) {
	t.Parallel()
	p := startCached(t, `cache = true
[[routes]]
pattern = "/while/*"
dest = "ADDR"
cache.stale_while = "10m"
[[routes]]
pattern = "/ruled/*"
dest = "ADDR"
[[routes.rules]]
when = 'header.x-on == "1"'
cache = true
[[routes.rules]]
when = 'header.x-off == "1"'
cache = false
[[routes]]
pattern = "/secret/*"
dest = "ADDR"
cache = true
[[routes.rules]]
query.set = { api_key = "s3cret", x-auth = "s3cret" }
[[routes]]
pattern = "/plain/*"
dest = "ADDR"`)
	const a, de, en = "http://a.test/a" + lasting, "X-L: de", "X-L: en"
	const vary, while = "http://a.test/v" + lasting + "&Vary=X-L", "http://a.test/while/a" + lasting
	for _, c := range []struct {
		get, purge, ask []string
		code            int
		want            string
	}{
		{nil, nil, []string{"http://a.test/n?a=1"}, 0, "^NONE nothing is stored for this request, or it has given " +
			`way to others KEY a\.test /n\?a=1$`},
		{[]string{a}, nil, []string{a}, 0, `^FRESH .*KEY a\.test /a\?Cache-Control=max-age%3D600 STATUS 200, 2 ` +
			`bytes AGE \d+s, fresh for (600|5\d\d)s .*Cache-Control: max-age=600`},
		{nil, nil, []string{a, "--json"}, 0, `"state": "fresh",.*"status": 200, .*"length": 2`},
		{nil, nil, []string{"https://a.test/a" + lasting}, 1, "no listener"},
		{nil, nil, []string{a, "-H", "If-Match: x"}, 0, "^BYPASS the request has If-Match"},
		{nil, []string{a}, []string{a}, 0, "^PURGED an answer was stored, and was purged .* KEY [^ ]+ [^ ]+$"},
		{nil, nil, []string{a, "--json"}, 0, `"state": "purged"`}, {[]string{a}, nil, []string{a}, 0, "^FRESH"},
		{nil, []string{a, "--soft"}, []string{a}, 0,
			`^EXPIRED .*STATUS 200, 2 bytes AGE \d+s, (fresh for 0s|expired \d+s ago)`},
		{nil, []string{"--all"}, []string{a}, 0, "^PURGED"},
		{[]string{while}, []string{"--host", "a.test", "--soft"}, []string{while}, 0, "^STALE .*STATUS 200"},
		{[]string{"-H", de, vary}, nil, []string{vary, "-H", de}, 0, "^FRESH .* VARIES BY x-l STATUS"},
		{nil, nil, []string{vary, "-H", en}, 0, "^NONE .* VARIES BY x-l$"},
		{nil, []string{vary}, []string{vary, "-H", de}, 0, "^PURGED .* VARIES BY x-l$"},
		{[]string{"http://a.test/u?Cache-Control=no-store"}, nil, []string{"http://a.test/u?Cache-Control=no-store"}, 0,
			"^UNCACHEABLE Cache-Control of the answer has no-store.* TRY no no-store"},
		{nil, nil, []string{"http://a.test/ruled/a"}, 0, "^BYPASS the cache is off .* TRY cache = true at the route$"},
		{nil, nil, []string{"http://a.test/ruled/a", "-H", "X-On: 1"}, 0, "^NONE"},
		{nil, nil, []string{"http://a.test/ruled/a", "-H", "X-Off: 1"}, 0,
			`^BYPASS a rule says cache = false: .*edge\.toml:\d+ TRY a when of that rule that does not hold$`},
		{nil, nil, []string{"http://a.test/secret/a?id=1"}, 0,
			`KEY a\.test /secret/a\?id=1&api_key=(REDACTED|\(hidden\))&x-auth=(REDACTED|\(hidden\))$`},
		{nil, nil, []string{"http://a.test/plain/a"}, 1, "no cache stands before where the request goes"},
		{nil, nil, []string{"ftp://a.test/"}, 1, "ftp://a.test/"}, {nil, nil, []string{a, "-H", "x"}, 1, `"x"`},
		{nil, nil, nil, 2, "edge cache get takes one URL, got 0"},
		{nil, nil, []string{a, vary}, 2, "takes one URL, got 2"},
	} {
		if c.get != nil {
			p.get(c.get...)
		}
		if c.purge != nil {
			if code, out := p.tell(t, append([]string{"cache", "purge"}, c.purge...)...); code != 0 {
				t.Errorf("purge %q: %d %s", c.purge, code, out)
			}
		}
		code, out := p.tell(t, append([]string{"cache", "get"}, c.ask...)...)
		out = strings.Join(strings.Fields(out), " ")
		if code != c.code || !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("get %q: %d %s\nwant %d %s", c.ask, code, out, c.code, c.want)
		}
	}
}

// edge cache stats and the metrics count purges by their kind, one for each that was asked for and was right.
func TestCache_stats(t *testing.T) {
	t.Parallel()
	p := startCached(t, "cache = true\n[cache]\nmemory = \"8m\"\npurge.allow = \"127.0.0.2\"")
	const url = "http://a.test/a" + lasting
	p.get(url, url)
	p.get("-X", "PURGE", "--interface", "127.0.0.2", url)
	p.get("-X", "PURGE", url)
	p.get("-X", "POST", url) // ends it, and is no purge
	for _, args := range []string{url + " " + url, "--prefix http://a.test/", "--host a.test", "--host b.test --soft",
		"--tag x", "--all", "--all --soft", "--prefix http://a.test/a", "--host a.test --all"} {
		p.tell(t, append([]string{"cache", "purge"}, strings.Fields(args)...)...)
	}
	p.get(url)
	want := map[string]uint64{"url": 3, "prefix": 1, "host": 2, "tag": 1, "all": 2, "refused": 1}
	counted := admin.CachePurges{URL: 3, Prefix: 1, Host: 2, Tag: 1, All: 2, Refused: 1}
	code, out := p.tell(t, "cache", "stats", "--json")
	var stats admin.CacheStats
	if err := json.Unmarshal([]byte(out), &stats); code != 0 || err != nil || stats.Purges != counted ||
		stats.Objects != 1 || stats.Fills != 2 || stats.Stored != 2 || stats.Bytes == 0 {
		t.Errorf("%d %s: %v", code, out, err)
	}
	code, text := p.tell(t, "cache", "stats")
	text = strings.Join(strings.Fields(text), " ") + " "
	page := curlWith(t, "--unix-socket", p.socket, "http://edge/metrics")
	for kind, n := range want {
		if line := fmt.Sprintf("edge_cache_purges_total{kind=%q} %d\n", kind, n); !strings.Contains(page, line) {
			t.Errorf("the metrics lack %s", line)
		}
		if words := fmt.Sprintf(" PURGES %s %d ", kind, n); code != 0 || !strings.Contains(text, words) {
			t.Errorf("%d %s lacks %s", code, text, words)
		}
	}
	if !strings.HasPrefix(text, "OBJECTS 1 BYTES ") || !strings.Contains(text, " FILLS 2 FOLLOWERS 0 STORED 2 ") {
		t.Error(text)
	}
}

// Without a cached route there is nothing to purge, before a reload as after it.
func TestCache_none(t *testing.T) {
	t.Parallel()
	p := startCached(t, "name = \"r\"")
	refuse := func() {
		t.Helper()
		const none = "no route has a cache"
		p.commands(t, command{"cache purge --all", 1, none}, command{"cache purge http://a.test/", 1, none},
			command{"cache get http://a.test/", 1, none}, command{"cache stats", 1, none})
		out := curlWith(t, "--unix-socket", p.socket, "-w", " %{http_code}", "--json", `{"all":true}`,
			"http://edge/v1/cache/purge")
		if !strings.HasSuffix(out, " 404") || !strings.Contains(out, "no-cache") {
			t.Error(out)
		}
	}
	refuse()
	p.commands(t, command{"cache purg", 2, "takes purge, stats or get"}, command{"cache stats a b", 2, "takes one"})
	text := textOf(t, p.file)
	for _, on := range []string{"true", "false"} {
		putFile(t, p.file, "%s\ncache = %s\n", text, on)
		p.commands(t, command{"reload", 0, ""})
		if on == "true" {
			p.commands(t, command{"cache purge --all", 0, ""})
		}
	}
	refuse()
}
