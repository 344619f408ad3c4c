package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

func handlerRig(t *testing.T, h http.Handler, filters ...*proxy.Filter) *rig {
	return newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "handler", To: handler.FromHTTP(h)}}
	}, filters...)
}

// behaviour is a handler and the raw request it gets from net/http's server and from FromHTTP.
type behaviour struct {
	name    string
	request string
	method  string // of the request, when it is not GET
	handler http.HandlerFunc
}

const (
	get  = "GET /a/b?q=1&r=%20 HTTP/1.1\r\nHost: example.com\r\n\r\n"
	head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
)

func post(body string) string {
	return fmt.Sprintf("POST /p HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

var behaviours = []behaviour{
	{name: "nothing", request: get, handler: func(http.ResponseWriter, *http.Request) {}},
	{name: "small", request: get, handler: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }},
	{name: "request", request: "GET /a/b?q=1 HTTP/1.1\r\nHost: example.com:80\r\nx-one: 1\r\nX-One: 2\r\n" +
		"Cookie: a=b\r\nUser-Agent: me\r\n\r\n", handler: describe},
	{name: "absolute target", request: "GET http://example.com/x?y HTTP/1.1\r\nHost: example.com\r\n\r\n",
		handler: func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path, r.URL.RawQuery) }},
	{name: "options *", method: "OPTIONS", request: "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
		// net/http answers this one itself
		handler: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "0") }},
	{name: "http/1.0", request: "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n", handler: describe},
	{name: "http/1.0 stream", request: "GET / HTTP/1.0\r\n\r\n", handler: func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			fmt.Fprint(w, strings.Repeat("x", 9000))
		}
	}},
	{name: "status", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Made", "by me")
		w.Header()["X-Many"] = []string{"1", "2"}
		w.WriteHeader(418)
		io.WriteString(w, "<html>short</html>")
	}},
	{name: "late fields", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(201)
		w.Header().Set("X-Late", "1")
		w.WriteHeader(404)
		io.WriteString(w, "x")
	}},
	{name: "bad fields", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Bad Name"] = []string{"1"}
		w.Header().Set("X-Split", " a\r\nb: c ")
		w.Header().Set("Content-Length", "many")
		io.WriteString(w, "x")
	}},
	{name: "204", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(204)
		if _, err := w.Write([]byte("x")); err != http.ErrBodyNotAllowed {
			panic(err)
		}
	}},
	{name: "304", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"e"`)
		w.WriteHeader(304)
	}},
	{name: "head", method: "HEAD", request: head, handler: func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
	}},
	{name: "head declared", method: "HEAD", request: head, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
	}},
	{name: "head nothing", method: "HEAD", request: head, handler: func(http.ResponseWriter, *http.Request) {}},
	{name: "declared length", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "he")
		w.(http.Flusher).Flush()
		io.WriteString(w, "llo")
		if _, err := w.Write([]byte("x")); err != http.ErrContentLength {
			panic(err)
		}
	}},
	{name: "large", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte("0123456789abcdef"), 100_000))
	}},
	{name: "flushed", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		for i := range 5 {
			fmt.Fprintln(w, i)
			w.(http.Flusher).Flush()
		}
	}},
	{name: "sniffed", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("\x89PNG\r\n\x1a\nrest"))
	}},
	{name: "not sniffed", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Write([]byte("<html>"))
	}},
	{name: "encoded", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write([]byte("<html>"))
	}},
	{name: "echo", method: "POST", request: post("hello body"), handler: echo},
	{name: "echo large", method: "POST", request: post(strings.Repeat("0123456789", 60_000)), handler: echo},
	{name: "echo chunked", method: "POST", request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n", handler: echo},
	{name: "request trailers", method: "POST", request: "POST / HTTP/1.1\r\nHost: a\r\nTrailer: x-sum, X-None\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
		handler: func(w http.ResponseWriter, r *http.Request) {
			before := fmt.Sprint(r.Trailer, r.Header)
			body, err := io.ReadAll(r.Body)
			fmt.Fprint(w, before, string(body), err, r.Trailer)
		}},
	{name: "empty body", method: "POST", request: post(""), handler: describe},
	{name: "body described", method: "POST", request: post("xyz"), handler: describe},
	{name: "declared trailers", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum, x-none")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	}},
	{name: "prefixed trailers", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
	}},
	{name: "error", request: get, handler: func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 403) }},
	{name: "redirect", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/else", 302)
	}},
	{name: "not found", request: get, handler: http.NotFound},
	{name: "content", request: "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=2-5\r\n\r\n", handler: contentOf},
	{name: "not modified", handler: contentOf, request: "GET / HTTP/1.1\r\nHost: a\r\n" +
		"If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n\r\n"},
	{name: "max bytes", method: "POST", request: post("0123456789"), handler: func(
		w http.ResponseWriter, r *http.Request,
	) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4))
		w.Header().Set("Connection", "close") // of itself net/http does so for its own ResponseWriter only
		fmt.Fprint(w, err)
	}},
	{name: "mux", request: "GET /items/7 HTTP/1.1\r\nHost: a\r\n\r\n", handler: func(
		w http.ResponseWriter, r *http.Request,
	) {
		m := http.NewServeMux()
		m.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Pattern, r.PathValue("id"))
		})
		m.ServeHTTP(w, r)
	}},
	{name: "closes", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "bye")
	}},
	{name: "controller", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		fmt.Fprintln(w, c.SetReadDeadline(time.Now().Add(time.Minute)), c.SetWriteDeadline(time.Time{}),
			c.EnableFullDuplex(), c.Flush())
	}},
	{name: "interim", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</x>; rel=preload")
		w.WriteHeader(103)
		w.Header().Set("X-Final", "1")
		io.WriteString(w, "done")
	}},
	{name: "too short", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "50")
		io.WriteString(w, "not fifty")
	}},
	{name: "aborted", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	{name: "basic auth and form", method: "POST",
		request: "POST /?a=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dTpw\r\n" +
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nb=2&c=3",
		handler: func(w http.ResponseWriter, r *http.Request) {
			u, p, ok := r.BasicAuth()
			fmt.Fprint(w, u, p, ok, r.FormValue("a"), r.FormValue("b"), r.PostFormValue("c"), r.ParseForm())
		}},
	{name: "gone after return", request: get, handler: func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Context().Err(), r.TLS == nil, r.Context().Value(http.LocalAddrContextKey) != nil)
	}},
}

func contentOf(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "x.txt", time.Unix(1e9, 0), strings.NewReader("0123456789"))
}

func describe(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, r.Method, r.URL, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, r.ContentLength,
		r.TransferEncoding, r.Close, r.Body == http.NoBody, len(r.Trailer))
	keys := slices.Sorted(func(yield func(string) bool) {
		for k := range r.Header {
			if !yield(k) {
				return
			}
		}
	})
	for _, k := range keys {
		fmt.Fprintln(w, k, r.Header[k])
	}
	_, port, err := net.SplitHostPort(r.RemoteAddr)
	fmt.Fprintln(w, port != "", err)
}

func echo(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	n, err := io.Copy(w, r.Body)
	fmt.Fprint(w, n, err)
}

// seen is what a client gets to see of an answer.
type seen struct {
	interim string
	status  int
	fields  http.Header
	trailer http.Header
	body    string
	failed  bool
	closed  bool
}

// ask sends the request and a second one after the answer.
func ask(t *testing.T, addr string, b *behaviour) seen {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testutil.Patience))
	go io.WriteString(conn, b.request)
	in := bufio.NewReader(conn)
	method := b.method
	if method == "" {
		method = "GET"
	}
	var s seen
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			s.failed = true
			return s
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode < 200 {
			s.interim += fmt.Sprint(resp.StatusCode, resp.Header)
			continue
		}
		s.status, s.fields, s.trailer = resp.StatusCode, resp.Header, resp.Trailer
		s.body, s.failed, s.closed = string(body), err != nil, resp.Close
		break
	}
	s.fields.Del("Date")
	return s
}

func TestFromHTTP_behavesAsNetHTTP(t *testing.T) {
	for _, b := range behaviours {
		t.Run(b.name, func(t *testing.T) {
			theirs := httptest.NewServer(b.handler)
			theirs.Config.ErrorLog = nil
			defer theirs.Close()
			ours := handlerRig(t, b.handler)
			want := ask(t, theirs.Listener.Addr().String(), &b)
			got := ask(t, ours.addr(), &b)
			if want.failed && got.failed {
				return
			}
			measured := got.fields.Get("Content-Length") == fmt.Sprint(len(want.body))
			if want.fields.Get("Content-Length") == "" && measured {
				got.fields.Del("Content-Length") // a small answer is measured: how small is our own choice
			}
			if len(want.trailer) == 0 && len(got.trailer) == 0 {
				want.trailer, got.trailer = nil, nil
			}
			if w, g := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got); w != g {
				t.Errorf("net/http:\n%.1500s\nFromHTTP:\n%.1500s", w, g)
			}
		})
	}
}

func TestFromHTTP_panicIs500AndOthersLive(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewJSONHandler(&log, nil))
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			w.(http.Flusher).Flush()
		}
		if r.URL.Path != "/" {
			panic("on purpose")
		}
		io.WriteString(w, "fine")
	}))
	w := testutil.Dial(t, r.addr())
	w.Send("GET /now HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, _ := w.ReadResponse("GET"); resp.StatusCode != 500 {
		t.Fatal(resp.Status)
	}
	w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, body := w.ReadResponse("GET"); resp.StatusCode != 200 || body != "fine" {
		t.Fatal(resp.Status, body)
	}
	r.wantCut(t, "GET", "/begun", "")
	if s := r.stats(); s.Panics != 2 {
		t.Fatalf("%+v", s)
	}
	for line := range strings.Lines(log.String()) {
		for _, part := range []string{`"msg":"a handler panicked"`, `"panic":"on purpose"`, `"method":"GET"`,
			`"request":"`, `"path":"/`, "fromhttp_test.go:"} {
			if !strings.Contains(line, part) {
				t.Errorf("%s is not said: %s", part, line)
			}
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines for 2 panics: %s", n, log.String())
	}
}

func TestFromHTTP_contextEndsWithTheClient(t *testing.T) {
	ended := make(chan error, 1)
	entered := make(chan struct{})
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		_, err := w.Write(make([]byte, 1<<20))
		ended <- err
	}))
	w := testutil.Dial(t, r.addr())
	w.Send(get)
	<-entered
	w.Reset()
	select {
	case err := <-ended:
		if err == nil {
			t.Fatal("Write to nobody succeeds")
		}
	case <-time.After(testutil.Patience):
		t.Fatal("the handler was not told")
	}
}

// A client that reads nothing holds the handler up: no more than the queues' bounds is written ahead.
func TestFromHTTP_slowClientHoldsTheHandlerUp(t *testing.T) {
	var written atomic.Int64
	size := kernelHolds(t) + 16<<20
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { counted(w, size, &written) }))
	client := testutil.Dial(t, r.addr())
	client.Send(get)
	stalls(t, &written)
	if n := written.Load(); n > kernelHolds(t)+4<<20 { // where most of it is
		t.Fatalf("%d bytes were written to a client that reads nothing", n)
	}
	if b := r.engine.Stats().BufBytes; b > 4<<20 {
		t.Fatalf("%d bytes in buffers", b)
	}
	if _, body := client.ReadResponse("GET"); int64(len(body)) != size {
		t.Fatal(len(body))
	}
}

func TestFromHTTP_slowHandlerHoldsTheClientUp(t *testing.T) {
	read := make(chan struct{})
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-read
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	size := kernelHolds(t) + 24<<20
	body := &countingReader{left: size}
	req, _ := http.NewRequest("POST", r.url, body)
	req.ContentLength = size
	done := begin(t, http.DefaultClient, req)
	stalls(t, &body.n)
	if n := body.n.Load(); n > kernelHolds(t)+8<<20 {
		t.Fatalf("%d bytes were taken for a handler that reads nothing", n)
	}
	if b := r.engine.Stats().BufBytes; b > 4<<20 {
		t.Fatalf("%d bytes in buffers", b)
	}
	close(read)
	if got := <-done; got.body != fmt.Sprint(size, error(nil)) {
		t.Fatal(got)
	}
}

// countingReader gives zeros and tells how many were taken.
type countingReader struct {
	n    atomic.Int64
	left int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), c.left)
	c.left -= n
	c.n.Add(n)
	return int(n), nil
}

func TestFromHTTP_deadlines(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, readErr := io.ReadAll(r.Body)
		if !errors.Is(readErr, os.ErrDeadlineExceeded) {
			t.Error(readErr)
		}
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		var err error
		for range 1000 {
			if _, err = w.Write(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}))
	w := testutil.Dial(t, r.addr())
	w.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
	w.ReadHead()
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 0 }, "the exchange ends")
}

func TestFromHTTP_continues(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(417)
			return
		}
		echo(w, r)
	}))
	w := testutil.Dial(t, r.addr())
	w.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	w.Want("HTTP/1.1 100 Continue\r\n\r\n")
	w.Send("hello")
	if resp, body := w.ReadResponse("POST"); resp.StatusCode != 200 || body != "hello5 <nil>" {
		t.Fatal(resp.Status, body)
	}
	w.Send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if resp, _ := w.ReadResponse("POST"); resp.StatusCode != 417 || !resp.Close {
		t.Fatal(resp.Status, resp.Close)
	}
	w.WantEnd()
}

// Beyond the bound of handlers the answer is 503 at once, and one line says why.
func TestFromHTTP_manyHandlersAre503(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewJSONHandler(&log, nil))
	entered, release := make(chan struct{}, 8), make(chan struct{})
	o := engine.Options{Reactors: 1, Offload: engine.OffloadOptions{Lasting: 2}}
	r := newRigWith(t, o, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{To: handler.FromHTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			entered <- struct{}{}
			<-release
		}))}}
	})
	statuses := make(chan int, 8)
	for i := range 8 {
		if i == 2 {
			<-entered // the others find no room
			<-entered
		}
		go func() {
			resp, err := http.Get(r.url)
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			statuses <- resp.StatusCode
		}()
	}
	for range 6 {
		if s := <-statuses; s != 503 {
			t.Fatal(s)
		}
	}
	if n := strings.Count(log.String(), "as many handlers run as may"); n != 1 {
		t.Errorf("%d lines say why: %s", n, log.String())
	}
	if n := r.engine.Stats().OffloadRefused; n != 6 {
		t.Errorf("%d were counted", n)
	}
	close(release)
	for range 2 {
		if s := <-statuses; s != 200 {
			t.Fatal(s)
		}
	}
}

// However many handlers stream, others run at once, and so do filters that block.
func TestFromHTTP_streamsHoldNobodyUp(t *testing.T) {
	const clients = 300 // more than there are workers for blocking filters
	blocking := &proxy.Filter{Blocking: proxy.PhaseRequest, Request: func(x *proxy.Exchange) proxy.Verdict {
		return proxy.Respond(204, "")
	}}
	events := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	quick := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "quick") })
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{
			proxy.MustRoute("/events", handler.FromHTTP(events)), proxy.MustRoute("/quick", handler.FromHTTP(quick)),
			{Path: "/filter", To: handler.FromHTTP(quick), Filters: []*proxy.Filter{blocking}},
		}
	})
	addr := r.addr()
	streams := make([]*testutil.Wire, clients)
	for i := range streams {
		streams[i] = testutil.Dial(t, addr)
		streams[i].Send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	for _, w := range streams {
		w.ReadUntil("data: first\n\n")
	}
	for path, want := range map[string]int{"/quick": 200, "/filter": 204} {
		w := testutil.Dial(t, addr)
		w.Send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, body := w.ReadResponse("GET"); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestFromHTTP_cannotHijack(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, err := http.NewResponseController(w).Hijack()
		fmt.Fprint(w, errors.Is(err, http.ErrNotSupported))
	}))
	if _, body := testutil.Get(t, http.DefaultClient, r.url); body != "true" {
		t.Fatalf("%s", body)
	}
}

// A handler may read the body in another goroutine while it writes, as net/http/httputil.ReverseProxy does.
func TestFromHTTP_fullDuplex(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(w, "got "+line)
			w.(http.Flusher).Flush()
		}
	}))
	pr, pw := io.Pipe()
	req, _ := http.NewRequestWithContext(context.Background(), "POST", r.url, pr)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for i := range 20 {
		fmt.Fprintln(pw, i)
		if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("got %d\n", i) {
			t.Fatal(line, err)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Fatal(rest, err)
	}
}

func TestFromHTTP_bodyIsGoneAfterReturn(t *testing.T) {
	bodies := make(chan io.ReadCloser, 1)
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { bodies <- r.Body }))
	r.postAs(t, "", "text/plain", "hello")
	if _, err := (<-bodies).Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
		t.Fatal(err)
	}
}

func TestFromHTTP_filtersSeeItsAnswer(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Filter")+strings.Repeat(" lower", 5000))
	}), setFields(map[string]string{"X-Filter": "set"}, map[string]string{"X-Answer": "seen"}), &proxy.Filter{
		ResponseBody: upper,
	})
	resp, body := testutil.Get(t, http.DefaultClient, r.url)
	if body != "SET"+strings.Repeat(" LOWER", 5000) || resp.Header.Get("X-Answer") != "seen" {
		t.Fatalf("%v %.100q", resp.Header, body)
	}
}

// Clients that give up anywhere leave nothing behind.
func TestFromHTTP_abortsLeaveNothing(t *testing.T) {
	testutil.CheckLeaks(t)
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
		fmt.Fprint(w, "end")
	}))
	body := strings.Repeat("0123456789abcdef", 40_000)
	request := post(body)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 12 {
				conn, err := net.Dial("tcp", r.addr())
				if err != nil {
					t.Error(err)
					return
				}
				conn.SetDeadline(time.Now().Add(testutil.Patience))
				sent := len(request)
				if rng.IntN(3) == 0 {
					sent = rng.IntN(sent)
				}
				go io.WriteString(conn, request[:sent])
				switch rng.IntN(3) {
				case 0: // gives up somewhere
					if sent == len(request) {
						io.CopyN(io.Discard, conn, rng.Int64N(int64(sent)))
					}
					conn.(*net.TCPConn).SetLinger(0)
				case 1:
					if sent == len(request) {
						resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
						if err != nil {
							t.Error(err)
							break
						}
						if b, err := io.ReadAll(resp.Body); string(b) != body+"end" || err != nil {
							t.Error(len(b), err)
						}
					}
				}
				conn.Close()
			}
		})
	}
	clients.Wait()
	r.settled(t)
	r.engine.Stop()
}
