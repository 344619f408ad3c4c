package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy/cache"
)

// curling sends requests by curl. URLs have no port: the ports 80 and 443 lead to listeners.
type curling struct {
	t       *testing.T
	options []string
}

// newCurling makes a curling that sends requests to the listener web of s.
func newCurling(t *testing.T, s *Server, options ...string) *curling {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	options = append(options, "-sS", "--max-time", "30", "--noproxy", "*", "-o", "-", "-w",
		" %{http_code} %header{allow} %header{cache-status}",
		"--connect-to", ":80:"+urlOf(t, s, "web")[len("http://"):])
	return &curling{t, options}
}

// send sends a request, and returns the body, the status, Allow and Cache-Status of the answer. text is options of
// curl, and a URL. The query of fresh is put before its query, which begins with &.
func (c *curling) send(text string) string {
	c.t.Helper()
	words := strings.Fields(text)
	last := len(words) - 1
	words[last] = withFresh(words[last])
	out, err := exec.Command("curl", append(words, c.options...)...).CombinedOutput()
	if err != nil {
		c.t.Errorf("curl %q: %v %s", words, err, out)
	}
	return strings.TrimSpace(string(out))
}

// withFresh puts the query of fresh before the query of a URL, which begins with &.
func withFresh(url string) string {
	path, query, more := strings.Cut(url, "&")
	if more {
		query = "&" + query
	}
	return path + fresh + query
}

// seqOf returns the number that the answer to a PURGE has.
func seqOf(t *testing.T, answer string) uint64 {
	t.Helper()
	var of struct{ Seq *uint64 }
	text, ok := strings.CutSuffix(answer, " 200")
	if err := json.Unmarshal([]byte(text), &of); !ok || err != nil || of.Seq == nil {
		t.Fatalf("%q, want a number: %v", answer, err)
	}
	return *of.Seq
}

const purgeable = `
cache.purge.allow = ["127.0.0.1"]
listeners = [{ name = "secure", listen = "127.0.0.1:0", cert = "DIR/example.pem", key = "DIR/example.key" }]
upstreams.one.backends = [{ address = "ADDR" }]
upstreams.two.backends = [{ address = "ADDR" }]
routes = [
	{ pattern = "/*", dest = "one", cache.query.drop = "utm_*", rules = [
		{ when = 'cookie.session != ""', cache = false },
		{ when = 'header.x-keep == "1"', cache.query.drop = ["more", "utm_*"] },
	] },
	{ pattern = "/*", when = 'header.x-two == "1"', dest = "two", headers.request.Host = "inner.test", cache = true },
	{ pattern = "/strip/*", dest = "one", rewrite.strip_prefix = "/strip", cache = true },
	{ pattern = "/ruled/*", dest = "one", rules = [{ when = 'header.x-on == "1"', cache = true }] },
]
`

