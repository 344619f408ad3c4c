package cache_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
	"github.com/edge-proxy/edge/session"
)

// page is what an origin has at all paths: it may change, and answers by net/http.
type page struct {
	mu      sync.Mutex
	version int    // of the body, and of the ETag
	fields  string // of answers: lines
	status  int    // in place of an answer; 0: it answers, -1: it ends the connection
	asked   []string
}

func (p *page) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// wantAsked compares what the origin was asked since the last call.
func (p *page) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := strings.Join(p.asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the origin was asked\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	p.asked = nil
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	content, _ := io.ReadAll(r.Body)
	asked := strings.TrimSpace(fmt.Sprint(r.Method, " ", r.Header.Get("If-None-Match"), string(content)))
	p.asked = append(p.asked, asked)
	for line := range strings.SplitSeq(p.fields, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			w.Header().Set(name, value)
		}
	}
	switch {
	case p.status < 0:
		panic(http.ErrAbortHandler)
	case p.status > 0:
		w.WriteHeader(p.status)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, p.version))
	http.ServeContent(w, r, "page.txt", time.Time{}, strings.NewReader(fmt.Sprintf("page %d%s", p.version, content)))
}

func newPage(t *testing.T, route cache.Route, fields string) (*rig, *page) {
	p := &page{fields: fields}
	return newRig(t, route, p.ServeHTTP), p
}

// ttl is the lifetime that is left: a Date has no parts of a second.
var ttl = regexp.MustCompile(`ttl=-?\d*`)

func (a answer) want(t *testing.T, status int, body, cacheStatus string) {
	t.Helper()
	ok := a.err == nil && a.status == status && a.body == body
	got, want := ttl.ReplaceAllString(a.cacheStatus(), "ttl"), ttl.ReplaceAllString("edge; "+cacheStatus, "ttl")
	if !ok || !strings.HasPrefix(got, want) {
		t.Errorf("%d %q %v %v, want %d %q %s", a.status, a.body, a.head, a.err, status, body, cacheStatus)
	}
}

// A stored answer whose lifetime is over is renewed by a 304, with the fields of that: RFC 9111 §4.3.4.
func TestRenew(t *testing.T) {
	g, p := newPage(t, cache.Route{}, "Cache-Control: max-age=0\nX-A: 1\nX-B: 1")
	g.get(t, "/").want(t, 200, "page 0", "fwd=uri-miss; fwd-status=200; stored")
	p.wantAsked(t, "GET")
	g.get(t, "/").want(t, 200, "page 0", "fwd=stale; fwd-status=304")
	p.wantAsked(t, `GET "0"`)
	p.set(func() { p.fields = "Cache-Control: max-age=60\nX-A: 2" })
	g.get(t, "/").want(t, 200, "page 0", "fwd=stale; fwd-status=304")
	p.wantAsked(t, `GET "0"`)
	a := g.get(t, "/")
	a.want(t, 200, "page 0", "hit; ttl=")
	if a.head.Get("X-A") != "2" || a.head.Get("X-B") != "1" || a.head.Get("Content-Type") == "" {
		t.Errorf("%v", a.head)
	}
	p.wantAsked(t)
	if n := g.counts.Of(proxy.CacheRevalidated); n != 2 {
		t.Errorf("%d were renewed", n)
	}
}

// The head ends a 304: RFC 9112 §6.3. Content after it is not a failure of the backend, and no part of a later answer.
func TestRenew_contentAfter304(t *testing.T) {
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0")
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == "" {
			fmt.Fprint(w, "page") //nolint:errcheck // the client says
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close() //nolint:errcheck // edge closes it first
		const answer = "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 6\r\n\r\npoison"
		if _, err := io.WriteString(c, answer); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, c) //nolint:errcheck // edge closes it
	})
	g.get(t, "/").want(t, 200, "page", "fwd=uri-miss; fwd-status=200; stored")
	for range 3 {
		g.get(t, "/").want(t, 200, "page", "fwd=stale; fwd-status=304")
	}
}

