package static_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// counted counts the requests that its Destination answers past net/http, from what is held or from what was found.
type counted struct {
	proxy.Destination
	plain, found atomic.Int64
}

// looking says of an exchange that a goroutine looks for its file.
var looking = proxy.NewLocal[bool]()

func (c *counted) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	o := c.Destination.Open(x, to)
	switch {
	case o.Stored == nil:
		*looking.Of(x) = true
	case *looking.Of(x):
		c.found.Add(1)
	default:
		c.plain.Add(1)
	}
	return o
}

// byHTTP is a Destination whose requests all go by net/http.
type byHTTP struct{ proxy.Destination }

func (d byHTTP) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	return d.Destination.Open(x, struct{ session.Receiver }{to})
}

// both serves a folder by its plain answers, below /plain/, and by net/http alone, below /http/.
func both(t testing.TB, c *static.Config, filters ...*proxy.Filter) (url string, plain *counted) {
	t.Helper()
	to, err := filterrig.Made(static.New, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain = &counted{Destination: to}
	return filterrig.Start(t, &edge.Server{
		Addr: "127.0.0.1:0", Session: session.ServerOptions{H2C: true}, Filters: filters,
		Routes: []proxy.Route{
			{Path: "/plain/", Rewrite: &proxy.Rewrite{StripPrefix: "/plain"}, To: plain},
			{Path: "/http/", Rewrite: &proxy.Rewrite{StripPrefix: "/http"}, To: byHTTP{to}},
		},
	}), plain
}

// age has the files of a folder be older than what counts as a change of just now.
func age(t testing.TB, url string, plain *counted, target string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		before := plain.plain.Load()
		ask(t, url, "GET", "/plain"+target)
		return plain.plain.Load() > before
	}, "%s is not held", target)
}

// pair sends requests that are made at random to a folder's plain answers and to net/http.
type pair struct {
	t       testing.TB
	url     string
	clients []*http.Client
	random  *rand.Rand
	tags    []string
	dates   []string
}

func (p *pair) send(c *http.Client, method, target string, h http.Header) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+target, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = h.Clone()
	return testutil.Do(p.t, c, r)
}

// learn has requests name the tags and dates of a file.
func (p *pair) learn(target string) {
	p.t.Helper()
	for _, coding := range []string{"identity", "gzip", "br"} {
		resp, _ := p.send(p.clients[0], "HEAD", "/http"+target, http.Header{"Accept-Encoding": {coding}})
		if tag := resp.Header.Get("ETag"); tag != "" {
			p.tags = append(p.tags, tag, "W/"+tag, `"x", `+tag)
			p.dates = append(p.dates, resp.Header.Get("Last-Modified"))
		}
	}
}

func (p *pair) pick(of []string) string { return of[p.random.IntN(len(of))] }

// number returns a place near one at which something changes.
func (p *pair) number() string {
	near := []int64{0, 1, 9, 999, 1000, 4 << 10, 64 << 10, 300_000, 1 << 62}
	return fmt.Sprint(near[p.random.IntN(len(near))] + p.random.Int64N(3) - 1)
}

func (p *pair) ranges() string {
	switch p.random.IntN(5) {
	case 0:
		return "bytes=" + p.number() + "-" + p.number()
	case 1:
		return "bytes=" + p.number() + "-"
	case 2:
		return "bytes=-" + p.number()
	case 3:
		return "bytes=" + p.number() + "-" + p.number() + "," + p.number() + "-"
	}
	return p.pick([]string{"bytes=0-0,5-6", "Bytes=0-1", "bytes= 0-1", "lines=1-2", "bytes=a-1", "bytes=1-a", "bytes=-",
		"bytes=0-1-2", "bytes=99999999999999999999-"})
}