// A request ends the answers of its URL, or of groups, and no others. Options of curl stand before each URL.
func TestPurge_whatRequestsEnd(t *testing.T) {
	testutil.OnlyPlain(t)
	t.Parallel()
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.IssueTo(t, dir, "example", nil, "a.test")
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	addr, asked := countedOrigin(t)
	s := start(t, Options{}, "%s", quiet+web+strings.NewReplacer("DIR", dir, "ADDR", addr).Replace(purgeable))
	c := newCurling(t, s, "--cacert", filepath.Join(dir, "ca.pem"),
		"--connect-to", ":443:"+urlOf(t, s, "secure")[len("http://"):],
		"--connect-to", ":81:"+urlOf(t, s, "web")[len("http://"):])
	const groups, invalidates = "&Cache-Groups=%22g%22", "&Cache-Group-Invalidation=%22g%22"
	last := uint64(0)
	for _, row := range []struct {
		stored string // URLs, with " + " between them
		by     string
		ended  bool
	}{
		{"a.test/1", "-X PURGE a.test/1", true}, {"a.test/2", "-X PURGE a.test/2/", false},
		{"a.test/3", "-X PURGE b.test/3", false}, {"a.test/4", "-X PURGE A.Test/4", true},
		{"a.test/5", "-X PURGE a.test:81/5", true}, {"a.test/6", "-X PURGE a.test/6&x=1", false},
		{"a.test/7/a", "-X PURGE a.test/7/%61", true}, {"a.test/8/%61", "-X PURGE a.test/8/a", true},
		{"a.test/9", "-X PURGE a.test/9&utm_x=1", true}, {"a.test/10&utm_x=1", "-X PURGE a.test/10", true},
		{"-H X-L:de a.test/11&Vary=X-L + -H X-L:en a.test/11&Vary=X-L", "-X PURGE a.test/11&Vary=X-L", true},
		{"-I a.test/12 + a.test/12", "-X PURGE a.test/12", true}, {"a.test/13", "-X PURGE -d x a.test/13", true},
		{"--http2 https://a.test/14", "--http2 -X PURGE https://a.test/14", true},
		{"a.test/15", "--http2 -X PURGE https://a.test/15", true}, {"https://a.test/16", "-X PURGE a.test/16", true},
		{"a.test/17", "--http2-prior-knowledge -X PURGE a.test/17", true}, {"a.test/18", "-X purge a.test/18/", false},

		// By other routes and rules than the request had that stored the answer.
		{"a.test/20 + -H X-Two:1 a.test/20", "-X PURGE a.test/20", true},
		{"a.test/21 + -H X-Two:1 a.test/21", "-X PURGE -H X-Two:1 a.test/21", true},
		{"-H X-Two:1 a.test/22", "-X PURGE inner.test/22", true},
		{"-H X-Two:1 a.test/23&utm_x=1", "-X PURGE a.test/23&utm_x=1", true},
		{"a.test/strip/24", "-X PURGE a.test/24", true}, {"a.test/25", "-X PURGE -b session=1 a.test/25", true},
		{"-H X-Keep:1 a.test/26&more=1", "-X PURGE a.test/26&more=2", true},
		{"a.test/27&utm_x=1", "-X PURGE -H X-Keep:1 a.test/27&utm_y=1", true},
		{"-H X-On:1 a.test/ruled/28", "-X PURGE a.test/ruled/28", true},

		{"a.test/30", "-X PURGE -H Soft-Purge:1 a.test/30", true},
		{"a.test/31", "-X PURGE -H Soft-Purge:1 a.test/31/", false},
		{"a.test/32" + groups + " + a.test/33" + groups, "-X POST a.test/x" + invalidates, true},
		{"b.test/34" + groups, "-X POST a.test/x" + invalidates, false},
		{"https://a.test/35" + groups, "-X POST a.test/x" + invalidates, false},
		{"a.test/36" + groups, "a.test/x" + invalidates, false},
		{"a.test/37&Cache-Groups=%22G%22", "-X POST a.test/x" + invalidates, false},
	} {
		urls := strings.Split(row.stored, " + ")
		get := func() (times int64) {
			before := asked.Load()
			for _, url := range urls {
				c.send(url)
			}
			return asked.Load() - before
		}
		get()
		if get(); get() != 0 { // HEAD is answered from what GET has stored after it
			t.Errorf("%s is not stored", row.stored)
		}
		before, answer := asked.Load(), c.send(row.by)
		if strings.Contains(row.by, "PURGE") {
			seq := seqOf(t, answer)
			if seq <= last || asked.Load() != before {
				t.Errorf("%s: number %d after %d, or the backend is asked", row.by, seq, last)
			}
			last = seq
		}
		want := 0
		if row.ended {
			want = len(urls)
		}
		if n := get(); n != int64(want) {
			t.Errorf("%s after %s: the backend is asked %d times, want %d", row.stored, row.by, n, want)
		}
	}
}

// The address of the client counts, as proxies that are trusted tell it. Other clients are refused, and so is a
// mistake; both end nothing, and the backend is not sent the method.
func TestPurge_clients(t *testing.T) {
	t.Parallel()
	const refused, wrong = " 405 GET, HEAD", "Soft-Purge is 1, or is left out.\n 400"
	const allowed, local = "cache.purge.allow = [\"192.0.2.1\", \"127.0.0.3\"]\n", "cache.purge.allow = \"127.0.0.1\"\n"
	const trusts, claims = "trusted_proxies = \"127.0.0.1\"\n", "-H X-Forwarded-For:192.0.2.1"
	for _, row := range []struct{ cache, listener, options, want string }{
		{"", "", "", refused}, {allowed, "", "", refused}, {allowed, "", "--interface 127.0.0.3", ""},
		{allowed, "", claims, refused}, {allowed, "", "-H Forwarded:for=127.0.0.3", refused},
		{allowed, trusts, claims, ""}, {allowed, trusts, "-H X-Forwarded-For:192.0.2.2", refused},
		{allowed, trusts, claims + ",198.51.100.1", refused},
		{allowed, trusts, "--interface 127.0.0.2 " + claims, refused},
		{local, trusts, "", ""}, {local, trusts, claims, refused},
		{allowed, "", "--http2-prior-knowledge", refused}, {allowed, "", "-H Soft-Purge:x", refused},
		{allowed, "", "--interface 127.0.0.3 -H Soft-Purge:x", wrong},
	} {
		addr, asked := countedOrigin(t)
		s := start(t, Options{}, quiet+row.cache+"[http]\nname = \"web\"\n"+
			"listen = \"127.0.0.1:0\"\n"+row.listener+"[[routes]]\npattern = \"/*\"\ndest = %q\n"+
			"cache = true\n[[routes]]\npattern = \"/plain/*\"\ndest = %[1]q\n", addr)
		c := newCurling(t, s)
		c.send("a.test/a")
		got, times, counts := c.send("-X PURGE "+row.options+" a.test/a"), int64(1), [2]float64{0, 1}
		if row.want == "" {
			seqOf(t, got)
			times, counts = 2, [2]float64{1, 0}
		} else if !strings.HasSuffix(got, row.want) {
			t.Errorf("%+v: %q", row, got)
		}
		c.send("a.test/a")
		of := func(kind string) float64 { return counter(s, "edge_cache_purges_total", kind) }
		if n := [2]float64{of("url"), of("refused")}; n != counts || asked.Load() != times {
			t.Errorf("%+v: counted %v, want %v; the backend is asked %d times", row, n, counts, asked.Load())
		}
		plain := fmt.Sprint(times+1, " /plain/a  200")
		wantEqual(t, c.send("-X PURGE "+row.options+" a.test/plain/a"), plain, "%+v, without a cache", row)
	}
}

