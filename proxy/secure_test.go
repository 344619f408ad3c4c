package proxy_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Over a real connection: what the origin, the log and the client hear of TLS. A client may have written
// any text into its certificate.
func TestSecure_clientCertificate(t *testing.T) {
	testutil.CheckLeaks(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Forwarded-Proto", "X-Subject", "X-Facts", "X-Verified", "X-Injected"} {
			fmt.Fprintf(w, "%s=%q\n", name, r.Header.Values(name))
		}
	}))
	defer origin.Close()
	e := newEngine(t, engine.Options{Reactors: 1})
	log := &keptLog{}
	service := proxy.New(e, newSnapshot(t, []proxy.Route{{
		To: to(e, origin.Listener.Addr().String()),
		Filters: []*proxy.Filter{setFields(map[string]string{
			"X-Subject": "{client_cert_subject}", "X-Verified": "{client_cert_verified}",
			"X-Facts": "{client_cert_serial} {client_cert_sans} {client_cert_sha256}",
		}, nil)},
	}})).Service(&proxy.Listener{
		HSTS: "max-age=300", StrictSNI: true, RedirectToHTTPS: 443, Log: []proxy.AccessLog{log},
	})
	ca := testutil.NewAuthority(t)
	client := pairOf(t, ca, func(c *x509.Certificate) {
		c.SerialNumber, c.Subject.CommonName = big.NewInt(0x1f), "a\r\nX-Injected: 1"
	}, "a.test", "b.test")
	accept := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{}).Server(tlsconn.ServerOptions{Config: &tls.Config{
		Certificates: []tls.Certificate{pairOf(t, ca, nil, "edge.test")}, ClientAuth: tls.RequestClientCert,
		MinVersion: tls.VersionTLS13,
	}}, session.NewServer(e, service, session.ServerOptions{}).Accept)
	addr := listen(t, e, accept)
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: ca.Pool, ServerName: "edge.test", Certificates: []tls.Certificate{client},
		CurvePreferences: []tls.CurveID{tls.X25519},
	}}
	defer transport.CloseIdleConnections()
	ask := func(host string) (*http.Response, string) {
		req, _ := http.NewRequest("GET", "https://"+addr+"/x", nil)
		req.Host = host
		req.Header.Set("X-Verified", "forged")
		return testutil.Do(t, &http.Client{Transport: transport}, req)
	}
	resp, body := ask("edge.test")
	sum := sha256.Sum256(client.Certificate[0])
	want := fmt.Sprintf("X-Forwarded-Proto=[\"https\"]\nX-Subject=[\"CN=a%%0D%%0AX-Injected: 1\"]\n"+
		"X-Facts=[\"1f DNS:a.test,DNS:b.test %s\"]\nX-Verified=[]\nX-Injected=[]\n", hex.EncodeToString(sum[:]))
	if body != want || resp.Header.Get("Strict-Transport-Security") != "max-age=300" {
		t.Fatalf("%v\n%s\n%s", resp.Header, body, want)
	}
	if r := log.want(t, 1, 200, ""); r.TLSVersion != "TLS 1.3" || r.TLSGroup != "X25519" || r.SNI != "edge.test" ||
		r.ClientCert != "CN=a\r\nX-Injected: 1" {
		t.Fatalf("%+v", r)
	}
	if resp, _ := ask("other.test"); resp.StatusCode != 421 {
		t.Fatal(resp.Status)
	}
}