// Another answer takes the place of the stored one.
func TestRenew_byAnotherAnswer(t *testing.T) {
	g, p := newPage(t, cache.Route{}, "Cache-Control: no-cache")
	g.get(t, "/").want(t, 200, "page 0", "fwd=uri-miss; fwd-status=200; stored")
	p.set(func() { p.version = 1 })
	g.get(t, "/").want(t, 200, "page 1", "fwd=stale; fwd-status=200; stored")
	g.get(t, "/").want(t, 200, "page 1", "fwd=stale; fwd-status=304")
	p.wantAsked(t, "GET", `GET "0"`, `GET "1"`)
	p.set(func() { p.status = 404 })
	g.get(t, "/").want(t, 404, "", "fwd=stale; fwd-status=404; detail=no-validator")
}

// A 304 that is about another answer, or that forbids to store it, has the backend asked without conditions.
func TestRenew_byAWrong304(t *testing.T) {
	for _, c := range []struct{ fields, status string }{
		{`ETag: "9"`, "fwd=uri-miss; fwd-status=200; stored"},
		{"Cache-Control: no-store", "fwd=bypass; fwd-status=200; detail=no-store"},
		{"Vary: X-A", "fwd=uri-miss; fwd-status=200; stored"},
		{"Connection: Cache-Control", "fwd=uri-miss; fwd-status=200; stored"},
	} {
		t.Run(c.fields, func(t *testing.T) {
			var asked []string
			g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("If-None-Match"))
				w.Header().Set("Cache-Control", "max-age=0")
				w.Header().Set("ETag", `"1"`)
				if r.Header.Get("If-None-Match") != "" {
					name, value, _ := strings.Cut(c.fields, ": ")
					w.Header().Set(name, value)
					w.WriteHeader(304)
					return
				}
				io.WriteString(w, "whole")
			})
			g.get(t, "/").want(t, 200, "whole", "fwd=uri-miss; fwd-status=200; stored")
			g.get(t, "/").want(t, 200, "whole", c.status)
			if got := strings.Join(asked, ","); got != `,"1",` {
				t.Errorf("asked with %s", got)
			}
		})
	}
}

// script is a backend whose streams answer the first request with a whole answer, and others as play says.
type script struct {
	asked atomic.Int64
	play  func(s session.Stream, to session.Receiver)
}

func (d *script) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	s := &session.NopStream{}
	x.Reactor().Defer(&engine.Task{Run: func(*engine.Reactor) {
		if d.asked.Add(1) > 1 {
			d.play(s, to)
			return
		}
		h := &message.Head{Status: 200, Length: 5, Proto: message.HTTP11}
		h.Add("ETag", `"1"`)
		h.Add("Cache-Control", "max-age=0, stale-if-error=60")
		to.OnHead(s, h, false)
		to.OnData(s, []byte("whole"), true)
	}})
	return proxy.Opening{Stream: s}
}

// HTTP/2 may end a 304 after its head. What comes then belongs to nobody.
func TestRenew_endsAfterItsHead(t *testing.T) {
	for name, then := range map[string]func(s session.Stream, to session.Receiver){
		"data":     func(s session.Stream, to session.Receiver) { to.OnData(s, []byte("more"), true) },
		"end":      func(s session.Stream, to session.Receiver) { to.OnData(s, nil, true) },
		"trailers": func(s session.Stream, to session.Receiver) { to.OnTrailers(s, &message.Head{}) },
		"reset":    func(s session.Stream, to session.Receiver) { to.OnReset(s, session.Cancelled, io.EOF) },
		"nothing":  func(session.Stream, session.Receiver) {},
	} {
		for _, status := range []uint16{304, 503} {
			g := &rig{onward: &script{play: func(s session.Stream, to session.Receiver) {
				h := &message.Head{Status: status, Length: -1, Proto: message.HTTP20}
				h.Add("Cache-Control", "max-age=0, stale-if-error=60")
				to.OnHead(s, h, false)
				then(s, to)
			}}}
			g.start(t, cache.Route{}, "127.0.0.1:1")
			for range 4 {
				if a := g.get(t, "/"); a.status != 200 || a.body != "whole" {
					t.Errorf("%s after %d: %+v", name, status, a)
				}
			}
		}
	}
}