// After a soft purge an answer is sent where stale ones may be: at once by stale_while, and else while the backend does
// not answer. After a hard one it is not.
func TestPurge_softly(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	var asked atomic.Int64
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := asked.Add(1); !down.Load() {
			w.Header().Set("Cache-Control", "max-age=600"+r.Header.Get("X-More"))
			fmt.Fprint(w, n)
			return
		}
		panic(http.ErrAbortHandler)
	}))
	defer o.Close()
	s := start(t, Options{}, quiet+"cache.purge.allow = \"127.0.0.1\"\n"+web+`
routes = [
	{ pattern = "/*", dest = %q, cache = true },
	{ pattern = "/while/*", dest = %[1]q, cache.stale_while = "10m" },
]
`, strings.TrimPrefix(o.URL, "http://"))
	c := newCurling(t, s)
	stale := func(url, body, detail string) {
		t.Helper()
		got := c.send(url)
		if b, rest, _ := strings.Cut(got, " "); b != body || !strings.HasPrefix(rest, "200  edge; hit; ttl=") ||
			!strings.HasSuffix(rest, "; detail="+detail) {
			t.Errorf("%s: %q, want %s by %s", url, got, body, detail)
		}
	}
	const soft, hard = "-X PURGE -H Soft-Purge:1 ", "-X PURGE "
	const url, must, while = "a.test/a", "-H X-More:,must-revalidate a.test/m", "a.test/while/a"
	for i, url := range []string{url, must, while} {
		if got, want := c.send(url), fmt.Sprint(i+1, " 200  "+cacheMiss); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	seqOf(t, c.send(soft+while))
	stale(while, "3", "stale-while-revalidate")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.HasPrefix(c.send(while), "4 200  "+cacheHit)
	}, "the answer is fetched anew")
	down.Store(true)
	for _, purged := range []string{url, must, while, while} {
		seqOf(t, c.send(soft+purged))
	}
	stale(while, "4", "stale-while-revalidate")
	stale(url, "1", "stale-on-error")
	if got := c.send(must); !strings.HasSuffix(got, " 502") {
		t.Errorf("must-revalidate: %q", got)
	}
	for _, purged := range []string{hard + url, soft + url, soft + while, hard + while} {
		seqOf(t, c.send(purged))
	}
	for _, url := range []string{url, while} {
		if got := c.send(url); !strings.HasSuffix(got, " 502") {
			t.Errorf("%s after a hard purge: %q", url, got)
		}
	}
}

// A purge comes while the backend holds its answer, before the head or after it. The request before it gets that
// answer, which is not stored; a request after it gets another one, whichever of both is here first.
func TestPurge_whileTheAnswerComes(t *testing.T) {
	t.Parallel()
	for _, p := range []cache.Purge{
		{}, // the method
		{Kind: cache.PurgeURL, Name: "http://a.test/PATH" + fresh},
		{Kind: cache.PurgeURL, Name: "http://a.test/PATH" + fresh, Soft: true},
		{Kind: cache.PurgePrefix, Name: "http://a.test/"}, {Kind: cache.PurgeHost, Name: "A.test"},
		{Kind: cache.PurgeTag, Name: "t"}, {Kind: cache.PurgeTag, Name: "t", Soft: true}, {Kind: cache.PurgeAll},
	} {
		for _, path := range []string{"head", "body"} {
			of := p
			of.Name = strings.Replace(p.Name, "PATH", path, 1)
			for _, order := range [][2]int{{0, 1}, {1, 0}} {
				purgeMeanwhile(t, path, &of, order)
			}
		}
	}
}

