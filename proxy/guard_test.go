package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

// entry is a listener of a proxy with several, and how it takes connections: plain ones, TLS ones, or both.
type entry struct {
	listener *proxy.Listener
	tls      bool
	auto     bool
	auth     tls.ClientAuthType
	addr     string
}

// openEntries serves routes at all of them. Clients' certificates are of ca, and so are those that they are shown.
func openEntries(t *testing.T, ca *testutil.Authority, routes []proxy.Route, entries ...*entry) {
	t.Helper()
	e := newEngine(t, engine.Options{Reactors: 2})
	p, hs := proxy.New(e, newSnapshot(t, routes)), tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{})
	own := pairOf(t, ca, nil, "edge.test", "127.0.0.1")
	for _, g := range entries {
		accept := session.NewServer(e, p.Service(g.listener), session.ServerOptions{H2C: true}).Accept
		if g.tls {
			accept = hs.Server(tlsconn.ServerOptions{Auto: g.auto, Config: &tls.Config{
				Certificates: []tls.Certificate{own}, ClientAuth: g.auth, ClientCAs: ca.Pool,
				NextProtos: []string{"h2", "http/1.1"},
			}}, accept)
		}
		g.addr = bind(t, e, accept)
	}
	start(t, e)
}

// showing is a client that has these certificates. It follows no redirect.
func showing(t *testing.T, ca *testutil.Authority, names string, pairs ...tls.Certificate) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: protocols(names), TLSClientConfig: &tls.Config{
		RootCAs: ca.Pool, Certificates: pairs, ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport: tr, Timeout: testutil.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// askAt sends a request with fields "Name: value" and returns the head of the answer.
func askAt(t *testing.T, c *http.Client, method, url, fields string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Split(fields, "|") {
		if name, value, found := strings.Cut(f, ": "); found {
			req.Header.Set(name, value)
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp
}

// plainAsks are requests in every form that a plain connection can have, with the status where nothing guards the
// listener.
var plainAsks = []struct {
	what, protocols, method, fields string
	open                            int
}{
	{"a request", "h1", "GET", "", 200},
	{"one with a forged scheme", "h1", "GET", "X-Forwarded-Proto: https", 200},
	{"an upgrade", "h1", "GET", "Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Version: 13|" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", 200},
	{"HTTP/2 by prior knowledge", "h2c", "GET", "", 200},
	{"gRPC", "h2c", "POST", "Content-Type: application/grpc|TE: trailers", 200},
	{"a method without a route", "h1", "TRACE", "", 405},
}

// What a listener asks of TLS holds for every form of plain request on its port: the proxy answers 421, or 308 where
// the listener redirects, and no route sees it.
func TestGuard_plainRequestsOfAListenerThatAsksForTLS(t *testing.T) {
	testutil.CheckLeaks(t)
	ca := testutil.NewAuthority(t)
	var served atomic.Int64
	routes := []proxy.Route{
		{To: handler.FromHTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))},
		{Path: "/tunnel", Methods: []string{"CONNECT"}, To: proxy.Answer(200, "", "")},
	}
	trusted := &forwarding.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	open := &entry{listener: &proxy.Listener{}, tls: true, auto: true}
	certified := &entry{listener: &proxy.Listener{ClientCert: true}, tls: true, auto: true,
		auth: tls.RequireAndVerifyClientCert}
	named := &entry{listener: &proxy.Listener{StrictSNI: true}, tls: true, auto: true}
	both := &entry{listener: &proxy.Listener{StrictSNI: true, ClientCert: true, BodyMax: 1}}
	behind := &entry{listener: &proxy.Listener{ClientCert: true, RedirectToHTTPS: 8443, Trusted: trusted}}
	led := &entry{listener: &proxy.Listener{StrictSNI: true, RedirectToHTTPS: 8443}, tls: true, auto: true}
	openEntries(t, ca, routes, open, certified, named, both, behind, led)

	for _, c := range plainAsks {
		client := showing(t, ca, c.protocols)
		for g, want := range map[*entry]int{open: c.open, certified: 421, named: 421, both: 421, led: 308} {
			before := served.Load()
			resp := askAt(t, client, c.method, "http://"+g.addr+"/x?y", c.fields)
			got, call := resp.StatusCode, resp.Header.Get("Grpc-Status")
			if want == 421 && call == "16" || want == 308 && call == "2" { // UNAUTHENTICATED, UNKNOWN
				got = want
			}
			if got != want || want == 308 && resp.Header.Get("Location") != "https://127.0.0.1:8443/x?y" {
				t.Errorf("%s, %+v: %d %v, want %d", c.what, g.listener, resp.StatusCode, resp.Header, want)
			}
			if reached := served.Load() > before; reached != (want == 200) {
				t.Errorf("%s, %+v: reached a route is %v", c.what, g.listener, reached)
			}
		}
	}
	// What a proxy that is trusted says of its client is no certificate, and a redirect would lead it in circles.
	resp := askAt(t, showing(t, ca, "h1"), "GET", "http://"+behind.addr, "X-Forwarded-Proto: https")
	if resp.StatusCode != 421 {
		t.Errorf("a trusted proxy: %d", resp.StatusCode)
	}
	for _, g := range []*entry{certified, named, led} {
		for _, request := range []string{
			"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
		} {
			w := testutil.Dial(t, g.addr)
			w.Send(request)
			head := w.ReadHead()
			if !strings.Contains(head, " 421 ") && !(g == led && strings.Contains(head, " 308 ")) &&
				!(g == led && strings.Contains(head, " 400 ")) { // no host to lead to
				t.Errorf("%+v %q: %s", g.listener, request, head)
			}
			w.Close()
		}
	}
	if n := served.Load(); n != 5 { // those at the open entry
		t.Errorf("%d requests reached a route", n)
	}
}

// A connection without a certificate, as one that stood before certificates were asked for, is as good as a plain one.
func TestGuard_connectionsWithoutACertificate(t *testing.T) {
	testutil.CheckLeaks(t)
	ca := testutil.NewAuthority(t)
	pair := pairOf(t, ca, nil, "client")
	listener := &proxy.Listener{ClientCert: true}
	asks := &entry{listener: listener, tls: true, auth: tls.VerifyClientCertIfGiven}
	believes := &entry{listener: listener, tls: true, auth: tls.RequestClientCert}
	openEntries(t, ca, []proxy.Route{{To: proxy.Answer(200, "", "")}}, asks, believes)
	for _, names := range []string{"h1", "h1 h2 "} {
		with, without := showing(t, ca, names, pair), showing(t, ca, names)
		for _, c := range []struct {
			what   string
			client *http.Client
			at     *entry
			want   int
		}{
			{"verified", with, asks, 200}, {"none", without, asks, 421},
			{"not verified", with, believes, 421}, {"none, and nothing verified", without, believes, 421},
		} {
			for range 2 { // the second one resumes
				if got := askAt(t, c.client, "GET", "https://"+c.at.addr, "").StatusCode; got != c.want {
					t.Errorf("%s, %s: %d, want %d", names, c.what, got, c.want)
				}
				c.client.CloseIdleConnections()
			}
		}
	}
}

// A Server that refuses every request says so at its start.
func TestServer_refusesGuardsThatNobodyCanMeet(t *testing.T) {
	testutil.CheckLeaks(t)
	routes := []proxy.Route{{To: proxy.Answer(200, "", "")}}
	for _, s := range []*edge.Server{
		{Listener: proxy.Listener{StrictSNI: true}},
		{Listener: proxy.Listener{ClientCert: true}},
		{Listener: proxy.Listener{ClientCert: true}, TLS: &tls.Config{}},
		{Listener: proxy.Listener{ClientCert: true}, TLS: &tls.Config{ClientAuth: tls.RequireAnyClientCert}},
	} {
		s.Addr, s.Routes = "127.0.0.1:0", routes
		if err := s.Start(); err == nil {
			t.Errorf("%+v, %+v is accepted", s.Listener, s.TLS)
			_ = s.Shutdown(context.Background())
		}
	}
	for _, s := range []*edge.Server{
		{Listener: proxy.Listener{ClientCert: true}, TLS: &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven}},
		{Listener: proxy.Listener{StrictSNI: true}, TLS: &tls.Config{}},
	} {
		s.Addr, s.Routes = "127.0.0.1:0", routes
		if err := s.Start(); err != nil {
			t.Errorf("%+v: %v", s.Listener, err)
		} else if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// pairOf is a client's certificate of ca.
func pairOf(t *testing.T, ca *testutil.Authority, change func(*x509.Certificate), names ...string) tls.Certificate {
	t.Helper()
	cert, key := ca.Issue(t, change, names...)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// A route with a condition about the listener or the client's certificate takes nothing else, whatever the version of
// HTTP and whether the session is resumed.
func TestRoute_byListenerAndClientCertificate(t *testing.T) {
	testutil.CheckLeaks(t)
	ca := testutil.NewAuthority(t)
	only := func(path string, c *route.ClientCert, listeners ...string) proxy.Route {
		return proxy.Route{Path: path, Listeners: listeners, ClientCert: c, To: proxy.Answer(200, "", "")}
	}
	routes := []proxy.Route{
		only("/inner", nil, "inner", "nowhere"), only("/any", &route.ClientCert{}),
		only("/alice", &route.ClientCert{Subject: "CN=alice,O=corp"}),
		only("/corp", &route.ClientCert{Subject: "~,O=corp$"}),
		only("/issued", &route.ClientCert{Issuer: "CN=test authority"}),
		only("/uri", &route.ClientCert{SAN: "~^spiffe://corp/"}),
		only("/mail", &route.ClientCert{SAN: "admin@corp.test"}),
		only("/ip", &route.ClientCert{SAN: "10.0.0.1"}),
		only("/all", &route.ClientCert{Subject: "~alice", Issuer: "~authority", SAN: "alice.test"}),
		only("/most", &route.ClientCert{Subject: "~alice", Issuer: "~another", SAN: "alice.test"}),
		only("/both", &route.ClientCert{Subject: "~alice"}, "asks"),
	}
	entries := map[string]*entry{
		"plain": {}, "inner": {tls: true, auth: tls.RequireAndVerifyClientCert}, "outer": {tls: true},
		"asks":     {tls: true, auto: true, auth: tls.VerifyClientCertIfGiven},
		"believes": {tls: true, auth: tls.RequestClientCert},
	}
	var list []*entry
	for name, e := range entries {
		e.listener = &proxy.Listener{Name: name}
		list = append(list, e)
	}
	openEntries(t, ca, routes, list...)
	alice := pairOf(t, ca, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "alice", Organization: []string{"corp"}}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "corp", Path: "/alice"}}
		c.EmailAddresses = []string{"admin@corp.test"}
	}, "alice.test", "10.0.0.1")
	// An authority that let pass what is no DNS name: it must not stand for a name of another kind.
	mallory := pairOf(t, ca, nil, "mallory", "admin@corp.test", "spiffe://corp/mallory")
	stranger := pairOf(t, testutil.NewAuthority(t), func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "alice", Organization: []string{"corp"}}
	}, "alice.test")

	for _, c := range []struct {
		at     string
		shows  []tls.Certificate
		routes string // that take the client's requests; all others do not
	}{
		{"plain", nil, ""},
		{"outer", nil, ""},
		{"outer", []tls.Certificate{alice}, ""}, // nobody asks for it
		{"inner", []tls.Certificate{mallory}, "/inner /any /issued"},
		{"inner", []tls.Certificate{alice}, "/inner /any /alice /corp /issued /uri /mail /ip /all"},
		{"asks", []tls.Certificate{alice}, "/any /alice /corp /issued /uri /mail /ip /all /both"},
		{"asks", nil, ""},
		{"believes", []tls.Certificate{stranger}, ""},
		{"believes", []tls.Certificate{alice}, ""},
	} {
		for _, names := range []string{"h1", "h1 h2 ", "h2c"} {
			scheme := "https"
			if names == "h2c" || c.at == "plain" {
				scheme = "http"
			}
			if scheme == "http" && (!entries[c.at].auto && c.at != "plain" || c.shows != nil) {
				continue
			}
			client := showing(t, ca, names, c.shows...)
			for _, resumed := range []bool{false, true} {
				for _, r := range routes {
					resp := askAt(t, client, "GET", scheme+"://"+entries[c.at].addr+r.Path+"/x", "")
					want := 404
					if slices.Contains(strings.Fields(c.routes), r.Path) {
						want = 200
					}
					if resp.StatusCode != want {
						t.Errorf("%s, %s, %s: %d, want %d", c.at, names, r.Path, resp.StatusCode, want)
					}
					if resp.TLS != nil && resp.TLS.DidResume != resumed {
						t.Errorf("%s, %s: resumed is %v", c.at, names, resp.TLS.DidResume)
					}
				}
				client.CloseIdleConnections()
			}
		}
	}
}
