package cache_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
	"github.com/edge-proxy/edge/session"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // backends fail here on purpose
	os.Exit(m.Run())
}

// rig is a proxy whose routes are cached, before an origin that answers by a handler.
type rig struct {
	engine *engine.Engine
	url    string
	zone   *cache.Zone
	counts *cache.RouteCounts
	asked  atomic.Int64 // requests that the origin got

	memory  int64             // Options.Memory less Bodies; 0: 16 MiB
	bodies  int64             // Options.Bodies; 0: 32 MiB
	onward  proxy.Destination // in place of the origin; nil: the origin
	timeout time.Duration     // of the route
	disk    bool              // the zone has one
	closed  bool              // and does not open it
	begun   func()            // is called when it serves
}

func newRig(t testing.TB, route cache.Route, origin http.HandlerFunc, filters ...*proxy.Filter) *rig {
	t.Helper()
	g := &rig{}
	g.serve(t, route, origin, filters...)
	return g
}

// serve starts g before an origin.
func (g *rig) serve(t testing.TB, route cache.Route, origin http.HandlerFunc, filters ...*proxy.Filter) {
	t.Helper()
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		origin(w, r)
	}))
	testutil.CloseServer(t, o)
	// Nobody has waited too long where the machine stands still for some seconds.
	route.LockTimeout = cmp.Or(route.LockTimeout, testutil.Minutes)
	g.start(t, route, o.Listener.Addr().String(), filters...)
}

func (g *rig) start(t testing.TB, route cache.Route, origin string, filters ...*proxy.Filter) {
	t.Helper()
	var err error
	if g.engine, err = engine.New(engine.Options{Reactors: 2}); err != nil {
		t.Fatal(err)
	}
	g.memory, g.bodies = cmp.Or(g.memory, 16<<20), cmp.Or(g.bodies, 32<<20)
	o := cache.Options{Reactors: 2, Memory: g.memory + g.bodies, Bodies: g.bodies}
	if g.disk {
		o.Disk = disk.Options{Path: t.TempDir(), Size: 64 << 20}
	}
	if g.zone, err = cache.New(o); err != nil {
		t.Fatal(err)
	}
	if !g.closed {
		if err = g.zone.OpenDisk(); err != nil {
			t.Fatal(err)
		}
	}
	g.counts = g.zone.NewRouteCounts()
	u := upstream.New(g.engine, upstream.Options{Name: "origin", Backends: backend.Of(origin)})
	if g.onward == nil {
		g.onward = proxy.To(u, nil)
	}
	front := g.zone.Before(g.onward, route, g.counts)
	all := proxy.Route{Name: "all", To: front, BufferRequest: 1 << 20, Timeout: g.timeout}
	s, err := proxy.NewSnapshot([]proxy.Route{all}, filters)
	if err != nil {
		t.Fatal(err)
	}
	p := proxy.New(g.engine, s)
	srv := session.NewServer(g.engine, p.Service(&proxy.Listener{Name: "test"}), session.ServerOptions{H2C: true})
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	l, err := g.engine.Listen(engine.ListenOptions{Addr: addr}, srv.Accept)
	if err != nil {
		t.Fatal(err)
	}
	g.engine.Start()
	g.url = "http://" + l.Addr().String()
	t.Cleanup(func() {
		given := func() bool { return cache.FillingBytes(g.zone) == 0 }
		testutil.Eventually(t, testutil.Patience, given, "buffers are given back")
		g.engine.Stop()
		g.zone.Close()
		for _, r := range g.engine.Reactors() { // the reactors have ended: this goroutine owns them
			if n := r.Stats().BufBytes; n != 0 {
				t.Errorf("%d bytes are held by an engine that has stopped", n)
			}
		}
	})
}

func (g *rig) addr() string { return strings.TrimPrefix(g.url, "http://") }

// dial opens a connection whose receive buffer may grow.
func (g *rig) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", g.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testutil.Patience))
	return c.(*net.TCPConn)
}

// answer is what a client got.
type answer struct {
	status int
	body   string
	head   http.Header
	err    error
}

func (g *rig) do(method, path string, fields ...string) answer {
	return g.send(method, path, "", fields...)
}

func (g *rig) send(method, path, body string, fields ...string) (a answer) {
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			req.Host = fields[i+1]
		}
		req.Header.Set(fields[i], fields[i+1])
	}
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(got), resp.Header, err}
}

// ask sends so many GETs, all at once, whose answers come by to.
func (g *rig) ask(to chan<- answer, n int, path string, fields ...string) {
	for range n {
		go func() { to <- g.do("GET", path, fields...) }()
	}
}