// purgeMeanwhile purges between two requests for path, whose answers come in an order.
func purgeMeanwhile(t *testing.T, path string, p *cache.Purge, order [2]int) {
	t.Helper()
	asked, failed := make(chan chan bool, 2), make(chan bool)
	defer close(failed)
	var count atomic.Int64
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, goOn := count.Add(1), make(chan bool)
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", "1")
		w.Header().Set("Surrogate-Key", "t")
		if r.URL.Path == "/body" {
			w.(http.Flusher).Flush()
		}
		if n <= 2 {
			asked <- goOn
			select {
			case <-goOn:
			case <-failed:
			}
		}
		fmt.Fprint(w, n)
	}))
	t.Cleanup(o.Close)
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, "log.output = [%q]\ncache.purge.allow = \"127.0.0.1\"\n"+web+
		"[[routes]]\npattern = \"/*\"\ndest = %q\ncache = true\n", log, o.Listener.Addr().String())
	c := newCurling(t, s)
	purge := func() {
		if *p == (cache.Purge{}) {
			seqOf(t, c.send("-X PURGE a.test/"+path))
		} else if _, err := s.Cache().Purge(p); err != nil {
			t.Fatal(err)
		}
	}
	var held [2]chan bool
	var answers [2]chan string
	for i := range held {
		answers[i] = make(chan string, 1)
		go func() { answers[i] <- c.send("a.test/" + path) }()
		select {
		case held[i] = <-asked:
		case got := <-answers[i]:
			t.Fatalf("%s, %+v: the backend is not asked anew: %q", path, p, got)
		}
		if i == 0 {
			purge()
		}
	}
	for _, i := range order {
		close(held[i])
		if got, want := <-answers[i], fmt.Sprint(i+1, " 200  ", cacheMiss); got != want {
			t.Errorf("%s, %+v, %v: %q, want %q", path, p, order, got, want)
		}
	}
	wantPrefix(t, c.send("a.test/"+path), "2 200  "+cacheHit, "%s, %+v, %v", path, p, order)
	testutil.Must(t, s.Stop())
	want := 1
	if p.Soft {
		want = 0
	}
	if n := strings.Count(readFile(log), `"cache":"miss","cache_reason":"purged"`); n != want {
		t.Errorf("%s, %+v, %v: %d records say purged, want %d:\n%s", path, p, order, n, want, readFile(log))
	}
}

// An answer that was stored before a reload is purged after it, by PURGE and by the API: by the query that its route
// had then, and by the query that the route has now.
func TestPurge_overReloads(t *testing.T) {
	t.Parallel()
	addr, asked := countedOrigin(t)
	const first = quiet + "cache.purge.allow = \"127.0.0.1\"\n" + web +
		"[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = %q\ncache.enabled = true\n"
	const drops, more = "cache.query.drop = \"x\"\n", "[[routes]]\npattern = \"/more/*\"\ndest = %[1]q\n" +
		"cache.query.keep = \"Cache-Control\"\n"
	s := start(t, Options{}, first+drops, addr)
	c := newCurling(t, s)
	for i, row := range []struct{ stored, meanwhile, after, url, purge string }{
		{drops, drops, drops, "a.test/1&x=1", "a.test/1&x=2"},
		{drops, drops + more, drops + more, "a.test/more/2", "a.test/more/2"},
		{drops + more, drops + more, drops + more, "a.test/more/3&y=1", "a.test/more/3&z=1"},
		{drops, "", drops, "a.test/4&x=1", "a.test/4&x=1"},
		{"", "", "", "a.test/5&", "a.test/5&"},
	} {
		for _, byAPI := range []bool{false, true} {
			apply(t, s, first+row.stored, addr)
			c.send(row.url)
			apply(t, s, first+row.meanwhile, addr)
			if !byAPI {
				seqOf(t, c.send("-X PURGE "+row.purge))
			} else if _, err := s.Cache().Purge(&cache.Purge{Name: "http://" + withFresh(row.purge)}); err != nil {
				t.Fatal(err)
			}
			apply(t, s, first+row.after, addr)
			before := asked.Load()
			if got := c.send(row.url); asked.Load() != before+1 {
				t.Errorf("row %d, by the API: %v: %q", i, byAPI, got)
			}
		}
	}
}