// fields returns the fields of a request. Some of them come twice.
func (p *pair) fields() http.Header {
	h := http.Header{}
	add := func(name string, inHundred int, value func() string) {
		for n := p.random.IntN(100); n < inHundred; n += 97 {
			h.Add(name, value())
		}
	}
	tag, date := func() string { return p.pick(p.tags) }, func() string { return p.pick(p.dates) }
	add("Range", 40, p.ranges)
	add("If-None-Match", 20, tag)
	add("If-Modified-Since", 20, date)
	add("If-Match", 4, tag)
	add("If-Unmodified-Since", 4, date)
	add("If-Range", 5, func() string { return p.pick(append(p.dates, p.tags...)) })
	add("Accept-Encoding", 100, func() string {
		return p.pick([]string{"gzip", "br, gzip", "identity", "*;q=0.1", "gzip;q=0", "x"})
	})
	return h
}

// compare sends a request to both, and reports whether the answers are equal but for what is random in them.
func (p *pair) compare(c *http.Client, method, target string, h http.Header) (one, two *http.Response, equal bool) {
	p.t.Helper()
	one, first := p.send(c, method, "/plain"+target, h)
	two, second := p.send(c, method, "/http"+target, h)
	if two.StatusCode == http.StatusNotFound { // the number of the request
		first, second = "", ""
	}
	one.Header.Del("Date")
	two.Header.Del("Date")
	return one, two, one.StatusCode == two.StatusCode && one.ContentLength == two.ContentLength && first == second &&
		maps.EqualFunc(one.Header, two.Header, slices.Equal)
}

// Requests get the same answers past net/http as they get by it, field for field.
func TestStatic_plainAnswers(t *testing.T) {
	requests := 10_000
	if testing.Short() {
		requests = testutil.RaceRounds(3_000)
	}
	text := func(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }
	names := []string{"/", "/a.html", "/b", "/empty.txt", "/4k.bin", "/more.bin", "/large.js", "/large.js", "/docs",
		"/docs/", "/none", "/a.html?query=1", "/%61.html"}
	dir := site(t, map[string]string{"index.html": text(500), "a.html": text(1000), "b": "%PDF-1.4", "empty.txt": "",
		"4k.bin": text(4 << 10), "more.bin": text(4<<10 + 1), "large.js": text(300_000), "large.js.gz": text(70_000),
		"large.js.br": text(100), "docs/index.html": "docs"})
	old := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "b"), old, old); err != nil {
		t.Fatal(err)
	}
	url, plain := both(t, &static.Config{Root: dir, CacheControl: map[string]string{"*.html": "max-age=60"}})
	age(t, url, plain, "/a.html")
	seed := uint64(time.Now().UnixNano())
	p := &pair{t: t, url: url, random: rand.New(rand.NewPCG(seed, 0)), tags: []string{`"x"`, "*", `W/"x"`},
		dates: []string{"Mon, 01 Jan 2001 00:00:00 GMT", "Mon, 01 Jan 2035 00:00:00 GMT", "x"}}
	p.clients = []*http.Client{{Transport: &http.Transport{DisableCompression: true}}, testutil.H2C(t)}
	for _, c := range p.clients {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		defer c.CloseIdleConnections()
	}
	for _, name := range names {
		p.learn(name)
	}
	for i := range requests {
		method, name, h := p.pick([]string{"GET", "GET", "GET", "GET", "HEAD", "POST"}), p.pick(names), p.fields()
		if one, two, equal := p.compare(p.clients[i%2], method, name, h); !equal {
			t.Fatalf("seed %d, request %d: %s %s %v: %s %v, want %s %v", seed, i, method, name, h, one.Status,
				one.Header, two.Status, two.Header)
		}
	}
	if n := plain.plain.Load(); n < int64(requests/5) {
		t.Errorf("%d of %d go past net/http", n, requests)
	}
}

