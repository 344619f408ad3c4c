package server

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// trusting is a Server whose clients have to show a certificate of the authority in the file ca.pem of dir, as its
// backend has to.
func trusting(t *testing.T, own *testutil.Authority, dir string, backend string) *Server {
	t.Helper()
	ca := filepath.Join(dir, "ca.pem")
	return start(t, Options{}, "%s%sclient_ca = %q\n[upstreams.api]\nbackends = [{ address = %q }]\n"+
		"tls = { sni = \"backend.example.org\", ca = %q }\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n",
		quiet, secured(t, own, dir), ca, backend, ca)
}

// backendOf is an origin whose certificate is of an authority that may change.
func backendOf(t *testing.T, of func() *testutil.Authority) string {
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	o.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, key := of().Issue(t, nil, "backend.example.org")
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
	}}
	o.StartTLS()
	t.Cleanup(o.Close)
	return o.Listener.Addr().String()
}

// answers tells what a client with a certificate of ca gets, 0 when the handshake fails.
func answers(t *testing.T, s *Server, own, ca *testutil.Authority) int {
	t.Helper()
	pair := clientPair(t, ca, nil)
	c := &http.Client{Timeout: testutil.Patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			RootCAs: own.Pool, ServerName: "example.org",
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
		}}}
	resp, err := c.Get(secureURL(t, s))
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Files of authorities are watched: clients and backends of the new authority are believed, those of the old one are
// not, and connections that stand are not touched.
func TestTrust_followsItsFiles(t *testing.T) {
	t.Parallel()
	own, first, second := testutil.NewAuthority(t), testutil.NewAuthority(t), testutil.NewAuthority(t)
	dir, of := t.TempDir(), make(chan *testutil.Authority, 1)
	now := func() *testutil.Authority {
		a := <-of
		of <- a
		return a
	}
	of <- first
	first.Write(t, filepath.Join(dir, "ca.pem"))
	s := trusting(t, own, dir, backendOf(t, now))
	if status := answers(t, s, own, first); status != 200 {
		t.Fatalf("%d", status)
	}
	if status := answers(t, s, own, second); status != 0 {
		t.Fatalf("a client of another authority: %d", status)
	}
	stands, err := tls.Dial("tcp", secureURL(t, s)[len("https://"):], &tls.Config{
		RootCAs: own.Pool, ServerName: "example.org", Certificates: []tls.Certificate{clientPair(t, first, nil)},
	})
	try(t, err)
	w := testutil.NewWire(t, net.Conn(stands))
	ask := func() {
		t.Helper()
		w.Send("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
		if resp, _ := w.ReadResponse("GET"); resp.StatusCode != 200 {
			t.Errorf("a connection that stands: %d", resp.StatusCode)
		}
	}
	ask()
	<-of
	of <- second
	second.Write(t, filepath.Join(dir, "ca.pem"))
	testutil.Eventually(t, testutil.Patience, func() bool { return answers(t, s, own, second) == 200 })
	if status := answers(t, s, own, first); status != 0 {
		t.Errorf("a client of the old authority: %d", status)
	}
	ask()
	wantCounter(t, s, 1, "edge_certificate_changes_total", "success")
	wantCounter(t, s, 0, "edge_config_reloads_total")
}

func TestTrust_wrongFilesChangeNothing(t *testing.T) {
	log := logged(t, 100)
	own, ca, dir := testutil.NewAuthority(t), testutil.NewAuthority(t), t.TempDir()
	path := filepath.Join(dir, "ca.pem")
	ca.Write(t, path)
	s := trusting(t, own, dir, backendOf(t, func() *testutil.Authority { return ca }))
	s.certificates.trust.Stop() // nobody but this test looks at the files
	before := s.certificates.now.set
	try(t, os.WriteFile(path, []byte("no certificate"), 0o600))
	for again := range 3 {
		if s.trustChanged([]string{path}, again > 0) {
			t.Error("wrong files were taken")
		}
	}
	if found := log.with("what was before stays"); len(found) != 1 || fmt.Sprint(found[0]["files"]) != "["+path+"]" {
		t.Errorf("%v", found)
	}
	if s.certificates.now.set != before || answers(t, s, own, ca) != 200 {
		t.Error("something changed")
	}
	wantCounter(t, s, 1, "edge_certificate_changes_total", "failure")
}
