package handler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// newTransport returns a Transport to addresses, beside an engine that ends with the test.
func newTransport(t testing.TB, o upstream.Options, addresses ...string) (*handler.Transport, *engine.Engine) {
	t.Helper()
	e, err := engine.New(engine.Options{Reactors: 2})
	if err != nil {
		t.Fatal(err)
	}
	o.Backends = backend.Of(addresses...)
	u := upstream.New(e, o)
	s, err := proxy.NewSnapshot(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	t.Cleanup(func() {
		e.Stop()
		for _, r := range e.Reactors() { // they have ended: this goroutine owns them
			if n := r.Stats().BufBytes; n != 0 {
				t.Errorf("%d bytes are held by an engine that has stopped", n)
			}
		}
	})
	return handler.NewTransport(e, proxy.New(e, s).Service(&proxy.Listener{NoVia: true}), proxy.To(u, nil)), e
}

// serve returns the address of a server of net/http.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	o := httptest.NewUnstartedServer(h)
	o.Config.Protocols = new(http.Protocols)
	o.Config.Protocols.SetHTTP1(true)
	o.Config.Protocols.SetUnencryptedHTTP2(true)
	o.Start()
	testutil.CloseServer(t, o)
	return o.Listener.Addr().String()
}

// answers shows a request, and answers in the ways that there are.
func answers(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	seen := fmt.Sprint(r.Method, " ", r.Host, " ", r.URL, " ", r.ContentLength, " ", len(body), " ", err, " ",
		r.Header.Get("X-Own"), r.Header["Connection"])
	w.Header()["X-Seen"] = []string{seen}
	w.Header()["X-Two"] = []string{"a", "b"}
	switch r.URL.Path {
	case "/204":
		w.WriteHeader(204)
	case "/304":
		w.WriteHeader(304)
	case "/chunks":
		for range 3 {
			io.WriteString(w, strings.Repeat("x", 1000))
			http.NewResponseController(w).Flush()
		}
	case "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	case "/large":
		w.Write(bytes.Repeat([]byte("y"), 3_000_000))
	default:
		w.Write(body)
	}
}

// Answers are those of http.Transport, whose own differ in compression and in fields of a connection alone.
func TestTransport(t *testing.T) {
	testutil.CheckLeaks(t)
	address := serve(t, answers)
	theirs := &http.Transport{DisableCompression: true}
	t.Cleanup(theirs.CloseIdleConnections)
	h1, _ := newTransport(t, upstream.Options{}, address)
	h2, _ := newTransport(t, upstream.Options{Protocol: upstream.H2}, address)
	large := strings.Repeat("0123456789", 300_000)
	for _, c := range []struct {
		method, path string
		body         func() io.Reader
	}{
		{"GET", "/?a=b&c=%20d", func() io.Reader { return nil }},
		{"", "/", func() io.Reader { return nil }},
		{"HEAD", "/large", func() io.Reader { return nil }},
		{"GET", "/204", func() io.Reader { return nil }},
		{"GET", "/304", func() io.Reader { return nil }},
		{"GET", "/chunks", func() io.Reader { return nil }},
		{"GET", "/trailers", func() io.Reader { return nil }},
		{"GET", "/large", func() io.Reader { return nil }},
		{"POST", "/", func() io.Reader { return strings.NewReader("hello") }},
		{"POST", "/", func() io.Reader { return strings.NewReader(large) }},
		{"PUT", "/", func() io.Reader { return struct{ io.Reader }{strings.NewReader(large)} }},
		{"DELETE", "/", func() io.Reader { return http.NoBody }},
	} {
		show := func(rt http.RoundTripper) string {
			req, _ := http.NewRequest(c.method, "http://"+address+c.path, c.body())
			req.Header = http.Header{"X-Own": {"own"}, "User-Agent": {"test"}, "Keep-Alive": {"1"}}
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s %s: %v", c.method, c.path, err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			resp.Header.Del("Date")
			return fmt.Sprint(resp.Status, resp.StatusCode, resp.Proto, resp.ContentLength, resp.Header, resp.Trailer,
				len(body), err, resp.Request == req)
		}
		want := show(theirs)
		if got := show(h1); got != want {
			t.Errorf("%s %s: %.300s, want %.300s", c.method, c.path, got, want)
		}
		if got := show(h2); strings.Fields(got)[0] != strings.Fields(want)[0] {
			t.Errorf("%s %s over HTTP/2: %.300s", c.method, c.path, got)
		}
	}
	jar, _ := cookiejar.New(nil)
	moved := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			http.Redirect(w, r, "/next", 302)
			return
		}
		fmt.Fprint(w, r.URL.Path, r.Header.Get("Cookie"), r.Host)
	})
	rt, _ := newTransport(t, upstream.Options{}, moved)
	client := http.Client{Transport: rt, Jar: jar, Timeout: time.Minute}
	resp, err := client.Get("https://users/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "/nexta=busers" {
		t.Errorf("a client with cookies, after a redirect: %s", body)
	}
}