// RFC 5861 §3: a stale answer is given at once, and the backend is asked for the next request.
func TestRefresh(t *testing.T) {
	g, p := newPage(t, cache.Route{}, "Cache-Control: max-age=0, stale-while-revalidate=60")
	g.get(t, "/").want(t, 200, "page 0", "fwd=uri-miss; fwd-status=200; stored")
	p.set(func() { p.version, p.fields = 1, "Cache-Control: max-age=60" })
	g.get(t, "/").want(t, 200, "page 0", "hit; ttl=0; detail=stale-while-revalidate")
	testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Stored == 2 }, "it is refreshed")
	g.get(t, "/").want(t, 200, "page 1", "hit; ttl=")
	p.wantAsked(t, "GET", `GET "0"`)
	if n := g.counts.Of(proxy.CacheStale); n != 1 {
		t.Errorf("%d were stale", n)
	}
}

// RFC 5861 §4: a stale answer is given in place of an error, and the backend is not asked again at once.
func TestStaleOnError(t *testing.T) {
	for _, c := range []struct {
		name, fields string
		status       int
		stale        string // the word; "": the client gets the error
	}{
		{"stated, 503", "Cache-Control: max-age=0, stale-if-error=60", 503, "stale-if-error"},
		{"stated, 404", "Cache-Control: max-age=0, stale-if-error=60", 404, ""},
		{"stated, no answer", "Cache-Control: max-age=0, stale-if-error=60", -1, "stale-if-error"},
		{"by the route, no answer", "Cache-Control: max-age=0", -1, "stale-on-error"},
		{"by the route, 503", "Cache-Control: max-age=0", 503, ""},
		{"must-revalidate", "Cache-Control: max-age=0, must-revalidate, stale-if-error=60", 503, ""},
		{"s-maxage", "Cache-Control: s-maxage=0", -1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, p := newPage(t, cache.Route{Rules: policy.Rules{StaleOnError: time.Minute}}, c.fields)
			g.get(t, "/").want(t, 200, "page 0", "fwd=uri-miss")
			p.set(func() { p.status = c.status })
			begun := time.Now()
			a := g.get(t, "/")
			if c.stale == "" {
				if a.status < 400 {
					t.Errorf("%+v", a)
				}
				return
			}
			a.want(t, 200, "page 0", "hit; ttl=0; detail="+c.stale)
			asked := g.asked.Load()
			a, again := g.get(t, "/"), g.asked.Load() != asked
			if time.Since(begun) < time.Second {
				if a.want(t, 200, "page 0", "hit; ttl=0; detail=retry-later"); again {
					t.Error("the backend is asked again at once")
				}
			}
		})
	}
}

// A request that is to end when a backend has not answered in time gets the stale answer before it ends.
func TestStaleOnError_totalTime(t *testing.T) {
	g := &rig{timeout: 300 * time.Millisecond, onward: &script{play: func(session.Stream, session.Receiver) {}}}
	g.start(t, cache.Route{}, "127.0.0.1:1")
	g.get(t, "/").want(t, 200, "whole", "fwd=uri-miss")
	if a := g.get(t, "/"); a.body != "whole" || !strings.HasSuffix(a.cacheStatus(), "detail=stale-if-error") {
		t.Errorf("%+v", a)
	}
}

// Requests that have waited too long for a backend that does not answer get the stale answer, and do not ask it, too.
func TestStaleOnError_waited(t *testing.T) {
	wait := make(chan bool)
	route := cache.Route{LockTimeout: 20 * time.Millisecond, Rules: policy.Rules{StaleOnError: time.Minute}}
	g := newRig(t, route, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			<-wait
		}
		w.Header().Set("Cache-Control", "max-age=1")
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("whole"))
	})
	g.get(t, "/")
	over := time.Now().Add(1100 * time.Millisecond)
	testutil.Eventually(t, testutil.Patience, func() bool { return time.Now().After(over) }, "its lifetime is over")
	first := make(chan answer)
	go func() { first <- g.do("GET", "/") }()
	testutil.Eventually(t, testutil.Patience, func() bool { return g.asked.Load() == 2 }, "the origin is asked")
	for range 3 {
		if a := g.get(t, "/"); a.body != "whole" || !strings.HasSuffix(a.cacheStatus(), "detail=stale-on-error") {
			t.Errorf("%+v", a)
		}
	}
	close(wait)
	if a := <-first; a.cacheStatus() != "edge; fwd=stale; fwd-status=304" || g.asked.Load() != 2 {
		t.Errorf("%+v, %d requests", a, g.asked.Load())
	}
}