// What changes is seen by plain requests, too: a file that is replaced, written anew, deleted, or gets a sibling, and
// a new file that stands before the present one in try.
func TestStatic_changesAreSeen(t *testing.T) {
	long := strings.Repeat("old", 30_000)
	dir := site(t, map[string]string{"a.html": "old", "large": long, "gone": long, "try.html": "old", "app.js": "old"})
	url, plain := both(t, &static.Config{Root: dir, Try: []string{"{path}", "{path}.html"}})
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer c.CloseIdleConnections()
	get := func(target string) string {
		t.Helper()
		req, err := http.NewRequest("GET", url+"/plain"+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || err != nil { // what was held of a file that is shorter now is cut off
			return resp.Status
		}
		return string(body)
	}
	for _, target := range []string{"/a.html", "/large", "/gone", "/try", "/app.js"} {
		age(t, url, plain, target)
	}
	write("new", "new")
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "a.html")); err != nil {
		t.Fatal(err)
	}
	write("large", "new")
	write("try", "new")
	write("app.js.gz", "new")
	gone := filepath.Join(dir, "gone")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/a.html", "/large", "/try", "/app.js"} {
		testutil.Eventually(t, testutil.Patience, func() bool { return get(target) == "new" },
			"%s is as it was", target)
		age(t, url, plain, target)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return get("/gone") == "404 Not Found" }, "it is there")
	testutil.Eventually(t, testutil.Patience, func() bool {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(all, func(e os.DirEntry) bool {
			to, _ := os.Readlink("/proc/self/fd/" + e.Name())
			return strings.HasPrefix(to, gone)
		})
	}, "a file that was deleted is open still")
}

// A Range is read as the cache reads it, by plain answers and by net/http: RFC 9110 §14.1 and §14.2.
func TestStatic_readsRangesAsTheCacheDoes(t *testing.T) {
	text := strings.Repeat("0123456789", 100)
	url, plain := both(t, &static.Config{Root: site(t, map[string]string{"a": text, "empty": ""})})
	age(t, url, plain, "/a")
	huge := strings.Repeat("9", 30)
	for _, c := range []struct {
		method, value string
		status        int
		part          string // Content-Range
	}{
		{"GET", "bytes=0-1", 206, "bytes 0-1/1000"},
		{"GET", "Bytes=0-1", 206, "bytes 0-1/1000"},
		{"GET", "BYTES=-1", 206, "bytes 999-999/1000"},
		{"GET", "bytes=-0", 416, "bytes */1000"},
		{"GET", "bytes=1000-", 416, "bytes */1000"},
		{"GET", "bytes=" + huge + "-", 416, "bytes */1000"},
		{"GET", "bytes=990-" + huge, 206, "bytes 990-999/1000"},
		{"GET", "bytes=-" + huge, 206, "bytes 0-999/1000"},
		{"GET", "items=0-1", 200, ""},
		{"GET", "lines=0-1", 200, ""},
		{"GET", "bytes=2-1", 200, ""},
		{"GET", "bytes=a-1", 200, ""},
		{"GET", "bytes=", 200, ""},
		{"GET", "bytes=0-1, 5-6", 200, ""},
		{"HEAD", "bytes=0-1", 200, ""}, // RFC 9110 §14.2: GET alone
		{"HEAD", "bytes=-0", 200, ""},
	} {
		for _, way := range []string{"/plain/a", "/http/a"} {
			resp, body := ask(t, url, c.method, way, "Range: "+c.value)
			if got := resp.Header.Get("Content-Range"); resp.StatusCode != c.status || got != c.part {
				t.Errorf("%s %s %.20s: %d %q, want %d %q", c.method, way, c.value, resp.StatusCode, got, c.status,
					c.part)
			}
			if c.status == 200 && c.method == "GET" && body != text {
				t.Errorf("%s %.20s: %d bytes", way, c.value, len(body))
			}
		}
	}
	for _, way := range []string{"/plain/empty", "/http/empty"} {
		if resp, _ := ask(t, url, "GET", way, "Range: bytes=0-1"); resp.StatusCode != 200 {
			t.Errorf("%s: %d", way, resp.StatusCode)
		}
	}
}