// wantFollowers waits until so many requests have followed others.
func (g *rig) wantFollowers(t testing.TB, n uint64) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Followers == n }, "all follow")
}

// get returns the answer to a GET, which must come.
func (g *rig) get(t testing.TB, path string, fields ...string) answer {
	t.Helper()
	a := g.do("GET", path, fields...)
	if a.err != nil {
		t.Fatalf("GET %s: %v", path, a.err)
	}
	return a
}

func (a answer) cacheStatus() string { return a.head.Get("Cache-Status") }

func TestCache_hit(t *testing.T) {
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("X-One", "1")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		io.WriteString(w, "hello "+r.URL.RequestURI())
	})
	first := g.get(t, "/a?b=1")
	if first.body != "hello /a?b=1" || first.cacheStatus() != "edge; fwd=uri-miss; fwd-status=200; stored" {
		t.Fatalf("%+v", first)
	}
	for range 3 {
		a := g.get(t, "/a?b=1")
		if a.status != 200 || a.body != first.body || a.head.Get("X-One") != "1" || a.head.Get("X-Hop") != "" {
			t.Fatalf("%+v", a)
		}
		if s := a.cacheStatus(); ttl.ReplaceAllString(s, "") != "edge; hit; " || a.head.Get("Age") == "" {
			t.Fatalf("%v", a.head)
		}
		if a.head.Get("Date") != first.head.Get("Date") || a.head.Get("Via") != "1.1 edge" {
			t.Fatalf("%v, first %v", a.head, first.head)
		}
	}
	if h := g.do("HEAD", "/a?b=1"); h.head.Get("Content-Length") != fmt.Sprint(len(first.body)) || h.body != "" {
		t.Errorf("HEAD: %+v", h)
	}
	if n := g.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	if other := g.get(t, "/a?b=2"); other.body != "hello /a?b=2" {
		t.Errorf("%+v", other)
	}
	if s := g.zone.Stats(); s.Stored != 2 || s.Fills != 2 || s.Objects != 2 {
		t.Errorf("%+v", s)
	}
	if n := g.counts.Of(proxy.CacheHit); n != 4 {
		t.Errorf("%d hits", n)
	}
}

// What is no hit says why.
func TestCache_reasons(t *testing.T) {
	rules := policy.Rules{TTL: []policy.StatusTTL{{Status: 200, For: time.Minute}}}
	g := newRig(t, cache.Route{ObjectMax: 64 << 10, Rules: rules},
		func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if cc := q.Get("cc"); cc != "" {
				w.Header().Set("Cache-Control", cc)
			}
			if q.Get("cookie") != "" {
				w.Header().Set("Set-Cookie", "a=b")
			}
			if name := q.Get("hop"); name != "" {
				w.Header().Set(name, "a")
				w.Header().Set("Connection", name)
			}
			if v := q.Get("vary"); v != "" {
				w.Header().Set("Vary", v)
			}
			if r.URL.Path == "/large" {
				w.Header().Set("Content-Length", "70000")
				io.WriteString(w, strings.Repeat("x", 70000))
			}
			if r.URL.Path == "/grows" {
				for range 70 {
					io.WriteString(w, strings.Repeat("x", 1000))
					w.(http.Flusher).Flush()
				}
			}
		})
	const miss, bypass = "fwd=uri-miss; fwd-status=200", "fwd=bypass; fwd-status=200; detail="
	for _, c := range []struct{ method, path, fields, first, second string }{
		{"GET", "/?cc=no-store", "", miss + "; detail=no-store", bypass + "uncacheable"},
		{"GET", "/?cookie=1", "", miss + "; detail=set-cookie", bypass + "uncacheable"},
		{"GET", "/?vary=*", "", miss + "; detail=vary", bypass + "uncacheable"},
		{"GET", "/?hop=Set-Cookie", "", miss + "; detail=no-store", bypass + "uncacheable"},
		{"GET", "/?hop=Cache-Control", "", miss + "; detail=no-store", bypass + "uncacheable"},
		{"GET", "/?hop=X-A", "", miss + "; stored", "hit; ttl="},
		{"GET", "/large", "", miss + "; detail=too-large", bypass + "uncacheable"},
		{"GET", "/grows", "", miss, bypass + "uncacheable"},
		{"GET", "/own", "Cookie=a", miss + "; detail=cookie", bypass + "uncacheable"},
		{"GET", "/own", "", miss + "; stored", "hit; ttl="},
		{"GET", "/range", "Range=bytes=1048576-", bypass + "range", bypass + "range"},
		{"GET", "/range", "Range=bytes=-1", bypass + "range", bypass + "range"},
		{"GET", "/range", "Range=bytes=0-1", miss + "; stored", "hit; ttl="},
		{"GET", "/range", "Range=bytes=-1", "hit; ttl=", "hit; ttl="},
		{"GET", "/large", "Range=bytes=0-1", bypass + "uncacheable", bypass + "uncacheable"},
		{"GET", "/match", "If-Match=\"a\"", bypass + "precondition", "fwd=bypass"},
		{"POST", "/", "", "fwd=method; fwd-status=200; detail=method", "fwd=method"},
		{"HEAD", "/head", "", bypass + "head", "fwd=bypass"},
	} {
		var fields []string
		if name, value, ok := strings.Cut(c.fields, "="); ok {
			fields = []string{name, value}
		}
		for i, want := range []string{c.first, c.second} {
			a := g.do(c.method, c.path, fields...)
			got, want := a.cacheStatus(), "edge; "+want
			if a.err != nil || i == 0 && got != want && !strings.HasSuffix(want, "=") || !strings.HasPrefix(got, want) {
				t.Errorf("%s %s %s, time %d: %s, want %s (%v)", c.method, c.path, c.fields, i+1, got, want, a.err)
			}
			if (c.path == "/large" && a.status != 206 || c.path == "/grows") && len(a.body) != 70000 {
				t.Errorf("%s: %d bytes", c.path, len(a.body))
			}
		}
	}
}

