package proxy_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// A host that two parties may read in two ways comes to no route, least of all to the one for any host.
func TestHost_comesToItsRouteOrToNone(t *testing.T) {
	names := func(answer string, hosts ...string) (routes []proxy.Route) {
		for _, h := range hosts {
			routes = append(routes, proxy.Route{
				Host: h, Methods: []string{"GET", "CONNECT"}, To: proxy.Answer(200, "text/plain", answer),
			})
		}
		return routes
	}
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return slices.Concat(names("own", "example.com", "a_b.example", "[::1]", "1.2.3.4"), names("any", ""))
	})
	ask := func(request string) (int, string) {
		w := testutil.Dial(t, r.addr())
		defer w.Close()
		w.Send(request)
		method, _, _ := strings.Cut(request, " ")
		resp, body := w.ReadResponse(method)
		return resp.StatusCode, body
	}
	for host, want := range map[string]string{
		"example.com": "own", "EXAMPLE.com.": "own", "example.com.:8080": "own", "a_b.example": "own", "[::1]:1": "own",
		"1.2.3.4": "own", "x.example.com": "any", strings.Repeat("a.", 127) + "a": "any",
		"ex%61mple.com": "", "example.com..": "", ".example.com": "", "example..com": "", "example.com,a": "", ".": "",
		"a,example.com": "", "example.com%00": "", strings.Repeat("a.", 128): "",
		"example.com" + strings.Repeat(".", 250): "", strings.Repeat("a", 256) + ".example.com": "",
	} {
		for form, request := range map[string]string{
			"Host":                      "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n",
			"absolute form":             "GET http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n",
			"HTTP/1.0":                  "GET / HTTP/1.0\r\nHost: " + host + "\r\n\r\n",
			"absolute form of HTTP/1.0": "GET http://" + host + "/ HTTP/1.0\r\n\r\n",
		} {
			if status, body := ask(request); want == "" && status != 400 || want != "" && body != want {
				t.Errorf("%s %q: %d %q, want %q", form, host, status, body, want)
			}
		}
		if name := host; !strings.Contains(name, ":") {
			status, _ := ask("CONNECT " + name + ":1 HTTP/1.1\r\nHost: " + name + ":1\r\n\r\n")
			if (status == 400) != (want == "") {
				t.Errorf("CONNECT to %q: %d", name, status)
			}
		}
	}
}

// The same by HTTP/2, where a request that is malformed is reset.
func TestHost_byHTTP2ComesToItsRouteOrToNone(t *testing.T) {
	addr := callRig(t, "", proxy.Route{To: proxy.Answer(200, "text/plain", "any")})
	for host, good := range map[string]bool{
		"example.com": true, "example.com.": true, "a_b": true, "[::1]:1": true,
		"ex%61mple.com": false, "example.com..": false, "a,b": false, strings.Repeat("a.", 128): false,
	} {
		if status := askHost(t, addr, host); (status == "200") != good {
			t.Errorf("%q: %q", host, status)
		}
	}
}

// askHost returns the status of the answer, "" where the stream is reset.
func askHost(t *testing.T, addr, host string) string {
	t.Helper()
	c := dialFramed(t, addr)
	err := writeHead(c.Framer, 1, true, ":method", "GET", ":scheme", "http", ":path", "/", ":authority", host)
	if err != nil {
		t.Fatal(err)
	}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return ""
		}
	}
}
