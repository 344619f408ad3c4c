package builtin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// serve starts a proxy with a filter before an origin, and returns its address.
func serveCSRF(t *testing.T, c *builtin.CSRF) string {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	t.Cleanup(origin.Close)
	f := made(t, builtin.NewCSRF, c, nil)
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: edge.Backends(origin.Listener.Addr().String()), Filters: []*proxy.Filter{f}},
	}}
	filterrig.Start(t, s)
	return s.ListenAddr()
}

func TestCSRF_onTheWire(t *testing.T) {
	addr := serveCSRF(t, &builtin.CSRF{TrustedOrigins: []string{"https://*.trusted.example"}, Isolate: true})
	for _, c := range []struct {
		method, host string
		fields       []string
		status       int
	}{
		{"GET", "", nil, 200},
		{"POST", "", nil, 200},
		{"POST", "", []string{"Sec-Fetch-Site: same-origin"}, 200},
		{"POST", "", []string{"sec-fetch-site: cross-site"}, 403},
		{"POST", "", []string{"SEC-FETCH-SITE: same-site"}, 403},
		{"POST", "", []string{"Origin: http://" + addr}, 200},
		{"POST", "www.example:8080", []string{"Origin: https://www.example:8080"}, 200},
		{"POST", "[::1]:8080", []string{"Origin: http://[::1]:8080"}, 200},
		{"POST", "[::1]:8080", []string{"Origin: http://[::1]:8081"}, 403},
		{"POST", "www.example", []string{"Origin: https://www.example", "Origin: https://evil.example"}, 403},
		{"DELETE", "", []string{"origin: null"}, 403},
		{"POST", "", []string{"Sec-Fetch-Site: cross-site", "Origin: https://app.trusted.example"}, 200},
		{"POST", "", []string{"Sec-Fetch-Site: cross-site", "Origin: https://app.trusted.example",
			"Origin: https://app.trusted.example"}, 403},
		{"GET", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, 403},
		{"GET", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate",
			"Sec-Fetch-Dest: document"}, 200},
		{"GET", "", []string{"Connection: upgrade", "Upgrade: websocket", "Origin: https://evil.example",
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}, 403},
	} {
		w := testutil.Dial(t, addr)
		host := c.host
		if host == "" {
			host = addr
		}
		length := "Content-Length: 0\r\n"
		if c.method == "GET" {
			length = ""
		}
		fields := strings.Join(append(c.fields, ""), "\r\n")
		w.Send(c.method + " / HTTP/1.1\r\nHost: " + host + "\r\n" + length + fields + "\r\n")
		if resp, _ := w.ReadResponse(c.method); resp.StatusCode != c.status {
			t.Errorf("%s %s %q: %s", c.method, host, c.fields, resp.Status)
		}
		w.Close()
	}
}

func TestCSRF_bypass(t *testing.T) {
	scope, err := variables.Scope(lang.Names{})
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := scope.Condition(`path starts_with "/hooks/" and header.x-key == "1"`, lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	addr := serveCSRF(t, &builtin.CSRF{Bypass: hooks})
	for c, want := range map[[2]string]int{
		{"/hooks/pay", "1"}: 200, {"/hooks/pay", "2"}: 403,
		// What an origin may read as another path than the bypass does is not let through.
		{"/hooks/..%2fadmin", "1"}: 400, {"/hooks/..%5Cadmin", "1"}: 400, {"/hooks/a//../../admin", "1"}: 400,
	} {
		w := testutil.Dial(t, addr)
		w.Send("POST " + c[0] + " HTTP/1.1\r\nHost: a\r\nX-Key: " + c[1] +
			"\r\nOrigin: https://b\r\nContent-Length: 0\r\n\r\n")
		if resp, _ := w.ReadResponse("POST"); resp.StatusCode != want {
			t.Errorf("%q: %s", c, resp.Status)
		}
		w.Close()
	}
}

func TestNewCSRF_refuses(t *testing.T) {
	for text, want := range map[string]string{"*": "refuse nothing", "null": "null", "https://*example.com": "star"} {
		if _, err := filterrig.Made(builtin.NewCSRF, &builtin.CSRF{TrustedOrigins: []string{text}}, nil); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCSRF_allocatesNothing(t *testing.T) {
	c := &builtin.CSRF{TrustedOrigins: []string{"https://*.trusted.example"}, Isolate: true}
	f := made(t, builtin.NewCSRF, c, nil)
	for _, request := range []string{
		warm.Browser,
		strings.Replace(warm.Browser, "GET", "DELETE", 1),
		strings.Replace(warm.Browser, "\r\n", "\r\nOrigin: https://app.trusted.example\r\n", 1),
	} {
		g := warm.New(t, request, &proxy.Listener{}, f)
		if n := testutil.Allocs(1000, g.Exchange); n != 0 {
			t.Errorf("%v allocations: %q", n, request)
		}
	}
}
