package builtin_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

// serve starts a proxy with a filter before an origin that sends some of the fields itself. /own and /dead are answered
// by the proxy.
func serveHeaders(t *testing.T, c *builtin.SecurityHeaders, secured *tls.Config) string {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/careful" {
			w.Header().Set("Strict-Transport-Security", "max-age=1")
			w.Header().Set("x-frame-options", "ALLOW-FROM https://a.example")
			w.Header()["permissions-policy"] = []string{"usb=(self)"}
		}
	}))
	t.Cleanup(origin.Close)
	f := made(t, builtin.NewSecurityHeaders, c, nil)
	list := []*proxy.Filter{f}
	s := &edge.Server{Addr: "127.0.0.1:0", TLS: secured, Routes: []proxy.Route{
		{Path: "/own", To: proxy.Answer(404, "text/plain", "none"), Filters: list},
		{Path: "/dead", To: edge.Backends(testutil.FreeAddr(t)), Filters: list},
		{To: edge.Backends(origin.Listener.Addr().String()), Filters: list},
	}}
	filterrig.Start(t, s)
	return s.ListenAddr()
}

// field returns the values of a field, those of several fields with a bar between.
func fieldOf(resp *http.Response, name string) string {
	return strings.Join(resp.Header.Values(name), "|")
}

func TestSecurityHeaders_basic(t *testing.T) {
	url := "http://" + serveHeaders(t, &builtin.SecurityHeaders{}, nil)
	for path, status := range map[string]int{"/": 200, "/own": 404, "/dead": 502} {
		resp, _ := testutil.Get(t, http.DefaultClient, url+path)
		got := fmt.Sprint(resp.StatusCode, fieldOf(resp, "X-Content-Type-Options"), fieldOf(resp, "Referrer-Policy"),
			fieldOf(resp, "X-Frame-Options"), fieldOf(resp, "Strict-Transport-Security"),
			fieldOf(resp, "Content-Security-Policy"))
		if want := fmt.Sprint(status, "nosniff", "strict-origin-when-cross-origin", "SAMEORIGIN", "", ""); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	resp, _ := testutil.Get(t, http.DefaultClient, url+"/careful")
	if got := fieldOf(resp, "X-Frame-Options"); got != "ALLOW-FROM https://a.example" {
		t.Errorf("the backend's field is %q", got)
	}
}

func TestSecurityHeaders_override(t *testing.T) {
	url := "http://" + serveHeaders(t, &builtin.SecurityHeaders{
		Preset: "strict", Override: true, Referrer: "off", Resource: "same-site",
		CSPReportOnly: "default-src 'none'",
	}, nil)
	resp, _ := testutil.Get(t, http.DefaultClient, url+"/careful")
	for name, want := range map[string]string{
		"X-Frame-Options": "DENY", "Referrer-Policy": "", "Cross-Origin-Resource-Policy": "same-site",
		"Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Opener-Policy": "same-origin",
		"Content-Security-Policy-Report-Only": "default-src 'none'",
	} {
		if got := fieldOf(resp, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	got := fieldOf(resp, "Permissions-Policy")
	if !strings.HasPrefix(got, "accelerometer=()") || strings.Contains(got, "|") {
		t.Errorf("Permissions-Policy: %q", got)
	}
}

func TestSecurityHeaders_hstsOnSecuredConnections(t *testing.T) {
	ca := testutil.NewAuthority(t)
	cert, key := ca.Issue(t, nil, "localhost")
	addr := serveHeaders(t, &builtin.SecurityHeaders{Preset: "strict"}, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
	})
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"},
	}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]string{"/": "max-age=63072000; includeSubDomains", "/careful": "max-age=1"} {
		resp, _ := testutil.Get(t, client, "https://"+addr+path)
		if got := fieldOf(resp, "Strict-Transport-Security"); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestNewSecurityHeaders_refuses(t *testing.T) {
	for want, c := range map[string]builtin.SecurityHeaders{
		"paranoid": {Preset: "paranoid"}, "max-age": {HSTS: "includeSubDomains"}, "nosniff": {ContentType: "sniff"},
		"SAMEORIGIN": {Frame: "ALLOWALL"}, "same-site": {Resource: "none"},
		"not a value": {CSP: "default-src 'self'\r\nSet-Cookie: a=b"},
	} {
		_, err := filterrig.Made(builtin.NewSecurityHeaders, &c, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSecurityHeaders_allocatesNothing(t *testing.T) {
	for _, c := range []builtin.SecurityHeaders{{}, {Preset: "strict"}, {Preset: "strict", Override: true}} {
		f := made(t, builtin.NewSecurityHeaders, &c, nil)
		g := warm.New(t, warm.Browser, &proxy.Listener{}, f)
		if n := testutil.Allocs(1000, g.Exchange); n != 0 {
			t.Errorf("%+v: %v allocations", c, n)
		}
	}
}

func BenchmarkSecurityHeaders(b *testing.B) {
	for _, preset := range []string{"none", "basic", "strict"} {
		b.Run(preset, func(b *testing.B) {
			f, err := filterrig.Made(builtin.NewSecurityHeaders, &builtin.SecurityHeaders{Preset: preset}, nil)
			if err != nil {
				b.Fatal(err)
			}
			g := warm.New(b, warm.Browser, &proxy.Listener{}, f)
			b.ReportAllocs()
			for b.Loop() {
				g.Exchange()
			}
		})
	}
}

// An answer of the proxy has the fields of the preset, but for one that the configuration leaves out.
func ExampleSecurityHeaders() {
	careful, err := filterrig.Made(builtin.NewSecurityHeaders,
		&builtin.SecurityHeaders{Preset: "basic", Referrer: "off"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "hello"), Filters: []*proxy.Filter{careful}},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	resp, err := http.Get("http://" + s.ListenAddr())
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	for _, name := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
		fmt.Printf("%s: %q\n", name, resp.Header.Get(name))
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// X-Content-Type-Options: "nosniff"
	// X-Frame-Options: "SAMEORIGIN"
	// Referrer-Policy: ""
}
