package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// backendOfBodies answers with what it was sent: the length that was announced, the transfer coding, the body's size.
func backendOfBodies(t *testing.T) *httptest.Server {
	t.Helper()
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.ContentLength, r.TransferEncoding, n, err, r.Header["Expect"])
	}))
	t.Cleanup(o.Close)
	return o
}

// A body that the route wants whole comes with its length, whichever version and framing it came by; one that is larger
// is refused.
func TestBufferRequest(t *testing.T) {
	o := backendOfBodies(t)
	s := start(t, Options{}, "%s[[listeners]]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = %q\n"+
		"buffer_request = \"64k\"\n[[routes]]\npattern = \"/stream\"\ndest = %q\n", quiet, o.URL, o.URL)
	url := "http://" + s.Addresses()[0].Addr.String()
	h1 := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	t.Cleanup(h1.CloseIdleConnections)
	for protocol, client := range map[string]*http.Client{"HTTP/1": h1, "HTTP/2": testutil.H2C(t)} {
		for _, c := range []struct {
			path, expect string
			size         int
			measured     bool
			want         string
		}{
			{"/", "", 10, false, "200 10[]10<nil>[]"},
			{"/", "", 64 << 10, false, "200 65536[]65536<nil>[]"},
			{"/", "", 64 << 10, true, "200 65536[]65536<nil>[]"},
			{"/", "", 64<<10 + 1, false, "413 "},
			{"/", "", 64<<10 + 1, true, "413 "},
			{"/", "100-continue", 20_000, false, "200 20000[]20000<nil>[]"},
			{"/", "100-continue", 20_000, true, "200 20000[]20000<nil>[]"},
			{"/", "", 0, true, "200 0[]0<nil>[]"},
			{"/stream", "", 10, false, "200 -1[chunked]10<nil>[]"},
		} {
			var body io.Reader = bytes.NewReader(make([]byte, c.size))
			if !c.measured {
				body = struct{ io.Reader }{body}
			}
			req, _ := http.NewRequest("POST", url+c.path, body)
			if c.expect != "" {
				req.Header.Set("Expect", c.expect)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Errorf("%s %+v: %v", protocol, c, err)
				continue
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			got := fmt.Sprint(resp.StatusCode, " ", strings.ReplaceAll(string(text), " ", ""))
			if c.want == "413 " {
				got = got[:min(len(got), 4)]
			}
			wantEqual(t, got, c.want, "%s %+v", protocol, c)
		}
	}
}

// A client that leaves, or is slow, while its body is received costs the backend nothing.
func TestBufferRequest_backendIsAskedWhenItIsWhole(t *testing.T) {
	asked := make(chan string, 1)
	o := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(o.Close)
	s := start(t, Options{}, "%s[[listeners]]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = %q\n"+
		"buffer_request = \"64k\"\n", quiet, o.URL)
	address := s.Addresses()[0].Addr.String()
	w := testutil.Dial(t, address)
	w.Send("POST /left HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	w.Close()
	w = testutil.Dial(t, address)
	w.Send("POST /whole HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	w.Send("0\r\n\r\n")
	resp, _ := w.ReadResponse("POST")
	if path := <-asked; path != "/whole" || resp.StatusCode != 200 {
		t.Error(path, resp.Status)
	}
}

// A request with content that asks for an upgrade gets none, and its body is received whole as any other.
func TestBufferRequest_upgradesWithContent(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent on") }))
	t.Cleanup(o.Close)
	s := start(t, Options{}, "%s[[listeners]]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = %q\n"+
		"buffer_request = \"64k\"\n", quiet, o.URL)
	for _, framing := range []string{"Content-Length: 70000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n11170\r\n"} {
		w := testutil.Dial(t, s.Addresses()[0].Addr.String())
		w.Send("POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+framing,
			strings.Repeat("x", 70_000))
		wantPrefix(t, w.ReadHead(), "HTTP/1.1 413 ", "%s", framing)
	}
}

// Where a backend names itself, clients are sent to this proxy, with the prefixes that it knows.
func TestRewriteLocation(t *testing.T) {
	o := httptest.NewServer(nil)
	t.Cleanup(o.Close)
	address := o.Listener.Addr().String()
	o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Location"] = []string{strings.ReplaceAll(r.Header.Get("X-Location"), "SELF", address)}
		w.Header().Set("X-Path", r.URL.Path)
		w.WriteHeader(302)
	})
	_, port, _ := net.SplitHostPort(address)
	s := start(t, Options{}, "%s[[listeners]]\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/shop/*\"\ndest = %q\nrewrite = { strip_prefix = \"/shop\", add_prefix = \"/app\" }\n"+
		"rewrite_location = true\n[[routes]]\npattern = \"/plain/*\"\ndest = %q\n", quiet, o.URL, o.URL)
	ask := func(path, host, location string) string {
		t.Helper()
		req, _ := http.NewRequest("GET", "http://"+s.Addresses()[0].Addr.String()+path, nil)
		req.Host = host
		req.Header.Set("X-Location", location)
		resp, err := http.DefaultTransport.RoundTrip(req) // a Client refuses a Location that it cannot parse
		testutil.Must(t, err)
		resp.Body.Close()
		return resp.Header.Get("Location")
	}
	for location, want := range map[string]string{
		"http://SELF/app/dir/":                  "/shop/dir/",
		"http://SELF/app":                       "/shop",
		"http://SELF/app?a=b#c":                 "/shop?a=b#c",
		"HTTP://SELF/other":                     "/other",
		"http://SELF":                           "/",
		"http://public.test/app/x":              "/shop/x",
		"https://public.test/app/x":             "/shop/x",
		"http://public.test:" + port + "/app/x": "/shop/x", // as nginx does, for any port of the Host
		"http://public.test:1/app/x":            "http://public.test:1/app/x",
		"/app/x":                                "/shop/x",
		"/apple":                                "/apple",
		"x/y":                                   "x/y",
		"//cdn.test/app/x":                      "//cdn.test/app/x",
		"https://elsewhere.test/app/x":          "https://elsewhere.test/app/x",
		"http://SELF//evil.test/":               "/evil.test/", // to a browser "//evil.test/" is a host
		"http://SELF/\\evil.test/":              "/evil.test/",
		"http://SELF.evil.test/app":             "http://" + address + ".evil.test/app",
		"":                                      "",
	} {
		wantEqual(t, ask("/shop/a", "public.test", location), want, "%s", location)
	}
	if got := ask("/shop/a", "public.test:8443", "http://public.test:"+port+"/app/x"); got != "/shop/x" {
		t.Errorf("a Host with a port: %q", got)
	}
	if got := ask("/plain/a", "public.test", "http://SELF/app/x"); got != "http://"+address+"/app/x" {
		t.Errorf("a route without the key: %q", got)
	}
}

// A backend at a Unix socket has no port to name: nginx names the host alone, whatever port the client asked.
func TestRewriteLocation_unixSocket(t *testing.T) {
	l := testutil.ListenUnix(t)
	o := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://public.test/x")
		w.WriteHeader(302)
	})}
	go o.Serve(l) //nolint:errcheck // until it is closed
	t.Cleanup(func() { o.Close() })
	s := start(t, Options{}, "%s[[listeners]]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\n"+
		"dest = \"unix:%s\"\nrewrite_location = true\n", quiet, l.Addr())
	resp := askFor(t, "GET", "http://"+s.Addresses()[0].Addr.String(), "Host: public.test:8443")
	wantEqual(t, resp.Header.Get("Location"), "/x")
}