// Both bodies stream at a time, and the slower side holds the faster one back.
func TestTransport_streams(t *testing.T) {
	testutil.CheckLeaks(t)
	var sent atomic.Int64
	read := make(chan bool)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		c.EnableFullDuplex() //nolint:errcheck // HTTP/2 is it anyway
		c.Flush()
		if r.URL.Path == "/echo" {
			buf := make([]byte, 100)
			for {
				n, err := r.Body.Read(buf)
				w.Write(buf[:n])
				if c.Flush(); err != nil {
					return
				}
			}
		}
		piece := make([]byte, 10_000)
		for range 5000 {
			n, err := w.Write(piece)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	rt, e := newTransport(t, upstream.Options{}, address)
	in, out := io.Pipe()
	req, _ := http.NewRequest("POST", "http://a/echo", in)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		fmt.Fprintf(out, "message %d", i)
		buf := make([]byte, 9)
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != fmt.Sprint("message ", i) {
			t.Fatal(string(buf), err)
		}
	}
	out.Close()
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Error(string(rest), err)
	}
	resp.Body.Close()

	req, _ = http.NewRequest("GET", "http://a/large", nil)
	if resp, err = rt.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	close(read)
	testutil.Eventually(t, testutil.Patience, func() bool { return e.Stats().BufBytes > 0 }, "something waits")
	before, still := int64(-1), 0
	testutil.Eventually(t, testutil.Patience, func() bool {
		now := sent.Load()
		if still++; now != before {
			before, still = now, 0
		}
		return still > 20
	}, "the backend waits")
	if n := sent.Load(); n >= 50_000_000 {
		t.Errorf("the backend could send %d bytes that nobody has read", n)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 50_000_000 || err != nil {
		t.Error(n, err)
	}
	resp.Body.Close()
}

// What fails is an error that says so: nothing hangs, and nothing is left.
func TestTransport_failures(t *testing.T) {
	testutil.CheckLeaks(t)
	hang := make(chan bool)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-hang
		case "/cut":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "abc")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/endless":
			for r.Context().Err() == nil {
				w.Write(make([]byte, 1000))
			}
		case "/early":
			http.NewResponseController(w).EnableFullDuplex() //nolint:errcheck // it is HTTP/1
			io.WriteString(w, "no")
		default:
			io.Copy(w, r.Body)
		}
	})
	defer close(hang)
	rt, _ := newTransport(t, upstream.Options{}, address)
	dead, _ := newTransport(t, upstream.Options{}, testutil.FreeAddr(t))
	errOwn := errors.New("own")
	bg := context.Background()
	var fault *proxy.Error
	if _, err := do(dead, bg, "/", nil); !errors.As(err, &fault) || fault.Status != 502 {
		t.Errorf("a dead backend: %v", err)
	}
	if got, err := do(rt, bg, "/cut", nil); !errors.As(err, &fault) {
		t.Errorf("an answer that is cut off: %q, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(bg)
	time.AfterFunc(20*time.Millisecond, func() { cancel(errOwn) })
	if _, err := do(rt, ctx, "/hang", nil); err != errOwn {
		t.Errorf("a context that ends before the answer: %v", err)
	}
	if _, err := do(rt, ctx, "/hang", nil); err != errOwn {
		t.Errorf("a context that has ended: %v", err)
	}
	ctx, cancel = context.WithCancelCause(bg)
	time.AfterFunc(20*time.Millisecond, func() { cancel(errOwn) })
	if _, err := do(rt, ctx, "/endless", nil); err != errOwn {
		t.Errorf("a context that ends in the answer: %v", err)
	}
	if _, err := do(rt, bg, "/", io.MultiReader(strings.NewReader("a"), failing{errOwn})); err != errOwn {
		t.Errorf("a body that fails: %v", err)
	}
	if _, err := do(rt, bg, "/", failing{nil}); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("a body that panics: %v", err)
	}
	in, out := io.Pipe()
	if got, err := do(rt, bg, "/early", in); got != "no" || err != nil {
		t.Errorf("an answer before the body: %q, %v", got, err)
	}
	for err := error(nil); err == nil; { // the body is closed when the next piece is not wanted
		_, err = out.Write(make([]byte, 1000))
	}
}

