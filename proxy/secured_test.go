package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// protocols is a set of versions that a server speaks: h1, h2 (over TLS) and h2c.
func protocols(names string) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(strings.Contains(names, "h1"))
	p.SetHTTP2(strings.Contains(names, "h2 "))
	p.SetUnencryptedHTTP2(strings.Contains(names, "h2c"))
	return p
}

// versioned is an origin that says which version it was asked by, and answers with what it was sent.
type versioned struct {
	*httptest.Server
	mu    sync.Mutex
	seen  map[string]bool // remote addresses
	names map[string]bool // that were asked for by SNI
}

func newVersioned(t *testing.T, names string, streams int, handle http.HandlerFunc) *versioned {
	t.Helper()
	v := &versioned{seen: map[string]bool{}, names: map[string]bool{}}
	if handle == nil {
		handle = func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			w.Write(body)
		}
	}
	v.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.seen[r.RemoteAddr] = true
		if r.TLS != nil {
			v.names[r.TLS.ServerName] = true
			w.Header().Set("X-Resumed", fmt.Sprint(r.TLS.DidResume))
		}
		v.mu.Unlock()
		w.Header().Set("X-Version", r.Proto)
		handle(w, r)
	}))
	v.Config.Protocols = protocols(names)
	v.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	v.Config.ErrorLog = log.New(io.Discard, "", 0)
	if strings.Contains(names, "tls") {
		v.EnableHTTP2 = strings.Contains(names, "h2 ")
		v.StartTLS()
	} else {
		v.Start()
	}
	t.Cleanup(v.Server.Close)
	return v
}

// connections returns how many there were.
func (v *versioned) connections() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.seen)
}

// authority is the certificate of an origin of httptest, which names example.com and 127.0.0.1.
func (v *versioned) authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw}))
}

// secured returns a rig whose upstream is v.
func secured(t *testing.T, v *versioned, o upstream.Options) (*rig, *upstream.Upstream) {
	t.Helper()
	return leadingTo(t, v.Listener.Addr().String(), o)
}

// leadingTo returns a rig whose upstream is at address.
func leadingTo(t *testing.T, address string, o upstream.Options) (*rig, *upstream.Upstream) {
	t.Helper()
	o.Backends = backend.Of(address)
	var u *upstream.Upstream
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		u = upstream.New(e, o)
		return []proxy.Route{{Name: "all", To: proxy.To(u, nil)}}
	})
	return r, u
}

// openTo returns how many connections to the first backend of u are open.
func openTo(u *upstream.Upstream) int { return u.Open(u.Options().Backends.Members()[0]) }

// fetch makes a request and returns its answer with the whole body.
func fetch(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return &http.Response{Header: http.Header{}}, ""
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp, string(got)
}

// What an origin offers and what the upstream asks for decide which version is spoken.
func TestSecured_protocols(t *testing.T) {
	big := strings.Repeat("0123456789", 50_000)
	for _, c := range []struct {
		origin   string
		protocol upstream.Protocol
		want     string
	}{
		{"tls h1", upstream.H1, "HTTP/1.1"},
		{"tls h1", upstream.Auto, "HTTP/1.1"},
		{"tls h1 h2 ", upstream.H1, "HTTP/1.1"},
		{"tls h1 h2 ", upstream.Auto, "HTTP/2.0"},
		{"tls h1 h2 ", upstream.H2, "HTTP/2.0"},
		{"h1 h2c", upstream.H2, "HTTP/2.0"},
		{"h1 h2c", upstream.Auto, "HTTP/1.1"},
	} {
		v := newVersioned(t, c.origin, 0, nil)
		o := upstream.Options{Protocol: c.protocol}
		if strings.Contains(c.origin, "tls") {
			o.TLS = upstream.TLS{On: true, CA: v.authority(), ServerName: "example.com"}
		}
		r, _ := secured(t, v, o)
		for _, body := range []string{"", "hello", big} {
			for range 3 {
				resp, got := fetch(t, "POST", r.url+"/", body)
				if resp.StatusCode != 200 || got != body || resp.Header.Get("X-Version") != c.want {
					t.Fatalf("%s, protocol %d: %d %v, %d bytes",
						c.origin, c.protocol, resp.StatusCode, resp.Header, len(got))
				}
			}
		}
		if o.TLS.On && (len(v.names) != 1 || !v.names["example.com"]) {
			t.Errorf("%s: asked for %v", c.origin, v.names)
		}
		if n := v.connections(); n > 3 { // one for each reactor, and a moment in which one is not parked yet
			t.Errorf("%s, protocol %d: %d connections", c.origin, c.protocol, n)
		}
	}
}