// A backend that fails is not asked for each hit while a stale answer is used.
func TestRefresh_fails(t *testing.T) {
	g, p := newPage(t, cache.Route{}, "Cache-Control: max-age=0, stale-while-revalidate=60")
	g.get(t, "/")
	p.set(func() { p.status, p.fields = 500, "" })
	begun := time.Now()
	g.get(t, "/").want(t, 200, "page 0", "hit; ttl=0; detail=stale-while-revalidate")
	testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Passed == 1 }, "it has failed")
	for range 5 {
		a := g.get(t, "/")
		if a.body != "page 0" || g.asked.Load() > 2 && time.Since(begun) < time.Second {
			t.Fatalf("%+v, %d requests", a, g.asked.Load())
		}
	}
}

// RFC 9111 §4.4: what a request changes is stored no more, nor what its answer names of the same origin.
func TestInvalidate(t *testing.T) {
	g, p := newPage(t, cache.Route{Query: cache.Query{Drop: []string{"x"}}}, "Cache-Control: max-age=60")
	for _, c := range []struct{ method, path, fields, dead, alive string }{
		{"POST", "/a", "", "/a", "/b"},
		{"PUT", "/a?y=1", "", "/a?y=1", "/a"},
		{"DELETE", "/a?x=2", "", "/a", "/b"},
		{"PATCH", "/%61", "", "/a", "/b"},
		{"M-SEARCH", "/a", "", "/a", "/b"},
		{"POST", "/c/d", "Location: ../b", "/b", "/a"},
		{"POST", "/c/d", "Content-Location: " + g.url + "/b?x=1", "/b", "/a"},
		{"POST", "/c/d", "Location: https://other.example/b", "", "/b"},
		{"SEARCH", "/a", "", "", "/a"},
		{"OPTIONS", "/a", "", "", "/a"},
	} {
		for _, path := range []string{c.dead, c.alive} {
			if path != "" {
				g.get(t, path)
				g.get(t, path).want(t, 200, "page 0", "hit")
			}
		}
		p.set(func() { p.fields += "\n" + c.fields })
		g.do(c.method, c.path)
		p.set(func() { p.fields = "Cache-Control: max-age=60" })
		if c.dead != "" {
			g.get(t, c.dead).want(t, 200, "page 0", "fwd=uri-miss; fwd-status=200; stored")
		}
		g.get(t, c.alive).want(t, 200, "page 0", "hit")
	}
	p.set(func() { p.status = 409 })
	g.do("POST", "/a")
	p.set(func() { p.status = 0 })
	g.get(t, "/a").want(t, 200, "page 0", "hit")
}

// A client does not end what is stored by unsafe requests to URLs that nobody has asked for.
func TestInvalidate_otherURLs(t *testing.T) {
	g := &rig{memory: 1 << 20, bodies: 1} // the table has room for 1792 names
	g.serve(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		io.WriteString(w, "page")
	})
	const pages, posts, batch = 20, 6000, 50
	for i := range pages {
		g.get(t, fmt.Sprint("/page/", i))
	}
	w := testutil.Dial(t, g.addr())
	defer w.Close()
	for i := range posts / batch {
		var all strings.Builder
		for k := range batch {
			fmt.Fprintf(&all, "POST /nothing/%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n", i*batch+k)
		}
		w.Send(all.String())
		for range batch {
			if resp, _ := w.ReadResponse("POST"); resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
		}
	}
	for i := range pages {
		g.get(t, fmt.Sprint("/page/", i)).want(t, 200, "page", "hit")
	}
}