// A request without a cookie is not kept from the cache by one with a cookie, nor given what is for that.
func TestCache_cookieOfAVisitor(t *testing.T) {
	g := newRig(t, cache.Route{Rules: policy.Rules{TTL: []policy.StatusTTL{{Status: 200, For: time.Minute}}}},
		func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "for "+r.Header.Get("Cookie")) })
	for i, want := range []string{"for a=1", "for ", "for ", "for "} {
		fields := []string{"Cookie", "a=1"}
		if i > 0 {
			fields = nil
		}
		if a := g.get(t, "/", fields...); a.body != want {
			t.Errorf("%d: %q", i, a.body)
		}
	}
	if n := g.asked.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestCache_variants(t *testing.T) {
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Add("Vary", "Accept-Encoding")
		w.Header().Add("Vary", "X-Lang")
		fmt.Fprintf(w, "%q %q", r.Header.Get("Accept-Encoding"), r.Header.Get("X-Lang"))
	})
	for _, c := range []struct{ coding, lang, want, status string }{
		{"gzip", "de", `"gzip" "de"`, "fwd=uri-miss; fwd-status=200; stored"},
		{"gzip", "de", `"gzip" "de"`, "hit"},
		{"x-gzip, deflate", "de", `"gzip" "de"`, "hit"},
		{"gzip, br;q=0.5", "de", `"br, gzip" "de"`, "fwd=vary-miss; fwd-status=200; stored"},
		{"br,gzip", "de", `"br, gzip" "de"`, "hit"},
		{"gzip", "fr", `"gzip" "fr"`, "fwd=vary-miss"},
		{"gzip", "", `"gzip" ""`, "fwd=vary-miss"},
		{"gzip", "", `"gzip" ""`, "hit"},
		{"deflate", "", `"identity" ""`, "fwd=vary-miss"},
		{"gzip", "de", `"gzip" "de"`, "hit"},
	} {
		fields := []string{"Accept-Encoding", c.coding}
		if c.lang != "" {
			fields = append(fields, "X-Lang", c.lang)
		}
		a := g.get(t, "/", fields...)
		if a.body != c.want || !strings.HasPrefix(a.cacheStatus(), "edge; "+c.status) {
			t.Errorf("%s, %s: %s, %s", c.coding, c.lang, a.body, a.cacheStatus())
		}
	}
}

func TestCache_key(t *testing.T) {
	route := cache.Route{Query: cache.Query{Drop: []string{"utm_*", "x"}, Sort: true}}
	g := newRig(t, route, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Host+r.URL.RequestURI())
	})
	for _, c := range []struct{ host, path, want string }{
		{"a", "/?b=2&a=1", "a/?a=1&b=2"},
		{"a", "/?a=1&utm_source=x&b=2", "a/?a=1&b=2"},
		{"a", "/?x=1&a=1&b=2", "a/?a=1&b=2"},
		{"A:80", "/?a=1&b=2", "A:80/?a=1&b=2"},
		{"b", "/?a=1&b=2", "b/?a=1&b=2"},
		{"a", "/?utm_x", "a/"},
		{"a", "/", "a/"},
		{"a", "/%61", "a/%61"},
		{"a", "/a", "a/a"},
	} {
		if a := g.get(t, c.path, "Host", c.host); a.body != c.want {
			t.Errorf("%s%s: %s, want %s", c.host, c.path, a.body, c.want)
		}
	}
	if n := g.asked.Load(); n != 6 {
		t.Errorf("%d requests", n)
	}
}

