package server

import (
	"fmt"
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
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 502 {
				t.Error(resp.Status)
			}
			lines := log.with("TLS handshake with a backend failed")
			if len(lines) == 0 || !strings.Contains(fmt.Sprint(lines[0]["error"]), c.want) ||
				lines[0]["upstream"] != "api" || lines[0]["backend"] != c.backend {
				t.Error(lines)
			}
		})
	}
}