// A request that is given what another URL has stored, since both are rewritten to one, is ended by its own URL.
func TestInvalidate_aliases(t *testing.T) {
	one := &proxy.Filter{Name: "one", Request: func(x *proxy.Exchange) proxy.Verdict {
		if x.Request.Verb == message.VerbGet {
			x.Request.SetTarget("/one")
		}
		return proxy.Next
	}}
	var version atomic.Int64
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			version.Add(1)
		}
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprint(w, "page ", version.Load())
	}, one)
	g.get(t, "/a").want(t, 200, "page 0", "fwd=uri-miss; fwd-status=200; stored")
	g.get(t, "/b").want(t, 200, "page 0", "hit")
	g.do("POST", "/b")
	g.get(t, "/b").want(t, 200, "page 1", "fwd=uri-miss; fwd-status=200; stored")
}

// What an answer has left in the store stays there when the answer to an older request comes.
func TestFill_comesLate(t *testing.T) {
	for _, c := range []struct{ name, control, vary, next string }{
		{"an answer", "no-cache", "", `"2"`},
		{"a list of varying fields", "no-cache", "X-Lang", `"2"`},
		{"a marker", "no-store", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked [4]string // by the requests
			release := make(chan bool)
			n := atomic.Int64{}
			g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
				n := n.Add(1) - 1
				asked[n] = r.Header.Get("If-None-Match")
				w.Header().Set("Cache-Control", "no-cache")
				if n == 1 {
					<-release
				} else if n == 2 {
					w.Header().Set("Cache-Control", c.control)
					w.Header()["Vary"] = []string{c.vary}
				}
				w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
			})
			g.get(t, "/")
			late := make(chan answer)
			go func() { late <- g.do("GET", "/") }()
			testutil.Eventually(t, testutil.Patience, func() bool { return n.Load() == 2 }, "the second one is asked")
			g.get(t, "/")
			close(release)
			if a := <-late; a.head.Get("ETag") != `"1"` {
				t.Errorf("%+v", a)
			}
			g.get(t, "/")
			if want := [4]string{"", `"0"`, `"0"`, c.next}; asked != want {
				t.Errorf("the origin was asked with %q, not with %q", asked, want)
			}
		})
	}
}

// Conditions and ranges of clients are answered from the store, and from an answer on its way to it.
func TestConditions(t *testing.T) {
	const fields = "Cache-Control: max-age=60\nLast-Modified: Mon, 02 Jan 2006 15:04:05 GMT\nX-A: 1"
	for _, c := range []struct {
		method, name, value string
		status              int
		body, part          string
	}{
		{"GET", "If-None-Match", `"0"`, 304, "", ""},
		{"GET", "If-None-Match", `"x", W/"0"`, 304, "", ""},
		{"GET", "If-None-Match", `"x"`, 200, "page 0", ""},
		{"GET", "If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT", 304, "", ""},
		{"GET", "If-Modified-Since", "Mon, 02 Jan 2006 15:04:04 GMT", 200, "page 0", ""},
		{"GET", "Range", "bytes=2-3", 206, "ge", "bytes 2-3/6"},
		{"GET", "Range", "bytes=4-", 206, " 0", "bytes 4-5/6"},
		{"GET", "Range", "bytes=0-9", 206, "page 0", "bytes 0-5/6"},
		{"GET", "Range", "bytes=6-", 416, "", "bytes */6"},
		{"GET", "Range", "bytes=1-0", 200, "page 0", ""},
		{"HEAD", "If-None-Match", `"0"`, 304, "", ""},
		{"HEAD", "Range", "bytes=2-3", 200, "", ""},
	} {
		for _, stored := range []bool{false, true} {
			g, p := newPage(t, cache.Route{}, fields)
			want := "fwd=uri-miss; fwd-status=200; stored"
			if stored {
				want = "hit"
				g.get(t, "/")
				p.wantAsked(t, "GET")
			} else if c.method == "HEAD" || c.part == "" && c.name == "Range" {
				continue // these go by
			}
			a := g.do(c.method, "/", c.name, c.value)
			a.want(t, c.status, c.body, want)
			if got := a.head.Get("Content-Range"); got != c.part {
				t.Errorf("%s: %s is answered %q", c.name, c.value, got)
			}
			lacks := func(name string) bool { return a.head.Get(name) == "" }
			if lacks("X-A") != (c.status == 304 || c.status == 416) || lacks("ETag") != (c.status == 416) ||
				lacks("Cache-Control") != (c.status == 416) {
				t.Errorf("%s: %s: %v", c.name, c.value, a.head)
			}
			if !stored {
				p.wantAsked(t, "GET") // for the whole, without conditions
			}
			g.get(t, "/").want(t, 200, "page 0", "hit")
		}
	}
}

