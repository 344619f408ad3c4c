package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/server/metrics"
)

// setAll sets every number of a struct of counters to 1.
func setAll(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			setAll(f)
		case f.CanUint():
			f.SetUint(1)
		default:
			f.SetInt(1)
		}
	}
}

// Every row of TLS, HTTP/2 and HTTP/3 is in the registry from the start, under its labels, and moves with its counter.
func TestRegistry_rowsAppearAndMove(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s%s%s[upstreams.api]\nprotocol = \"h2\"\nbackends = [{ address = \"127.0.0.1:1\" }]\n"+
		"[[routes]]\npattern = \"/\"\ndest = \"api\"\n", quiet, secured(t, ca, dir), withH3)
	values := func() map[string]float64 {
		m := make(map[string]float64)
		s.counters.Registry.Each(func(o observe.Sample) {
			id := o.Name
			for _, l := range o.Labels {
				id += " " + l.Name + "=" + l.Value
			}
			m[id] = o.Value
		})
		return m
	}
	s.Registry()
	before := values()
	now := metrics.NewSample()
	setAll(reflect.ValueOf(now.Listener("web")).Elem())
	setAll(reflect.ValueOf(now.Upstream("api")).Elem())
	setAll(reflect.ValueOf(&now.TLS).Elem())
	now.AddMembers("api", backend.Stats{Panics: 1, Panicking: 1})
	for i := range now.Handshakes {
		for v := range now.Handshakes[i] {
			for g := range now.Handshakes[i][v] {
				now.Handshakes[i][v][g] = [...]uint64{1, 1}
			}
		}
	}
	s.counters.Show(now)
	moved := 0
	for id, after := range values() {
		if !strings.Contains(id, "_tls_") && !strings.HasPrefix(id, "edge_listener_") &&
			!strings.HasPrefix(id, "edge_upstream_") && !strings.HasPrefix(id, "edge_quic_") ||
			strings.Contains(id, "ticket_rotations") || id == "edge_tls_lends_buffers" {
			continue
		}
		gauge := strings.HasPrefix(id, "edge_upstream_connections") || strings.HasPrefix(id, "edge_upstream_waiting")
		if moved++; after <= before[id] && !gauge {
			t.Errorf("%s: %v, then %v", id, before[id], after)
		}
	}
	if least := 150; moved < least {
		t.Errorf("%d series, want at least %d", moved, least)
	}
}

// Over both sides of HTTP/2: what clients, the proxy and backends do to streams is counted on either side, and a reload
// that takes the upstream away takes no count back.
func TestRegistry_countsStreamsOnBothSides(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	cert, key := ca.Issue(t, nil, "backend.example.org")
	begun := make(chan struct{}, 1)
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/reset":
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/wait":
			begun <- struct{}{}
			<-r.Context().Done()
		}
	}))
	o.EnableHTTP2 = true
	o.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	o.StartTLS()
	defer o.Close()
	listener := secured(t, ca, dir)
	s := start(t, Options{}, "%s%s[upstreams.api]\nprotocol = \"h2\"\nbackends = [{ address = %q }]\n"+
		"tls = { sni = \"backend.example.org\", ca = %q }\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n",
		quiet, listener, o.Listener.Addr().String(), filepath.Join(dir, "ca.pem"))
	c, url := asHTTPS(t, ca, true), secureURL(t, s)
	for range 3 {
		if status, body := getBy(t, c, url+"/"); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	if resp, err := c.Get(url + "/reset"); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	req, _ := http.NewRequestWithContext(ctx, "GET", url+"/wait", nil)
	if resp, err := c.Do(req); err == nil {
		resp.Body.Close()
		t.Error("answered")
	}
	check := func(what string, labels ...string) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool { return counter(s, what, labels...) >= 1 }, what, labels)
	}
	check("edge_listener_h2_resets_total", "web", "client")
	check("edge_listener_h2_resets_total", "web", "proxy")
	check("edge_upstream_h2_resets_total", "api", "proxy")
	check("edge_upstream_h2_resets_total", "api", "backend")
	check("edge_upstream_connections", "api", "shared")
	for _, side := range []string{"edge_listener_h2_streams_total", "edge_upstream_h2_streams_total"} {
		wantCounter(t, s, 5, side)
	}
	o.Config.SetKeepAlivesEnabled(false) // GOAWAY after the next answer, which may have to be asked for twice
	getBy(t, c, url+"/")
	check("edge_upstream_h2_gone_away_total", "api")
	before := counter(s, "edge_upstream_h2_streams_total")
	apply(t, s, "%s%s%s", quiet, listener, all200)
	if n := counter(s, "edge_upstream_h2_streams_total"); n != before || n < 6 {
		t.Errorf("%v streams after the reload, %v before", n, before)
	}
}

func TestRegistry_countsFaultsOfClients(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s%s%s", quiet, secured(t, ca, dir), all200)
	conn, err := tls.Dial("tcp", secureURL(t, s)[len("https://"):], &tls.Config{
		RootCAs: ca.Pool, ServerName: "example.org", NextProtos: []string{"h2"},
	})
	try(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame at all")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_listener_h2_faults_total", "web") == 1
	})
}
