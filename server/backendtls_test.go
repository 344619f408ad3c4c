package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// What is wrong with the certificate of a backend is not for clients to know. The error log says it.
func TestRefusals_sayWhatIsWrongWithABackend(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	testutil.NewAuthority(t).Write(t, filepath.Join(dir, "other.pem"))
	secure := backendOf(t, func() *testutil.Authority { return ca })
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(plain.Close)
	for _, c := range []struct{ name, backend, tls, want string }{
		{"another name", secure, `sni = "other.example.org", ca = "%s/ca.pem"`, "not other.example.org"},
		{"another authority", secure, `sni = "backend.example.org", ca = "%s/other.pem"`, "unknown authority"},
		{"no TLS", plain.Listener.Addr().String(), `ca = "%s/ca.pem"`, "does not look like a TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := logged(t, 100)
			options := strings.ReplaceAll(c.tls, "%s", dir)
			s := start(t, Options{}, "%shttp.listen = \"127.0.0.1:0\"\n[upstreams.api]\n"+
				"backends = [{ address = %q }]\n"+
				"tls = { %s }\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n", quiet, c.backend, options)
			resp, err := http.Get("http://" + s.Addresses()[0].Addr.String())
			try(t, err)
			resp.Body.Close()
			if resp.StatusCode != 502 {
				t.Error(resp.Status)
			}
			lines := log.with("a backend fails")
			if len(lines) == 0 || !strings.Contains(fmt.Sprint(lines[0]["error"]), c.want) ||
				lines[0]["upstream"] != "api" || lines[0]["backend"] != c.backend {
				t.Error(lines)
			}
		})
	}
}

// With TLS 1.3 a backend says after the handshake that it wants a certificate.
func TestRefusals_sayThatABackendWantsACertificate(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	cert, key := ca.Issue(t, nil, "backend.example.org")
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	o.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	o.TLS = &tls.Config{
		ClientAuth:   tls.RequireAnyClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
	}
	o.StartTLS()
	t.Cleanup(o.Close)
	for _, protocol := range []string{"h1", "auto"} {
		log := logged(t, 100)
		s := start(t, Options{}, "%shttp.listen = \"127.0.0.1:0\"\n[upstreams.api]\n"+
			"backends = [{ address = %q }]\nprotocol = %q\n"+
			"tls = { sni = \"backend.example.org\", ca = %q }\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n",
			quiet, o.Listener.Addr().String(), protocol, filepath.Join(dir, "ca.pem"))
		// What the backend says is lost where its end is heard of before that was read.
		testutil.Eventually(t, testutil.Patience, func() bool {
			resp, err := http.Get("http://" + s.Addresses()[0].Addr.String())
			try(t, err)
			resp.Body.Close()
			if resp.StatusCode != 502 {
				t.Fatal(protocol, resp.Status)
			}
			lines := log.with("a backend fails")
			return len(lines) > 0 && lines[0]["upstream"] == "api" &&
				strings.Contains(fmt.Sprint(lines[len(lines)-1]["error"]), "certificate required")
		}, "a line about the certificate")
	}
}