// Clients choose the values of varying fields: whatever they are, no variant is kept out of the store by others.
func TestCache_manyVariants(t *testing.T) {
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Lang")
		io.WriteString(w, r.Header.Get("X-Lang"))
	})
	for _, want := range []string{"; stored", "edge; hit"} {
		for i := range 100 {
			lang := fmt.Sprint(i)
			if a := g.get(t, "/", "X-Lang", lang); a.body != lang || !strings.Contains(a.cacheStatus(), want) {
				t.Errorf("%d: %q %s", i, a.body, a.cacheStatus())
			}
		}
	}
}

// A program has the key have more, and keeps answers from being stored.
func TestCache_keyAndStoreOfAProgram(t *testing.T) {
	var drafts atomic.Bool
	drafts.Store(true)
	route := cache.Route{
		Key: func(x *proxy.Exchange, dst []byte) []byte { return append(dst, x.Request.Get("X-Group")...) },
		Store: func(request, answer *message.Head) policy.Reason {
			if drafts.Load() && answer.Get("X-Draft") != "" && request.Get("X-Group") != "authors" {
				return policy.ReasonProgram
			}
			return policy.ReasonNone
		},
	}
	g := newRig(t, route, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("X-Draft", r.URL.Query().Get("draft"))
		_, _ = io.WriteString(w, r.Header.Get("X-Group"))
	})
	for i, c := range []struct{ path, group, status string }{
		{"/", "a", "fwd=uri-miss; fwd-status=200; stored"}, {"/", "b", "fwd=uri-miss; fwd-status=200; stored"},
		{"/", "a", "hit"}, {"/", "b", "hit"}, {"/", "", "fwd=uri-miss; fwd-status=200; stored"},
		{"/?draft=1", "a", "fwd=uri-miss; fwd-status=200; detail=program"},
		{"/?draft=1", "a", "fwd=bypass; fwd-status=200; detail=uncacheable"},
		{"/?draft=1", "a", "fwd=bypass; fwd-status=200; detail=uncacheable"},
		{"/?draft=1", "authors", "fwd=uri-miss; fwd-status=200; stored"}, {"/?draft=1", "authors", "hit"},
		{"", "", ""}, // they are stored from now on
		{"/?draft=1", "a", "fwd=bypass; fwd-status=200; detail=uncacheable"},
		{"/?draft=1", "a", "fwd=uri-miss; fwd-status=200; stored"}, {"/?draft=1", "a", "hit"},
	} {
		if c.path == "" {
			drafts.Store(false)
			continue
		}
		a := g.get(t, c.path, "X-Group", c.group)
		if a.body != c.group || !strings.HasPrefix(a.cacheStatus(), "edge; "+c.status) {
			t.Errorf("%d: %q %s, want %s", i, a.body, a.cacheStatus(), c.status)
		}
	}
}

// A request without a host, or with long texts, has no key.
func TestCache_requestsWithoutAKey(t *testing.T) {
	long, err := plugin.Template("{header.x-long}{header.x-long}", lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", "max-age=60") }
	g := newRig(t, cache.Route{Texts: []*lang.Template{long}}, answer)
	for name, request := range map[string]string{
		"no host": "GET / HTTP/1.0\r\n\r\n",
		"long":    "GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 5<<10) + "\r\n\r\n",
	} {
		for range 2 {
			w := testutil.Dial(t, g.addr())
			w.Send(request)
			resp, _ := w.ReadResponse("GET")
			if got := resp.Header.Get("Cache-Status"); got != "edge; fwd=bypass; fwd-status=200; detail=key" {
				t.Errorf("%s: %s", name, got)
			}
			w.Close()
		}
	}
}

// What a request has for content is not taken for the next request, and its answer is for nobody else.
func TestCache_contentOfGET(t *testing.T) {
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q", body)
	})
	w := testutil.Dial(t, g.addr())
	defer w.Close()
	const evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
	const passed = "fwd=bypass; fwd-status=200; detail=body"
	content := fmt.Sprintf("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(evil), evil)
	for i, c := range []struct{ request, want, status string }{
		{content, fmt.Sprintf("%q", evil), passed},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", `""`, "fwd=uri-miss"},
		{content, fmt.Sprintf("%q", evil), passed},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", `""`, "hit"},
	} {
		w.Send(c.request)
		resp, body := w.ReadResponse("GET")
		if body != c.want || !strings.HasPrefix(resp.Header.Get("Cache-Status"), "edge; "+c.status) {
			t.Errorf("%d: %s, %v", i, body, resp.Header)
		}
	}
}

