package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// No name of a certificate is read as several, or as one of another type: CVE-2021-44532.
func TestFields_namesOfACertificateStayApart(t *testing.T) {
	testutil.CheckLeaks(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", strings.Join(r.Header.Values("X-Names"), "|"))
	}))
	defer origin.Close()
	e := newEngine(t, engine.Options{Reactors: 1})
	p := proxy.New(e, newSnapshot(t, []proxy.Route{{
		To:      to(e, origin.Listener.Addr().String()),
		Filters: []*proxy.Filter{setFields(map[string]string{"X-Names": "{client_cert_sans}"}, nil)},
	}}))
	ca := testutil.NewAuthority(t)
	server := session.NewServer(e, p.Service(&proxy.Listener{}), session.ServerOptions{})
	accept := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{}).Server(tlsconn.ServerOptions{Config: &tls.Config{
		Certificates: []tls.Certificate{pairOf(t, ca, nil, "edge.test")}, ClientAuth: tls.RequestClientCert,
	}}, server.Accept)
	addr := listen(t, e, accept)
	for _, c := range []struct {
		set  func(*x509.Certificate)
		want string
	}{
		{func(c *x509.Certificate) {
			c.DNSNames = []string{"mallory.test,admin@corp.test,10.0.0.1", "x,DNS:admin.test"}
		}, "DNS:mallory.test%2Cadmin@corp.test%2C10.0.0.1,DNS:x%2CDNS:admin.test"},
		{func(c *x509.Certificate) {
			c.DNSNames = []string{"a.test", "a%2Cb"}
			c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1), net.ParseIP("::1")}
			c.EmailAddresses = []string{"a@b.test", "c,email:root@b.test"}
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "b.test", Path: "/a,DNS:admin.test/%"}}
		}, "DNS:a.test,DNS:a%252Cb,IP:10.0.0.1,IP:::1,email:a@b.test,email:c%2Cemail:root@b.test," +
			"URI:spiffe://b.test/a%2CDNS:admin.test/%25"},
		{func(c *x509.Certificate) { c.DNSNames = []string{"a\r\nX: y"} }, "DNS:a%0D%0AX: y"},
		{func(c *x509.Certificate) { c.DNSNames = nil }, ""},
	} {
		pair := pairOf(t, ca, func(x *x509.Certificate) { x.IPAddresses = nil; c.set(x) })
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: ca.Pool, ServerName: "edge.test", Certificates: []tls.Certificate{pair},
		}}}
		resp, _ := testutil.Get(t, client, "https://"+addr)
		client.CloseIdleConnections()
		if got := resp.Header.Get("X-Seen"); got != c.want {
			t.Errorf("the origin was told\n%q, want\n%q", got, c.want)
		}
	}
}

// What a client calls itself in its handshake, or in its certificate, is any text. It becomes no Host that is none.
func TestFields_hostOfAVariableIsAHost(t *testing.T) {
	seen := make(chan string, 1)
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.Host + " " + strings.Join(r.Header.Values("X-Name"), "|")
	}))
	defer origin.Close()
	for _, c := range []struct{ host, sni, want string }{
		{"{sni}", "a.test", "a.test a.test"},
		{"{sni}:81", "a_b.test", "a_b.test:81 a_b.test"},
		{"{sni}", "10.0.0.1", "h "},
		{"{sni}", "", "h "},
		{"{sni}", "internal admin/x?y@z", "h "},
		{"{sni}", "a.test:80", "h "},
		{"{sni}", "a,b", "h "},
		{"{sni}", "a..", "h "},
		{"{sni}", "[::1]", "h "},
		{"{sni}", strings.Repeat("a.", 128), "h "},
		{"a..{sni}", "a.test", "400"},
		{"{sni}:81:82", "a.test", "400"},
		{"{alpn} {sni}", "a.test", "400"},
		{"{tls_version}", "a.test", "400"},
		{"{sni}." + strings.Repeat("b.", 120), strings.Repeat("a.", 20) + "a", "400"},
	} {
		r := newRig(t, func(e *engine.Engine) []proxy.Route {
			return []proxy.Route{{To: to(e, origin.Listener.Addr().String()), Filters: []*proxy.Filter{
				setFields(map[string]string{"Host": c.host, "X-Name": "{sni}"}, nil),
			}}}
		})
		digest := &tlsconn.Digest{Version: tls.VersionTLS13, ServerName: c.sni, ALPN: "h2"}
		p := r.play(t, &proxy.Listener{}, digest, headOf("GET", "https", "h", "/", "X-Name: forged"), true)
		status := p.want(t, "head ")[len("head "):][:3]
		select {
		case got := <-seen:
			if got != c.want {
				t.Errorf("%q with %q: the origin was told %q", c.host, c.sni, got)
			}
		default: // it answers after it has told
			if status != c.want {
				t.Errorf("%q with %q: %s", c.host, c.sni, status)
			}
		}
	}
}