func TestConditions_several(t *testing.T) {
	g, _ := newPage(t, cache.Route{}, "Cache-Control: max-age=60")
	g.get(t, "/")
	g.get(t, "/", "Range", "bytes=2-3", "If-Range", `"0"`).want(t, 206, "ge", "hit")
	g.get(t, "/", "Range", "bytes=2-3", "If-Range", `"1"`).want(t, 200, "page 0", "hit")
	g.get(t, "/", "Range", "bytes=2-3", "If-None-Match", `"0"`).want(t, 304, "", "hit")
	g.get(t, "/", "Range", "bytes=0-0,2-3").want(t, 200, "page 0", "hit")
}

// HEAD is answered from the answer to GET, and an answer whose lifetime is over is renewed by GET.
func TestHEAD_renewsByGET(t *testing.T) {
	g, p := newPage(t, cache.Route{}, "Cache-Control: no-cache")
	g.get(t, "/")
	for range 2 {
		a := g.do("HEAD", "/")
		a.want(t, 200, "", "fwd=stale; fwd-status=304")
		if a.head.Get("Content-Length") != "6" {
			t.Errorf("%v", a.head)
		}
	}
	p.set(func() { p.version = 1 })
	g.do("HEAD", "/").want(t, 200, "", "fwd=stale; fwd-status=200; stored")
	g.get(t, "/").want(t, 200, "page 1", "fwd=stale; fwd-status=304")
	p.wantAsked(t, "GET", `GET "0"`, `GET "0"`, `GET "0"`, `GET "1"`)
}

// RFC 10008: the content of QUERY is a part of the key.
func TestQUERY(t *testing.T) {
	g, p := newPage(t, cache.Route{}, "Cache-Control: max-age=60")
	g.send("QUERY", "/", " a").want(t, 200, "page 0 a", "fwd=uri-miss; fwd-status=200; stored")
	g.send("QUERY", "/", " a").want(t, 200, "page 0 a", "hit")
	g.send("QUERY", "/", " b").want(t, 200, "page 0 b", "fwd=uri-miss")
	g.send("QUERY", "/", " a", "Content-Type", "a/b").want(t, 200, "page 0 a", "fwd=uri-miss")
	g.get(t, "/").want(t, 200, "page 0", "fwd=uri-miss")
	p.wantAsked(t, "QUERY  a", "QUERY  b", "QUERY  a", "GET")
	large := strings.Repeat("x", 70000)
	g.send("QUERY", "/", large).want(t, 200, "page 0"+large, "fwd=bypass; fwd-status=200; detail=body")
	g.do("POST", "/")
	g.send("QUERY", "/", " a").want(t, 200, "page 0 a", "fwd=uri-miss")
}

// QUERY goes to the backend by itself, with its content, where the answer to another one is not stored.
func TestQUERY_isPassed(t *testing.T) {
	wait := make(chan bool)
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		<-wait
		content, _ := io.ReadAll(r.Body)
		w.Header().Set("Cache-Control", "no-store")
		w.Write(append([]byte("of "), content...))
	})
	answers := make(chan answer)
	for range 5 {
		go func() { answers <- g.send("QUERY", "/", "content") }()
	}
	g.wantFollowers(t, 4)
	close(wait)
	for range 5 {
		if a := <-answers; a.body != "of content" {
			t.Errorf("%+v", a)
		}
	}
}