// Those that wait for what is not stored, or for nothing, are not served one after the other.
func TestFill_thatIsNotStored(t *testing.T) {
	const n = 50
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		asked  int64
		status int
	}{
		"private": {func(w http.ResponseWriter) {
			w.Header().Set("Cache-Control", "private")
			io.WriteString(w, "own")
		}, n, 200},
		"error": {func(w http.ResponseWriter) { w.WriteHeader(500); io.WriteString(w, "own") }, n, 500},
		"vary":  {func(w http.ResponseWriter) { w.Header().Set("Vary", "*"); io.WriteString(w, "own") }, n, 200},
		"large": {func(w http.ResponseWriter) {
			w.Header().Set("Cache-Control", "max-age=60")
			for range 100 {
				io.WriteString(w, strings.Repeat("x", 1000))
			}
		}, n, 200},
	} {
		t.Run(name, func(t *testing.T) {
			release, first := make(chan bool), make(chan bool)
			var once sync.Once
			g := newRig(t, cache.Route{ObjectMax: 64 << 10}, func(w http.ResponseWriter, r *http.Request) {
				once.Do(func() { close(first); <-release })
				c.answer(w)
			})
			got := make(chan answer, n)
			g.ask(got, 1, "/")
			<-first
			g.ask(got, n-1, "/")
			g.wantFollowers(t, n-1)
			close(release)
			for range n {
				if a := <-got; a.err != nil || a.status != c.status || a.body != "own" && len(a.body) != 100_000 {
					t.Fatalf("%+v", a)
				}
			}
			if asked := g.asked.Load(); asked != c.asked {
				t.Errorf("%d requests to the origin", asked)
			}
		})
	}
}

// A request that has its backend fail, or cut its answer off, does so for itself: the others ask once more, together.
func TestFill_failureOfTheFirstRequest(t *testing.T) {
	const n = 10
	for _, how := range []string{"lost", "cut"} {
		release, first := make(chan bool), make(chan bool, 9)
		g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if r.Header.Get("X-Bad") == "" {
				io.WriteString(w, "good")
				return
			}
			first <- true
			<-release
			if how == "cut" {
				io.WriteString(w, "bad")
				w.(http.Flusher).Flush()
			}
			panic(http.ErrAbortHandler)
		})
		bad, good := make(chan answer, 1), make(chan answer, n)
		go func() { bad <- g.do("GET", "/", "X-Bad", "1") }()
		<-first
		g.ask(good, n, "/")
		g.wantFollowers(t, n)
		close(release)
		for range n {
			if a := <-good; a.err != nil || a.status != 200 || a.body != "good" {
				t.Errorf("%s: %+v", how, a)
			}
		}
		if a := <-bad; a.err == nil && a.status != 502 {
			t.Errorf("%s: %+v", how, a)
		}
		if s := g.zone.Stats(); s.Fills != 2 || s.Stored != 1 {
			t.Errorf("%s: %+v", how, s)
		}
	}
}

// A marker stays until an answer comes that would be stored.
func TestCache_markers(t *testing.T) {
	var large, private atomic.Bool
	large.Store(true)
	private.Store(true)
	g := newRig(t, cache.Route{ObjectMax: 64 << 10}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		switch {
		case r.URL.Path == "/large" && large.Load():
			w.Header().Set("Content-Length", "70000")
			w.Write(make([]byte, 70_000))
		case r.URL.Path == "/private" && private.Load():
			w.Header().Set("Cache-Control", "private")
		}
	})
	want := func(path string, details ...string) {
		t.Helper()
		for i, detail := range details {
			if got := g.get(t, path).cacheStatus(); !strings.Contains(got, detail) {
				t.Errorf("%s, time %d: %s, want %s", path, i+1, got, detail)
			}
		}
	}
	want("/large", "detail=too-large", "detail=uncacheable", "detail=uncacheable")
	want("/private", "detail=private", "detail=uncacheable", "detail=uncacheable")
	large.Store(false)
	private.Store(false)
	want("/large", "detail=uncacheable", "; stored", "edge; hit")
	want("/private", "detail=uncacheable", "; stored", "edge; hit")
}

