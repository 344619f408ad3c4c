package proxy_test

import (
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// claims is a proxy in front of an origin that keeps the fields and trailer fields of the last request.
type claims struct {
	addr string
	mu   sync.Mutex
	seen http.Header // guarded by mu
	last http.Header // trailer fields; guarded by mu
}

func newClaims(t *testing.T, on proxy.Listener, p upstream.Protocol, filters ...*proxy.Filter) *claims {
	t.Helper()
	testutil.CheckLeaks(t)
	c := &claims{}
	origin := newVersioned(t, "h1 h2c", 0, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen, c.last = r.Header.Clone(), r.Trailer.Clone()
	})
	e := newEngine(t, engine.Options{Reactors: 1})
	to := proxy.To(upstream.New(e, upstream.Options{
		Backends: backend.Of(origin.Listener.Addr().String()), Protocol: p,
	}), nil)
	r := serve(t, e, &on, session.ServerOptions{H2C: true}, []proxy.Route{{To: to, Filters: filters}})
	c.addr = r.addr()
	return c
}

// ask sends a request with these fields and trailer fields, "Name: value" each, and returns the status and what the
// origin saw of both. Names come in lower case over HTTP/2.
func (c *claims) ask(t *testing.T, h2 bool, fields, trailers []string) (status int, seen, last http.Header) {
	t.Helper()
	c.mu.Lock()
	c.seen, c.last = nil, nil
	c.mu.Unlock()
	if h2 {
		status = c.askH2(t, fields, trailers)
	} else {
		status = c.askH1(t, fields, trailers)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return status, c.seen, c.last
}

func (c *claims) askH1(t *testing.T, fields, trailers []string) int {
	t.Helper()
	w := testutil.Dial(t, c.addr)
	names := make([]string, len(trailers))
	for i, f := range trailers {
		names[i], _, _ = strings.Cut(f, ":")
	}
	head := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: " + strings.Join(names, ",") + "\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	w.Send(head + "\r\n2\r\nhi\r\n0\r\n" + strings.Join(append(slices.Clone(trailers), ""), "\r\n") + "\r\n")
	resp, _ := w.ReadResponse("POST")
	w.Close()
	return resp.StatusCode
}

// clearH2 is a client of HTTP/2 with prior knowledge.
func clearH2() *http.Transport {
	return &http.Transport{Protocols: protocols("h2c")}
}

func (c *claims) askH2(t *testing.T, fields, trailers []string) int {
	t.Helper()
	transport := clearH2()
	defer transport.CloseIdleConnections()
	// A reader whose length net/http does not know, so that trailers may follow.
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+c.addr+"/",
		struct{ io.Reader }{strings.NewReader("hi")})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	req.Trailer = http.Header{}
	for _, f := range trailers {
		name, value, _ := strings.Cut(f, ": ")
		req.Trailer[name] = []string{value}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// lies returns the names among fields that hold what the client claimed.
func lies(fields http.Header) []string {
	var names []string
	for name, values := range fields {
		if slices.Contains(values, "mallory") {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return names
}

// claimed are fields by which proxies tell a backend who the client is, and what it asked for.
var claimed = []string{
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded", "X-Real-IP",
	"X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Client-Cert",
	"x-forwarded-user", "X-FORWARDED-ANYTHING-THAT-NOBODY-HAS-HEARD-OF", "X-Forwarded",
	"Proxy", "Client-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP",
	"Fastly-Client-IP", "Fly-Client-IP", "Proxy-Client-IP", "WL-Proxy-Client-IP", "X-Original-URL", "X-Original-URI",
	"X-Original-Host", "X-Rewrite-URL", "Client-Cert", "Client-Cert-Chain",
	"Front-End-Https", "X-Url-Scheme", "X-Scheme", "X-Original-Method", "X-ProxyUser-Ip", "X-Originating-IP",
	"X-Remote-IP", "X-Remote-Addr", "CF-IPCountry", "CloudFront-Viewer-Country",
}

func mallory(names ...string) (fields []string) {
	for _, name := range names {
		fields = append(fields, name+": mallory")
	}
	return fields
}

// spelledWith returns the names with underscores in the place of hyphens.
func spelledWith(names []string) (spelled []string) {
	for _, name := range names {
		if s := strings.ReplaceAll(name, "-", "_"); s != name {
			spelled = append(spelled, s)
		}
	}
	return spelled
}

// What a proxy says of a client is not for the client to say, in a head or after a body, in any spelling that an
// origin may take for the name.
func TestClaims_ofTheUntrustedEndHere(t *testing.T) {
	const trailersMost = 20 // of one request: see docs/limits/http.md
	for _, p := range []upstream.Protocol{upstream.H1, upstream.H2} {
		for _, on := range []proxy.Listener{{}, {Underscores: proxy.UnderscoresPass}} {
			c := newClaims(t, on, p)
			for _, h2 := range []bool{false, true} {
				all := append(slices.Clone(claimed), spelledWith(claimed)...)
				want := []string{"proxy-status", "x-forwarder", "x-http-method-override", "x-original-name", "x-own"}
				fields := mallory(append(want, all...)...)
				for some := range slices.Chunk(all, trailersMost) {
					status, seen, last := c.ask(t, h2, fields, mallory(append([]string{"X-Sum"}, some...)...))
					if got := lies(seen); status != 200 || !slices.Equal(got, want) {
						t.Errorf("HTTP/2 %v, %+v: %d, the origin was told %q", h2, on, status, got)
					}
					if got := lies(last); !slices.Equal(got, []string{"x-sum"}) {
						t.Errorf("HTTP/2 %v, %+v: trailers told %q", h2, on, got)
					}
				}
			}
		}
	}
}

// A proxy that is trusted says what it likes, but not after a body: there it only passes on what it was sent.
func TestClaims_ofTheTrustedPass(t *testing.T) {
	c := newClaims(t, proxy.Listener{
		Trusted: &forwarding.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}, upstream.H1)
	names := []string{
		"Proxy", "True-Client-IP", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Original-URL", "Client-Cert",
	}
	for _, h2 := range []bool{false, true} {
		_, seen, last := c.ask(t, h2, mallory(append(names, "X_Real_IP")...), mallory(names...))
		want := []string{
			"client-cert", "proxy", "true-client-ip", "x-forwarded-port", "x-forwarded-prefix", "x-original-url",
		}
		if got := lies(seen); !slices.Equal(got, want) {
			t.Errorf("HTTP/2 %v: the origin was told %q", h2, got)
		}
		if got := lies(last); got != nil {
			t.Errorf("HTTP/2 %v: trailers told %q", h2, got)
		}
	}
}

// Many an origin cannot tell "_" from "-": such names are dropped unless the listener says otherwise.
func TestClaims_underscores(t *testing.T) {
	fields, trailers := mallory("X_Own", "X-Own", "_", "Content_Length"), mallory("X_Sum", "X-Sum")
	for name, want := range map[proxy.Underscores]struct {
		status     int
		seen, last []string
		alone      []string // the trailers of a request whose head has no underscore
	}{
		proxy.UnderscoresDrop: {200, []string{"x-own"}, []string{"x-sum"}, []string{"x-sum"}},
		proxy.UnderscoresPass: {200, []string{"_", "x-own", "x_own"}, []string{"x-sum", "x_sum"},
			[]string{"x-sum", "x_sum"}},
		proxy.UnderscoresRefuse: {400, nil, nil, []string{"x-sum"}},
	} {
		c := newClaims(t, proxy.Listener{Underscores: name}, upstream.H1)
		for _, h2 := range []bool{false, true} {
			status, seen, last := c.ask(t, h2, fields, trailers)
			if status != want.status || !slices.Equal(lies(seen), want.seen) || !slices.Equal(lies(last), want.last) {
				t.Errorf("%d, HTTP/2 %v: %d, %q, %q", name, h2, status, lies(seen), lies(last))
			}
			if status, _, last = c.ask(t, h2, nil, trailers); status != 200 || !slices.Equal(lies(last), want.alone) {
				t.Errorf("%d, HTTP/2 %v: %d, trailers alone: %q", name, h2, status, lies(last))
			}
		}
	}
}

// A client cannot add a field that a route sets: in no spelling, and not after the body.
func TestClaims_besideWhatARouteSets(t *testing.T) {
	set := setFields(map[string]string{
		"X-Client": "{client_cert_subject}", "x-env": "prod", "X_Role": "none", "Cookie": "", "X-Request-ID": "1",
	}, nil)
	names := []string{
		"X-Client", "X_Client", "x_client", "X-ENV", "X_Env", "X-Role", "x_role", "X_Request_ID", "X-Request-ID",
	}
	for _, p := range []upstream.Protocol{upstream.H1, upstream.H2} {
		for _, on := range []proxy.Listener{{}, {Underscores: proxy.UnderscoresPass}} {
			c := newClaims(t, on, p, set)
			for _, h2 := range []bool{false, true} {
				_, seen, last := c.ask(t, h2, mallory(names...), mallory(append(names, "X-Sum")...))
				if got := lies(seen); got != nil || seen.Get("X-Env") != "prod" {
					t.Errorf("HTTP/2 %v, %+v: the origin was told %q", h2, on, got)
				}
				if got := lies(last); !slices.Equal(got, []string{"x-sum"}) {
					t.Errorf("HTTP/2 %v, %+v: trailers told %q", h2, on, got)
				}
			}
		}
	}
}

// Trailers that come before the route is known are looked at when they leave.
func TestClaims_inTrailersThatCameEarly(t *testing.T) {
	parked := make(chan proxy.Ref, 1)
	c := newClaims(t, proxy.Listener{}, upstream.H1, setFields(map[string]string{"X-Client": ""}, nil),
		&proxy.Filter{Name: "park", Request: func(x *proxy.Exchange) proxy.Verdict {
			parked <- x.Ref()
			return proxy.Park
		}})
	w := testutil.Dial(t, c.addr)
	w.Send("POST / HTTP/1.1\r\nHost: h\r\nConnection: x-named\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"2\r\nhi\r\n0\r\nX-Client: mallory\r\nX-Named: mallory\r\nX-Sum: mallory\r\n\r\n")
	ref := <-parked
	ref.Resume(proxy.Next)
	if resp, _ := w.ReadResponse("POST"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := lies(c.last); !slices.Equal(got, []string{"x-sum"}) {
		t.Errorf("trailers told %q", got)
	}
}