// A certificate that does not fit, an origin that refuses ours, and one that does not speak TLS are told apart.
func TestSecured_failures(t *testing.T) {
	origin := newVersioned(t, "tls h1 h2 ", 0, nil)
	plain := newVersioned(t, "h1", 0, nil)
	old := newVersioned(t, "tls h1", 0, nil)
	strict := httptest.NewUnstartedServer(http.NotFoundHandler())
	strict.Config.ErrorLog = log.New(io.Discard, "", 0)
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	strict.StartTLS()
	t.Cleanup(strict.Close)
	ca := origin.authority()
	for _, c := range []struct {
		name    string
		address string
		tls     upstream.TLS
		status  int
		want    string
	}{
		{"unknown authority", origin.Listener.Addr().String(), upstream.TLS{}, 502, "tls_certificate_error"},
		{"another name", origin.Listener.Addr().String(), upstream.TLS{CA: ca, ServerName: "example.org"}, 502,
			"tls_certificate_error"},
		{"no TLS", plain.Listener.Addr().String(), upstream.TLS{CA: ca}, 502, "tls_protocol_error"},
		{"no authority", origin.Listener.Addr().String(), upstream.TLS{CA: "nonsense"}, 500,
			"proxy_configuration_error"},
		{"client certificate", strict.Listener.Addr().String(),
			upstream.TLS{Insecure: true, MaxVersion: tls.VersionTLS12}, 502, "tls_alert_received"},
		{"client certificate, TLS 1.3", strict.Listener.Addr().String(), upstream.TLS{Insecure: true}, 502,
			"tls_alert_received"},
		{"no HTTP/2", old.Listener.Addr().String(), upstream.TLS{Insecure: true}, 502, "tls_alert_received"},
		{"nobody", "127.0.0.1:1", upstream.TLS{CA: ca}, 502, "connection_refused"},
	} {
		for _, protocol := range []upstream.Protocol{upstream.H1, upstream.H2, upstream.Auto} {
			if c.name == "no HTTP/2" && protocol != upstream.H2 {
				continue
			}
			c.tls.On = true
			o := upstream.Options{Protocol: protocol, TLS: c.tls, Backends: backend.Of(c.address)}
			r := newRig(t, func(e *engine.Engine) []proxy.Route {
				return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, o), nil)}}
			})
			resp, _ := fetch(t, "GET", r.url+"/", "")
			if got := resp.Header.Get("Proxy-Status"); resp.StatusCode != c.status || got != "edge; error="+c.want {
				t.Errorf("%s, protocol %d: %d %q", c.name, protocol, resp.StatusCode, got)
			}
		}
	}
	// A backend that cannot be secured is followed by one that can.
	o := upstream.Options{
		TLS:      upstream.TLS{On: true, CA: ca},
		Backends: backend.Of(plain.Listener.Addr().String(), origin.Listener.Addr().String()),
	}
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, o), nil)}}
	})
	for range 4 {
		if resp, got := fetch(t, "POST", r.url+"/", "x"); resp.StatusCode != 200 || got != "x" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
	}
}