// Answers on their way to the store take no more memory than they may, however many wait for their heads.
func TestFill_memory(t *testing.T) {
	const n = 120 // of 128 KiB each, in 8 MiB
	release, begun, heads := make(chan bool), make(chan bool, n), make(chan bool)
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-release
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		<-heads
		io.WriteString(w, "b")
	})
	got := make(chan answer, n)
	for i := range n {
		go func() { got <- g.do("GET", fmt.Sprintf("/%d", i)) }()
	}
	for range n {
		<-begun
	}
	close(release)
	testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Passed > 0 }, "some are not stored")
	if held := cache.FillingBytes(g.zone); held > 8<<20+128<<10 {
		t.Errorf("%d bytes are held", held)
	}
	close(heads)
	crowd := 0
	for range n {
		a := <-got
		if a.err != nil || a.body != "ab" {
			t.Fatalf("%+v", a)
		}
		if strings.HasSuffix(a.cacheStatus(), "detail=crowd") {
			crowd++
		}
	}
	if s := g.zone.Stats(); crowd == 0 || int(s.Stored)+crowd != n {
		t.Errorf("%d of %d were passed on, %+v", crowd, n, s)
	}
}

// Of requests that have waited long enough for the answer to another one, one goes to the backend, and the others wait
// for that answer.
func TestFill_lockTimeout(t *testing.T) {
	const waiting = 30
	release, first := make(chan bool), make(chan bool)
	var n atomic.Int64
	g := newRig(t, cache.Route{LockTimeout: 500 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			close(first)
			<-release
		}
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "hello")
	})
	done := make(chan answer)
	go func() { done <- g.do("GET", "/") }()
	<-first
	others := make(chan answer, waiting)
	g.ask(others, waiting, "/")
	for range waiting {
		if a := <-others; a.body != "hello" || strings.Contains(a.cacheStatus(), "waited") {
			t.Errorf("%+v", a)
		}
	}
	if n.Load() > waiting/3 { // on an idle machine 2
		t.Errorf("the backend got %d requests", n.Load())
	}
	close(release)
	if a := <-done; a.body != "hello" {
		t.Errorf("%+v", a)
	}
}

// A request that has waited three times goes to the backend by itself.
func TestFill_lockTimeouts(t *testing.T) {
	const requests = 40 // so many do not come one by one, each after the wait of another
	release := make(chan bool)
	var n atomic.Int64
	g := newRig(t, cache.Route{LockTimeout: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		<-release
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "hello")
	})
	unblock := sync.OnceFunc(func() { close(release) })
	t.Cleanup(unblock)
	all := make(chan answer, requests)
	g.ask(all, requests, "/")
	testutil.Eventually(t, testutil.Patience, func() bool { return n.Load() == requests }, "all are asked")
	unblock()
	waited := 0
	for range requests {
		a := <-all
		if a.body != "hello" {
			t.Errorf("%+v", a)
		}
		if a.cacheStatus() == "edge; fwd=bypass; fwd-status=200; detail=waited" {
			waited++
		}
	}
	if waited == 0 || waited > requests-3 { // the first, and those that led after the first and the second wait
		t.Errorf("%d of %d went by themselves", waited, requests)
	}
}

// A slow client of a large answer that is not stored holds its backend back, and nobody else.
func TestFill_slowClientOfWhatIsNotStored(t *testing.T) {
	const size = 32 << 20
	var sent atomic.Int64
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		p := make([]byte, 64<<10)
		for range size / len(p) {
			if _, err := w.Write(p); err != nil {
				return
			}
			sent.Add(int64(len(p)))
		}
	})
	w := testutil.Dial(t, g.addr())
	w.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	last := int64(-1)
	testutil.Eventually(t, testutil.Patience, func() bool {
		n := sent.Load()
		still := n == last && n > 0
		last = n
		return still
	}, "the backend is held back")
	if n := sent.Load(); n >= size {
		t.Errorf("the backend has sent all")
	}
	resp, body := w.ReadResponse("GET")
	if resp.StatusCode != 200 || len(body) != size {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
}

// largeBody is a body of n bytes that depend on what it is of.
func largeBody(of string, n int) string {
	b := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(of))).Read(b)
	return string(b)
}