// Each request for an answer that has to be asked for anew asks by itself, all at once.
func TestAlone(t *testing.T) {
	var inside, most atomic.Int64
	release := make(chan bool)
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		if n := inside.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer inside.Add(-1)
		<-release
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "a.txt", time.Time{}, bytes.NewReader([]byte("whole")))
	})
	const clients = 20
	answers := make(chan answer)
	g.ask(answers, clients, "/")
	g.wantFollowers(t, clients-1)
	release <- true // the first one
	testutil.Eventually(t, testutil.Patience, func() bool { return inside.Load() == clients-1 }, "all others ask")
	close(release)
	statuses := map[string]int{}
	for range clients {
		a := <-answers
		if a.body != "whole" {
			t.Errorf("%+v", a)
		}
		statuses[a.cacheStatus()]++
	}
	if statuses["edge; fwd=uri-miss; fwd-status=200; stored"] != 1 ||
		statuses["edge; fwd=stale; fwd-status=304; detail=no-cache"] != clients-1 {
		t.Errorf("%v", statuses)
	}
}

// Directives of requests count where the route says so: RFC 9111 §5.2.1.
func TestDirectivesOfRequests(t *testing.T) {
	for _, honour := range []bool{false, true} {
		g, p := newPage(t, cache.Route{Rules: policy.Rules{Honour: honour}}, "Cache-Control: max-age=60")
		if a := g.get(t, "/", "Cache-Control", "only-if-cached"); (a.status == 504) != honour {
			t.Errorf("%+v", a)
		}
		g.get(t, "/")
		g.get(t, "/").want(t, 200, "page 0", "hit")
		p.wantAsked(t, "GET")
		want := "hit"
		if honour {
			want = "fwd=request; fwd-status=304"
		}
		g.get(t, "/", "Cache-Control", "no-cache").want(t, 200, "page 0", want)
		g.get(t, "/", "Pragma", "no-cache").want(t, 200, "page 0", want)
	}
}

// Fields that ask for another host or method than the request has are not sent on.
func TestOverrides(t *testing.T) {
	g := newRig(t, cache.Route{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for name := range r.Header {
			if name = strings.ToLower(name); strings.Contains(name, "method") || strings.HasPrefix(name, "x-h") {
				fmt.Fprintln(w, name)
			}
		}
	})
	for _, method := range []string{"GET", "POST"} {
		a := g.do(method, "/"+method, "X-Host", "a", "X-HTTP-Host-Override", "a", "x-http-method", "a",
			"X-HTTP-Method-Override", "a", "X_METHOD_OVERRIDE", "a", "X-Method-Overrides", "a")
		if a.body != "x-method-overrides\n" {
			t.Errorf("%s: %q", method, a.body)
		}
	}
}

// What is stored by a Route that a rule has chosen ends, too, whatever the query is there.
func TestInvalidate_byAnotherChoice(t *testing.T) {
	short := new(cache.Choice)
	chosen := &cache.Route{Query: cache.Query{Drop: []string{"x"}}}
	route := cache.Route{Off: true, Choices: map[*cache.Choice]*cache.Route{short: chosen}}
	rule := &proxy.Filter{Name: "rule", BeforeRoute: func(x *proxy.Exchange) proxy.Verdict {
		if x.Request.Verb == message.VerbGet {
			cache.Choose(x, short)
		}
		return proxy.Next
	}}
	p := &page{fields: "Cache-Control: max-age=60"}
	g := newRig(t, route, p.ServeHTTP, rule)
	g.get(t, "/?x=1")
	g.get(t, "/?x=1").want(t, 200, "page 0", "hit")
	g.do("POST", "/?x=1")
	g.get(t, "/?x=1").want(t, 200, "page 0", "fwd=uri-miss")
}