// A redirect leads to the same place below another prefix.
func TestRedirect_rest(t *testing.T) {
	s := start(t, Options{}, "%s[[listeners]]\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/old/*\"\nredirect = { to = \"/new{rest}\", status = 301 }\n"+
		"[[routes]]\npattern = \"/*\"\nredirect = { to = \"https://www.test{rest}\" }\n", quiet)
	for path, want := range map[string]string{
		"/old": "/new", "/old/": "/new/", "/old/a/b?c=d": "/new/a/b?c=d", "/%6Fld/../old/a": "/new/a",
		"/older/a": "https://www.test/older/a", "/": "https://www.test/",
	} {
		req, _ := http.NewRequest("GET", "http://"+s.Addresses()[0].Addr.String(), nil)
		req.URL.Opaque = path
		resp, err := http.DefaultTransport.RoundTrip(req)
		testutil.Must(t, err)
		resp.Body.Close()
		wantEqual(t, resp.Header.Get("Location"), want, "%s", path)
	}
}

// Via is told to backends and to clients, each unless the configuration says otherwise, over either version of HTTP.
func TestVia_eachWay(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		w.Header().Set("X-Via", fmt.Sprint(h["Via"], h["X-Forwarded-Proto"], h["X-Forwarded-Host"]))
	}))
	t.Cleanup(o.Close)
	for _, c := range []struct{ listener, upstream, toBackend, toClient string }{
		{"", "", "[1.1 edge][http]", "[1.1 edge]"},
		{"via = false\n", "", "[1.1 edge][http]", "[]"},
		{"", "via = false\n", "[][http]", "[1.1 edge]"},
		{"trusted_proxies = \"127.0.0.1\"\n", "via = false\n", "[][http]", "[1.1 edge]"},
	} {
		s := start(t, Options{}, "%s[[listeners]]\nlisten = \"127.0.0.1:0\"\n%s[upstreams.api]\n"+
			"backends = [{ address = %q }]\n%s[[routes]]\npattern = \"/*\"\ndest = \"api\"\n", quiet, c.listener,
			o.Listener.Addr().String(), c.upstream)
		address := s.Addresses()[0].Addr.String()
		for version, client := range map[string]*http.Client{"1.1": http.DefaultClient, "2.0": testutil.H2C(t)} {
			resp, _ := testutil.Get(t, client, "http://"+address)
			want := strings.ReplaceAll(c.toBackend, "1.1", version) + "[" + address + "]"
			if got := resp.Header.Get("X-Via"); strings.ReplaceAll(got, " [", "[") != want {
				t.Errorf("%+v, HTTP/%s: %s, want %s", c, version, got, want)
			}
			wantEqual(t, fmt.Sprint(resp.Header["Via"]), c.toClient, "%+v, HTTP/%s: the client sees", c, version)
		}
	}
}