// Bodies above 64 KiB are stored, too, and given to all who ask, whole and in parts, over HTTP/1 and HTTP/2.
func TestLarge(t *testing.T) {
	for _, framing := range []string{"length", "chunked"} {
		t.Run(framing, func(t *testing.T) {
			g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
				size, _ := strconv.Atoi(r.URL.Query().Get("size"))
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("ETag", `"a"`)
				if framing == "length" {
					w.Header().Set("Content-Length", strconv.Itoa(size))
				}
				_, _ = io.WriteString(w, largeBody(r.URL.Path, size))
			})
			for _, size := range []int{64<<10 - 1, 64<<10 + 1, 256 << 10, 1<<20 - 1, 1 << 20} {
				path := fmt.Sprintf("/%d?size=%d", size, size)
				want := largeBody(path[:strings.Index(path, "?")], size)
				stored := "fwd=uri-miss; fwd-status=200"
				if framing == "length" {
					stored += "; stored"
				}
				g.get(t, path).want(t, 200, want, stored)
				for range 3 {
					g.get(t, path).want(t, 200, want, "hit")
				}
				part := g.do("GET", path, "Range", "bytes=65000-65999")
				part.want(t, 206, want[65000:min(66000, size)], "hit")
				g.do("HEAD", path).want(t, 200, "", "hit")
				if n := g.do("HEAD", path).head.Get("Content-Length"); n != strconv.Itoa(size) {
					t.Errorf("HEAD: %s bytes, want %d", n, size)
				}
				g.do("GET", path, "If-None-Match", `"a"`).want(t, 304, "", "hit")
			}
			if n := g.asked.Load(); n != 5 {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
}

// A client that stalls with a large answer in its socket gets every byte of it, whatever comes and goes in the store
// meanwhile; and the bodies of all never take more than their share.
func TestLarge_stalledWhileAllIsEvicted(t *testing.T) {
	const size, share = 1 << 20, 16 << 20
	g := &rig{bodies: share}
	g.serve(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = io.WriteString(w, largeBody(r.URL.Path, size))
	})
	g.get(t, "/0").want(t, 200, largeBody("/0", size), "fwd=uri-miss; fwd-status=200; stored")
	var stalled []*net.TCPConn
	for range 3 {
		c := g.dial(t)
		_ = c.SetReadBuffer(64 << 10)
		fmt.Fprint(c, "GET /0 HTTP/1.1\r\nHost: "+g.addr()+"\r\nConnection: close\r\n\r\n")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		stalled = append(stalled, c)
	}
	for round := range 3 {
		for i := range share / size {
			path := fmt.Sprintf("/%d/%d", round, i)
			if a := g.get(t, path); a.body != largeBody(path, size) {
				t.Fatalf("%s: %d bytes", path, len(a.body))
			}
			if n := g.zone.Stats().BodyBytes; n > share {
				t.Fatalf("bodies take %d bytes", n)
			}
		}
	}
	if s := g.zone.Stats(); s.BodiesEvicted < 2*share/size {
		t.Errorf("%d bodies gave way to others", s.BodiesEvicted)
	}
	for _, c := range stalled {
		got, err := io.ReadAll(c)
		if _, body, _ := bytes.Cut(got, []byte("\r\n\r\n")); err != nil || string(body) != largeBody("/0", size) {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	}
}

// A hit on a body in a file allocates nothing.
func TestLarge_hitAllocatesNothing(t *testing.T) {
	const size = 100_000
	g := newRig(t, cache.Route{NoStatus: true}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=86400")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = io.WriteString(w, largeBody("", size))
	})
	c := g.dial(t)
	request, answer := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), make([]byte, size+4096)
	exchange := func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n, end := 0, 0; end == 0 || n < end; {
			k, err := c.Read(answer[n:])
			if n += k; err != nil {
				t.Fatal(err)
			}
			if at := bytes.Index(answer[:n], []byte("\r\n\r\n")); at > 0 {
				end = at + 4 + size
			}
		}
	}
	exchange()
	if n := testutil.Allocs(1000, exchange); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if n := g.asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// writeCounted writes a body of size bytes, a multiple of 64 KiB, and adds to sent what the client has taken.
func writeCounted(w io.Writer, size int, sent *atomic.Int64) {
	for range size >> 16 {
		n, _ := w.Write(make([]byte, 1<<16))
		sent.Add(int64(n))
	}
}

// A backend of a large answer is not far ahead of the fastest of those who take it, and goes on when that one does.
func TestLarge_isPaced(t *testing.T) {
	const size = 31 << 20
	var sent atomic.Int64
	g := &rig{bodies: 512 << 20}
	g.serve(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		writeCounted(w, size, &sent)
	})
	c := g.dial(t)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return sent.Load() > 8<<20 }, "the backend sends")
	last := int64(-1)
	testutil.Eventually(t, testutil.Patience, func() bool { // beside the 8 MiB there are sockets that hold some
		now := sent.Load()
		still := now == last
		last = now
		return still
	}, "the backend waits")
	if last == size {
		t.Error("the backend has sent all")
	}
	if got, err := io.ReadAll(c); err != nil || len(got) < size {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if a := g.do("GET", "/", "Host", "a"); len(a.body) != size || !strings.HasPrefix(a.cacheStatus(), "edge; hit") {
		t.Errorf("%d bytes, %s", len(a.body), a.cacheStatus())
	}
}

// When the last client leaves, the rest of a large answer is fetched if it is small, and given up if it is not.
func TestLarge_clientLeaves(t *testing.T) {
	ended := make(chan bool)
	g := &rig{bodies: 512 << 20}
	g.serve(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, 1<<16))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			ended <- true
		case <-ended:
			_, _ = w.Write(make([]byte, size-1<<16))
		}
	})
	for _, size := range []int{4 << 20, 16 << 20} {
		c := g.dial(t)
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", size)
		if _, err := io.ReadFull(c, make([]byte, 1<<16)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if size < 8<<20 {
			ended <- true
			testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Stored == 1 }, "it is stored")
		} else {
			<-ended
			failed := func() bool { return g.zone.Stats().Failed == 1 }
			testutil.Eventually(t, testutil.Patience, failed, "it is given up")
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		s := g.zone.Stats()
		return s.Bodies == 1 && s.BodyBytes < 5<<20
	}, "the memory of the other one is given back")
}

// A client that leaves before the head of its answer is charged for what comes: small answers are all fetched to their
// end, and large ones are given up, whether their length is stated or not.
func TestLarge_clientLeavesBeforeTheHead(t *testing.T) {
	const size = 31 << 20
	came, next, sent := make(chan bool), make(chan bool), atomic.Int64{}
	g := &rig{bodies: 512 << 20}
	g.serve(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			return
		}
		came <- true
		<-next
		w.Header().Set("Cache-Control", "max-age=60")
		if strings.HasPrefix(r.URL.Path, "/small") {
			_ = http.NewResponseController(w).Flush() // its length is not stated
			_, _ = io.WriteString(w, "small")
			return
		}
		if r.URL.Path == "/stated" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		writeCounted(w, size, &sent)
	})
	c := testutil.H2C(t)
	leave := func(path string) {
		t.Helper()
		before := g.zone.Stats()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-came
			cancel()
		}()
		for _, r := range []*http.Request{
			httptest.NewRequestWithContext(ctx, "GET", g.url+path, nil),
			httptest.NewRequest("PUT", g.url+"/put", nil), // its answer comes after edge was told that the client left
		} {
			r.RequestURI = ""
			if resp, err := c.Do(r); err == nil {
				resp.Body.Close()
			} else if r.Method == "PUT" {
				t.Fatal(err)
			}
		}
		next <- true
		testutil.Eventually(t, testutil.Patience, func() bool {
			s := g.zone.Stats()
			return s.Stored+s.Failed > before.Stored+before.Failed
		}, "its answer is stored, or given up")
	}
	for i := range 12 {
		leave(fmt.Sprint("/small/", i))
	}
	if s := g.zone.Stats(); s.Stored != 12 {
		t.Errorf("%d small answers of 12 were fetched to their end", s.Stored)
	}
	leave("/stated")
	leave("/unstated")
	if s := g.zone.Stats(); s.Failed != 2 || sent.Load() > size {
		t.Errorf("%d large answers of 2 were given up, %d bytes were sent", s.Failed, sent.Load())
	}
}

// Clients that ask for a byte of large answers have no more fetched for nobody than 32 MiB, and as much as others take.
func TestLarge_clientsTakeAByte(t *testing.T) {
	const size = 4 << 20
	next := make(chan bool)
	g := &rig{bodies: 512 << 20}
	g.serve(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, 1<<16))
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path != "/whole" {
			select {
			case <-r.Context().Done():
			case <-next: // the client has its byte
			}
		}
		_, _ = w.Write(make([]byte, size-1<<16))
	})
	var over uint64 // answers that are stored, or were given up
	ask := func(path string) (stored uint64) {
		t.Helper()
		if a := g.get(t, path, "Range", "bytes=0-0"); a.status != 206 || len(a.body) != 1 {
			t.Fatalf("%+v", a)
		}
		over++
		testutil.Eventually(t, testutil.Patience, func() bool {
			select {
			case next <- true:
			default:
			}
			s := g.zone.Stats()
			stored = s.Stored
			return s.Stored+s.Failed == over
		}, "its answer is stored, or given up")
		return stored
	}
	for i := range 12 {
		ask(fmt.Sprint("/", i))
	}
	if n := g.zone.Stats().Stored; n != 8 {
		t.Errorf("%d answers of 12 were fetched to their end", n)
	}
	over++
	if a := g.get(t, "/whole"); len(a.body) != size {
		t.Fatalf("%d bytes", len(a.body))
	}
	if ask("/more") != 10 {
		t.Error("a client has taken a whole answer, and no other one is fetched to its end")
	}
}