// A rule chooses among the Routes of a front.
func TestChoose(t *testing.T) {
	off, short := new(cache.Choice), new(cache.Choice)
	minute := policy.Rules{TTL: []policy.StatusTTL{{Status: 200, For: time.Minute}}}
	hour := policy.Rules{TTL: []policy.StatusTTL{{Status: 200, For: time.Hour}}}
	route := cache.Route{Rules: hour, Choices: map[*cache.Choice]*cache.Route{short: {Rules: minute}}}
	rule := &proxy.Filter{Name: "rule", BeforeRoute: func(x *proxy.Exchange) proxy.Verdict {
		switch x.Request.Get("X-Rule") {
		case "off":
			cache.Choose(x, off)
		case "short":
			cache.Choose(x, short)
		}
		return proxy.Next
	}}
	for _, isOff := range []bool{false, true} {
		route.Off = isOff
		g := newRig(t, route, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }, rule)
		g.get(t, "/", "X-Rule", "off").want(t, 200, "page", "fwd=bypass; fwd-status=200; detail=off")
		g.get(t, "/", "X-Rule", "short").want(t, 200, "page", "fwd=uri-miss")
		a := g.get(t, "/", "X-Rule", "short")
		if s := a.cacheStatus(); len(s) > len("edge; hit; ttl=60") || ttl.ReplaceAllString(s, "") != "edge; hit; " {
			t.Errorf("%+v", a)
		}
		want := "hit"
		if isOff {
			if a := g.get(t, "/"); a.body != "page" || a.cacheStatus() != "" {
				t.Errorf("%+v", a)
			}
			continue
		}
		g.get(t, "/").want(t, 200, "page", want)
	}
}

// What a 304 brings does not undo a purge: not one of another URL that shares the stored answer, and no soft one of a
// tag that the 304 takes away.
func TestRenew_keepsPurges(t *testing.T) {
	const fetched, hit = "fwd=uri-miss; fwd-status=200; stored", "hit"
	other := cache.Purge{Kind: cache.PurgeURL, Name: "/a"}
	own := cache.Purge{Kind: cache.PurgeURL, Name: "/b", Soft: true}
	tag := cache.Purge{Kind: cache.PurgeTag, Name: "t", Soft: true}
	for name, c := range map[string]struct {
		purge  cache.Purge
		during bool // the 304 is on its way when the purge comes
		tags   string
		path   string // asked for at last
		want   string
		asked  int
	}{
		"of a URL that shares the answer":         {other, false, "t", "/a", fetched, 3},
		"of a URL that shares it, on the way":     {other, true, "t", "/a", fetched, 3},
		"of this URL, soft":                       {own, false, "t", "/b", hit, 2},
		"of a tag, soft":                          {tag, false, "t", "/b", hit, 2},
		"of a tag, soft, on the way":              {tag, true, "t", "/b", hit, 3},
		"of a tag that is gone, soft":             {tag, false, "u", "/b", hit, 2},
		"of a tag that is gone, soft, on the way": {tag, true, "u", "/b", hit, 3},
	} {
		t.Run(name, func(t *testing.T) {
			p := &page{fields: "Cache-Control: max-age=0, stale-if-error=1\nCache-Tag: t"}
			var during func()
			g := newRig(t, cache.Route{Tags: []string{"Cache-Tag"}}, func(w http.ResponseWriter, r *http.Request) {
				if during != nil && r.Header.Get("If-None-Match") != "" {
					during()
					during = nil
				}
				p.ServeHTTP(w, r)
			}, &proxy.Filter{UpstreamRequest: func(x *proxy.Exchange) { x.Request.SetTarget("/shared") }})
			purge := func() {
				if c.purge.Kind == cache.PurgeURL {
					c.purge.Name = g.url + c.purge.Name
				}
				if _, err := g.zone.Purge(&c.purge); err != nil {
					t.Error(err)
				}
			}
			g.get(t, "/b").want(t, 200, "page 0", fetched)
			p.set(func() { p.fields = "Cache-Control: max-age=60\nCache-Tag: " + c.tags })
			if c.during {
				during = purge
			} else {
				purge()
			}
			g.get(t, "/b").want(t, 200, "page 0", "fwd=stale; fwd-status=304")
			g.get(t, c.path).want(t, 200, "page 0", c.want)
			if n := len(p.asked); n != c.asked {
				t.Errorf("the origin was asked %d times, want %d", n, c.asked)
			}
		})
	}
}
