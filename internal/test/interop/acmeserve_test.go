package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// served is an edge that orders certificates of an authority in this process.
type served struct {
	*testutil.Process
	*pebble
	t             *testing.T
	file, state   string
	plain, secure string // addresses
	keys          string // what startServed puts before more
}

// startServed starts edge with more, which follows the keys of [acme].
func startServed(t *testing.T, o pebbleOptions, format string, args ...any) *served {
	t.Helper()
	s := newServed(t, o)
	s.configure(format, args...)
	s.start()
	return s
}

// newServed starts the authority alone.
func newServed(t *testing.T, o pebbleOptions) *served {
	t.Helper()
	dir := t.TempDir()
	s := &served{t: t, file: filepath.Join(dir, "edge.toml"), state: filepath.Join(dir, "acme"),
		plain: testutil.FreeAddr(t), secure: testutil.FreeAddr(t)}
	if o.http == "" {
		o.http, o.tls = s.plain, s.secure
	}
	s.pebble = newPebble(t, o)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "root.pem"), text, 0o600))
	s.keys = s.keysFor(s.plain, s.secure)
	return s
}

// keysFor returns the keys of a process at these addresses, which is reached at others perhaps.
func (s *served) keysFor(plain, secure string) string {
	return fmt.Sprintf(`
[global]
lockdown = true

[http]
listen = %q
redirect_to_https = true

[https]
listen = %q

[log]
output = []

[acme]
email = "admin@example.org"
ca = "%s/dir?%p"
ca_file = %q
storage = %q
http_port = %d
https_port = %d
`, plain, secure, s.URL, s.pebble, filepath.Join(filepath.Dir(s.file), "root.pem"), s.state, portOf(s.t, plain),
		portOf(s.t, secure))
}

func (s *served) configure(format string, args ...any) {
	s.t.Helper()
	testutil.Must(s.t, os.WriteFile(s.file, fmt.Appendf([]byte(s.keys), format, args...), 0o600))
}

func (s *served) start() {
	s.Process = testutil.StartEdge(s.t, s.file)
}

// presented returns the certificate for a name; nil: there is none.
func (s *served) presented(name string) *x509.Certificate {
	c, err := tls.Dial("tcp", s.secure, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// waitFor waits until there is a certificate of the authority for a name.
func (s *served) waitFor(name string) (leaf *x509.Certificate) {
	s.t.Helper()
	testutil.Eventually(s.t, testutil.Patience, func() bool {
		leaf = s.presented(name)
		return leaf != nil
	})
	if !strings.Contains(leaf.Issuer.CommonName, "Pebble") || leaf.VerifyHostname(name) != nil {
		s.t.Errorf("the certificate for %s is of %s for %v", name, leaf.Issuer, leaf.DNSNames)
	}
	return leaf
}

func (s *served) ordersMade() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.orders)
}

const (
	twoRoutes = `
[[routes]]
pattern = "a.shop.test/*"
dest = "127.0.0.1:1"

[[routes]]
pattern = "b.shop.test/*"
dest = "127.0.0.1:1"
`
	thirdRoute = `
[[routes]]
pattern = "c.shop.test/*"
dest = "127.0.0.1:1"
`
)

// A host of a route has a certificate some moments after the start, by either proof, past the redirect to https. The
// next start has it at once, and orders none. A reload adds a host.
func TestServe_ordersCertificates(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		t.Run(kind, func(t *testing.T) {
			s := startServed(t, pebbleOptions{}, "challenge = %q\n%s", kind, twoRoutes)
			a := s.waitFor("a.shop.test")
			s.waitFor("b.shop.test")
			s.WaitLine("certificate ordered.*a.shop.test")
			if n := s.ordersMade(); n != 2 {
				t.Errorf("%d orders", n)
			}
			if s.presented("c.shop.test") != nil {
				t.Error("there is a certificate for a name that nobody wants")
			}
			s.configure("challenge = %q\n%s%s", kind, twoRoutes, thirdRoute)
			s.Signal(syscall.SIGHUP)
			s.waitFor("c.shop.test")
			if code := s.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
			s.start()
			s.WaitPort(s.secure)
			if now := s.presented("a.shop.test"); now == nil || !now.Equal(a) {
				t.Error("another certificate after a restart")
			}
			if n := s.ordersMade(); n != 3 {
				t.Errorf("%d orders", n)
			}
		})
	}
}

// One certificate has the names of an entry of [[certificates]].
func TestServe_namesInOneCertificate(t *testing.T) {
	t.Parallel()
	s := startServed(t, pebbleOptions{}, `
[[certificates]]
cert = "acme"
hosts = ["a.shop.test", "B.shop.test"]
%s`, twoRoutes)
	leaf := s.waitFor("b.shop.test")
	if s.waitFor("a.shop.test"); len(leaf.DNSNames) != 2 || s.ordersMade() != 1 {
		t.Errorf("%v, %d orders", leaf.DNSNames, s.ordersMade())
	}
}

// A path of a proof that edge does not know goes to the routes; the redirect is for all others.
func TestServe_foreignTokens(t *testing.T) {
	t.Parallel()
	s := startServed(t, pebbleOptions{}, "%s", twoRoutes)
	s.waitFor("a.shop.test")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Get("http://" + s.plain + "/.well-known/acme-challenge/unknown")
	testutil.Must(t, err)
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); answer.StatusCode != 308 || err != nil {
		t.Errorf("%d, %v", answer.StatusCode, err)
	}
	if left := s.left(); len(left) > 0 {
		t.Errorf("tokens are left: %v", left)
	}
}

// A folder of certmagic, and so of Caddy, is used without an order, and certmagic uses ours: pairs, accounts and all.
func TestServe_folderOfCaddy(t *testing.T) {
	t.Parallel()
	s := newServed(t, pebbleOptions{})
	theirs := s.byCertmagic("a.shop.test")
	if n := s.ordersMade(); n != 1 {
		t.Fatalf("certmagic made %d orders", n)
	}
	s.configure("%s", twoRoutes)
	s.start()
	b := s.waitFor("b.shop.test")
	if a := s.presented("a.shop.test"); a == nil || !a.Equal(theirs) {
		t.Error("the certificate of certmagic is not presented")
	}
	s.Stop()
	if n := s.ordersMade(); n != 2 || s.accounts != 1 {
		t.Errorf("%d orders, %d accounts", n, s.accounts)
	}
	if ours := s.byCertmagic("b.shop.test"); !ours.Equal(b) || s.ordersMade() != 2 {
		t.Errorf("certmagic does not use ours: %d orders", s.ordersMade())
	}
}

// byCertmagic has certmagic get a certificate in the folder of s.
func (s *served) byCertmagic(name string) *x509.Certificate {
	s.t.Helper()
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{Logger: zap.NewNop(),
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil }})
	defer cache.Stop()
	config = certmagic.New(cache, certmagic.Config{Logger: zap.NewNop(),
		OCSP: certmagic.OCSPConfig{DisableStapling: true}, Storage: &certmagic.FileStorage{Path: s.state}})
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
		CA: fmt.Sprintf("%s/dir?%p", s.URL, s), Email: "admin@example.org", TrustedRoots: roots, Agreed: true,
		Logger:     zap.NewNop(),
		ListenHost: strings.Split(s.plain, ":")[0], AltHTTPPort: s.httpPort, DisableTLSALPNChallenge: true})}
	testutil.Must(s.t, config.ManageSync(s.t.Context(), []string{name}))
	found, err := config.GetCertificateWithContext(s.t.Context(), &tls.ClientHelloInfo{ServerName: name,
		SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}})
	testutil.Must(s.t, err)
	return found.Leaf
}