// A backend that asks for a certificate is shown the one of the upstream.
func TestSecured_clientCertificate(t *testing.T) {
	v := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.TLS.PeerCertificates), r.TLS.PeerCertificates[0].Subject)
	}))
	v.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	v.EnableHTTP2 = true
	v.StartTLS()
	t.Cleanup(v.Close)
	key, err := x509.MarshalPKCS8PrivateKey(v.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	o := upstream.Options{TLS: upstream.TLS{On: true, Insecure: true}}
	o.TLS.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw}))
	o.TLS.Key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	for _, o.Protocol = range []upstream.Protocol{upstream.H1, upstream.H2, upstream.Auto} {
		r, _ := leadingTo(t, v.Listener.Addr().String(), o)
		if _, got := fetch(t, "GET", r.url+"/", ""); got != "1 O=Acme Co" {
			t.Errorf("protocol %d: %q", o.Protocol, got)
		}
	}
}

// Connections that the backend closes while nobody uses them cost no request.
func TestSecured_closedWhileIdle(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.H1, upstream.H2, upstream.Auto} {
		v := newVersioned(t, "tls h1 h2 ", 0, nil)
		r, _ := secured(t, v, upstream.Options{
			Protocol: protocol, TLS: upstream.TLS{On: true, CA: v.authority()},
		})
		for i := range 20 {
			if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 200 {
				t.Errorf("protocol %d, %d: %d %v", protocol, i, resp.StatusCode, resp.Header)
			}
			v.CloseClientConnections()
		}
		if n := v.connections(); n < 20 {
			t.Errorf("protocol %d: %d connections", protocol, n)
		}
	}
}

// A further connection takes up the session of the first.
func TestSecured_resumes(t *testing.T) {
	v := newVersioned(t, "tls h1", 0, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
	})
	r, _ := secured(t, v, upstream.Options{TLS: upstream.TLS{On: true, CA: v.authority()}})
	resumed := 0
	for range 10 {
		if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.Header.Get("X-Resumed") == "true" {
			resumed++
		}
	}
	if resumed < 8 {
		t.Errorf("%d of 10 resumed", resumed)
	}
}

// Fewer secured connections than reactors: none is moved, and everybody is served.
func TestSecured_limitBelowReactors(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.H1, upstream.H2, upstream.Auto} {
		v := newVersioned(t, "tls h1 h2 ", 3, nil)
		r, u := secured(t, v, upstream.Options{
			Protocol: protocol, TLS: upstream.TLS{On: true, CA: v.authority()},
			PerBackend: 1, QueueTimeout: time.Minute,
		})
		var wait sync.WaitGroup
		for i := range 16 {
			wait.Go(func() {
				for k := range 10 {
					body := fmt.Sprint(i, " ", k)
					if resp, got := fetch(t, "POST", r.url+"/", body); resp.StatusCode != 200 || got != body {
						t.Errorf("protocol %d: %d %v %q", protocol, resp.StatusCode, resp.Header, got)
						return
					}
				}
			})
		}
		wait.Wait()
		if n := openTo(u); n > 1 {
			t.Errorf("protocol %d: %d connections", protocol, n)
		}
	}
}

// The handshake of a connection is a part of the time that it took to connect, for the request that it was made for.
func TestLog_handshake(t *testing.T) {
	for name, protocol := range map[string]upstream.Protocol{"tls h1": upstream.H1, "tls h1 h2 ": upstream.H2} {
		v, kept := newVersioned(t, name, 0, nil), &keptLog{}
		r := newWorkerRig(t, &proxy.Listener{}, kept, func(e *engine.Engine) proxy.Route {
			return proxy.Route{To: proxy.To(upstream.New(e, upstream.Options{
				Protocol: protocol, Backends: backend.Of(v.Listener.Addr().String()),
				TLS: upstream.TLS{On: true, CA: v.authority(), ServerName: "example.com"},
			}), nil)}
		})
		fetch(t, "GET", r.url+"/", "")
		if first := kept.want(t, 1, 200, "").T; first.TLS <= 0 || first.TLS > first.Connect {
			t.Errorf("%s: a handshake of %d ns, connected in %d", name, first.TLS, first.Connect)
		}
		fetch(t, "GET", r.url+"/", "")
		if next := kept.want(t, 2, 200, ""); !next.Reused || next.T.TLS != 0 {
			t.Errorf("%s: on a connection that stood: %+v", name, next.T)
		}
	}
}