// A request that could not be sent as it is, is an error before anything is sent.
func TestTransport_malformed(t *testing.T) {
	rt, _ := newTransport(t, upstream.Options{}, serve(t, answers))
	for name, req := range map[string]*http.Request{
		"no URL":        {},
		"a method":      mustRequest("GET", func(r *http.Request) { r.Method = "G T" }),
		"a host":        mustRequest("GET", func(r *http.Request) { r.Host = "a\r\nX: b" }),
		"a target":      mustRequest("GET", func(r *http.Request) { r.URL.RawQuery = "a b\r\nX: b" }),
		"a field":       mustRequest("GET", func(r *http.Request) { r.Header["X"] = []string{"a\r\nY: b"} }),
		"its name":      mustRequest("GET", func(r *http.Request) { r.Header["X Y"] = []string{"a"} }),
		"a trailer":     mustRequest("GET", func(r *http.Request) { r.Trailer = http.Header{"A": nil} }),
		"too short":     mustRequest("PUT", func(r *http.Request) { r.ContentLength, r.Body = 10, closer("abc") }),
		"too long":      mustRequest("PUT", func(r *http.Request) { r.ContentLength, r.Body = 2, closer("abc") }),
		"no connection": mustRequest("CONNECT", func(*http.Request) {}),
	} {
		if resp, err := rt.RoundTrip(req); err == nil {
			t.Errorf("malformed %s: %s", name, resp.Status)
			resp.Body.Close()
		}
	}
}

// do returns the body of an answer.
func do(rt http.RoundTripper, ctx context.Context, path string, body io.Reader) (string, error) {
	req, _ := http.NewRequestWithContext(ctx, "POST", "http://a"+path, body)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// An engine that stops ends what is under way.
func TestTransport_engineStops(t *testing.T) {
	testutil.CheckLeaks(t)
	hang := make(chan bool)
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.NewResponseController(w).Flush()
		<-hang
	})
	defer close(hang)
	rt, e := newTransport(t, upstream.Options{}, address)
	resp, err := rt.RoundTrip(mustRequest("GET", func(*http.Request) {}))
	if err != nil {
		t.Fatal(err)
	}
	go e.Stop()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the answer ends as if it were whole")
	}
	e.Stop()
	if _, err := rt.RoundTrip(mustRequest("GET", func(*http.Request) {})); err != engine.ErrStopped {
		t.Error(err)
	}
}

// Many goroutines get their own answers, over few connections.
func TestTransport_many(t *testing.T) {
	testutil.CheckLeaks(t)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.URL.Path, " ", string(body))
	})
	rt, _ := newTransport(t, upstream.Options{}, address)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 30 {
				var body io.Reader = strings.NewReader(fmt.Sprint(i, "-", j))
				if j%3 == 0 {
					body = struct{ io.Reader }{body}
				}
				ctx, cancel := context.WithCancel(context.Background())
				req, _ := http.NewRequestWithContext(ctx, "POST", fmt.Sprint("http://a/", i), body)
				resp, err := rt.RoundTrip(req)
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				got, err := io.ReadAll(resp.Body)
				if want := fmt.Sprint("/", i, " ", i, "-", j); string(got) != want || err != nil {
					t.Errorf("%s, %v, want %s", got, err, want)
				}
				resp.Body.Close()
				cancel()
			}
		})
	}
	all.Wait()
}

// failing is a body that fails with an error; nil: it panics.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		panic(errors.New("a body of the test"))
	}
	return 0, f.err
}

func mustRequest(method string, change func(*http.Request)) *http.Request {
	r, err := http.NewRequest(method, "http://a/", nil)
	if err != nil {
		panic(err)
	}
	change(r)
	return r
}

func closer(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }
