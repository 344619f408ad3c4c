package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// keyed is what the test of a key works with.
type keyed struct {
	*testing.T
	server *Server
	ca     *testutil.Authority
	addr   string
}

// dial makes a handshake for example.org and reads what may come after it: the alert of TLS 1.3.
func (k *keyed) dial(change func(o *tls.Config)) (s tls.ConnectionState, err error) {
	k.Helper()
	o := &tls.Config{RootCAs: k.ca.Pool, ServerName: "example.org"}
	if change != nil {
		change(o)
	}
	conn, err := tls.Dial("tcp", k.addr, o)
	if err != nil {
		return s, err
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(testutil.Patience))
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState(), err
}

func (k *keyed) mustDial(change func(o *tls.Config)) tls.ConnectionState {
	k.Helper()
	s, err := k.dial(change)
	testutil.Must(k, err)
	return s
}

func (k *keyed) mustFail(change func(o *tls.Config)) {
	k.Helper()
	if _, err := k.dial(change); err == nil {
		k.Error("the handshake did not fail")
	}
}

// hsts returns what Strict-Transport-Security says.
func (k *keyed) hsts() string {
	k.Helper()
	resp, _ := testutil.Get(k, asHTTPS(k.T, k.ca, true), "https://"+k.addr)
	return resp.Header.Get("Strict-Transport-Security")
}

// resumes tells whether the second of two connections resumes the session of the first.
func (k *keyed) resumes() bool {
	k.Helper()
	cache := tls.NewLRUClientSessionCache(1)
	with := func(o *tls.Config) { o.ClientSessionCache = cache }
	k.mustDial(with)
	return k.mustDial(with).DidResume
}

// sharedTLSKeys are the keys of [tls] that a listener has too, each with lines and what they have to bring about. CA
// stands for the file of an authority.
var sharedTLSKeys = []struct {
	key, lines string
	check      func(k *keyed)
}{
	{"min_version", `min_version = "1.3"`, func(k *keyed) {
		k.mustDial(nil)
		k.mustFail(func(o *tls.Config) { o.MaxVersion = tls.VersionTLS12 })
	}},
	{"curves", `curves = ["P-384"]`, func(k *keyed) {
		wantEqual(k, k.mustDial(nil).CurveID, tls.CurveP384)
	}},
	{"ciphers", `ciphers = ["ECDHE-ECDSA-CHACHA20-POLY1305"]`, func(k *keyed) {
		got := k.mustDial(func(o *tls.Config) { o.MaxVersion = tls.VersionTLS12 }).CipherSuite
		wantEqual(k, got, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "%s", tls.CipherSuiteName(got))
	}},
	{"client_auth", "client_auth = \"request\"\nclient_ca = CA", func(k *keyed) {
		asked := false
		k.mustDial(func(o *tls.Config) {
			o.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return &tls.Certificate{}, nil
			}
		})
		if !asked {
			k.Error("the client was not asked for a certificate")
		}
	}},
	{"client_ca", "client_ca = CA", func(k *keyed) {
		k.mustFail(nil)
		k.mustDial(func(o *tls.Config) { o.Certificates = []tls.Certificate{clientPair(k.T, k.ca, nil)} })
	}},
	{"strict_sni", "strict_sni = true", func(k *keyed) {
		for host, want := range map[string]int{"example.org": 200, "other.example.org": 421} {
			resp, _ := askBy(k.T, asHTTPS(k.T, k.ca, true), "GET", "https://"+k.addr, "Host: "+host)
			wantEqual(k, resp.StatusCode, want, "%s", host)
		}
	}},
	{"session_tickets", "session_tickets = false", func(k *keyed) {
		if k.resumes() {
			k.Error("a session was resumed")
		}
	}},
	{"hsts.max_age", `hsts.max_age = "2h"`, func(k *keyed) {
		wantEqual(k, k.hsts(), "max-age=7200")
	}},
	{"hsts.subdomains", "hsts = { max_age = 60, subdomains = true }", func(k *keyed) {
		if got := k.hsts(); got != "max-age=60; includeSubDomains" {
			k.Errorf("%q", got)
		}
	}},
	{"hsts.preload", "hsts = { max_age = 60, preload = true }", func(k *keyed) {
		if got := k.hsts(); got != "max-age=60; preload" {
			k.Errorf("%q", got)
		}
	}},
}

// withKeys runs a Server with lines of its listener and lines after that section.
func withKeys(t *testing.T, listener, rest string, check func(k *keyed)) {
	t.Helper()
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	path := filepath.Join(dir, "ca.pem")
	ca.Write(t, path)
	text := fmt.Sprintf("%s%s%s\n%s\n%s", quiet, secured(t, ca, dir), listener, rest, all200)
	s := start(t, Options{}, "%s", strings.ReplaceAll(text, "= CA", fmt.Sprintf("= %q", path)))
	check(&keyed{t, s, ca, urlOf(t, s, "web")[len("http://"):]})
}

// Every key of [tls] has its effect, there and in a listener. Without it, nothing of that happens: the tests around
// this one would fail.
func TestTLSKeys_haveEffect(t *testing.T) {
	for _, c := range sharedTLSKeys {
		t.Run("[tls] "+c.key, func(t *testing.T) { withKeys(t, "", "[tls]\n"+c.lines, c.check) })
		t.Run("[[listeners]] "+c.key, func(t *testing.T) { withKeys(t, c.lines, "", c.check) })
	}
	t.Run("none", func(t *testing.T) {
		withKeys(t, "", "", func(k *keyed) {
			k.mustDial(func(o *tls.Config) { o.MaxVersion = tls.VersionTLS12 })
			if got := k.mustDial(nil).CurveID; got != tls.X25519MLKEM768 || !k.resumes() || k.hsts() != "" {
				k.Errorf("%v, HSTS %q", got, k.hsts())
			}
		})
	})
	t.Run("a listener against [tls]", func(t *testing.T) {
		withKeys(t, `curves = ["P-256"]`, "[tls]\ncurves = [\"P-521\"]\n", func(k *keyed) {
			wantEqual(k, k.mustDial(nil).CurveID, tls.CurveP256)
		})
	})
}

// The keys of [tls] that are about the process.
func TestTLSKeys_ofTheProcessHaveEffect(t *testing.T) {
	t.Parallel()
	silent := func(k *keyed) *testutil.Wire {
		w := testutil.Dial(k, k.addr)
		w.Send("\x16") // sockets that listen wait for it
		return w
	}
	t.Run("handshake_timeout", func(t *testing.T) {
		withKeys(t, "", "[tls]\nhandshake_timeout = \"100ms\"", func(k *keyed) {
			silent(k).ReadAll()
			wantCounter(k, k.server, 1, "edge_tls_handshakes_failed_total", "timeout")
		})
	})
	t.Run("handshakes", func(t *testing.T) {
		withKeys(t, "", "[tls]\nhandshakes = 2", func(k *keyed) { // one for each event loop
			for range 3 {
				silent(k)
			}
			testutil.Eventually(k, testutil.Patience, func() bool {
				return counter(k.server, "edge_tls_handshakes_failed_total", "crowded") >= 1
			})
			k.mustDial(nil)
		})
	})
	t.Run("ticket_rotation", func(t *testing.T) {
		ca := testutil.NewAuthority(t)
		cfg := parse(t, quiet+secured(t, ca, t.TempDir())+all200+"[tls]\nticket_rotation = \"90m\"\n")
		wantEqual(t, cfg.TLS.TicketRotation, 90*time.Minute)
		cfg.TLS.TicketRotation = time.Millisecond
		s, err := New(cfg, Options{})
		testutil.Must(t, err)
		t.Cleanup(func() { _ = s.Stop() })
		testutil.Eventually(t, testutil.Patience, func() bool {
			return counter(s, "edge_tls_ticket_rotations_total") > 2
		})
	})
}

// Each key of [tls] has a test.
func TestTLSKeys_areAllTested(t *testing.T) {
	tested := []string{"handshake_timeout", "handshakes", "ticket_rotation"}
	for _, c := range sharedTLSKeys {
		tested = append(tested, c.key)
	}
	keys := 0
	for _, path := range config.Keys() {
		key, of := strings.CutPrefix(path, "tls.")
		if !of {
			continue
		}
		if keys++; !slices.Contains(tested, key) {
			t.Errorf("the key %s has no test", key)
		}
	}
	if keys != len(tested) {
		t.Errorf("%d keys, %d tested", keys, len(tested))
	}
}

// The keys of [[certificates]]: which one a client gets, and what is stapled to it.
func TestCertificateKeys_haveEffect(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl")
	}
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	testutil.WritePair(t, filepath.Join(dir, "ca"), ca.Cert, ca.Key)
	one := ca.IssueTo(t, dir, "one", nil, "one.example.org")
	ca.IssueTo(t, dir, "two", nil, "two.example.org")
	staple(t, dir, "one", one)
	s := start(t, Options{}, "%s[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[certificates]]\ncert = %[2]q\nkey = %[3]q\nocsp = %[4]q\n"+
		"[[certificates]]\nhosts = [\"*.forced.example.org\"]\ncert = %[5]q\n%[6]s", quiet,
		filepath.Join(dir, "one.chain"), filepath.Join(dir, "one.key"), filepath.Join(dir, "one.ocsp"),
		both(t, dir, "two"), all200)
	k := &keyed{t, s, ca, urlOf(t, s, "web")[len("http://"):]}
	for name, want := range map[string]string{
		"one.example.org": "one.example.org", "two.example.org": "one.example.org",
		"a.forced.example.org": "two.example.org", "": "one.example.org",
	} {
		got := k.mustDial(func(o *tls.Config) { o.ServerName, o.InsecureSkipVerify = name, true })
		wantEqual(t, got.PeerCertificates[0].DNSNames[0], want, "%q gets", name)
		if stapled := len(got.OCSPResponse) > 0; stapled != (want == "one.example.org") {
			t.Errorf("%q: stapled is %v", name, stapled)
		}
	}
}

// both writes certificate and key of NAME into one file, which needs no key of its own.
func both(t *testing.T, dir, name string) (path string) {
	t.Helper()
	var text []byte
	for _, part := range []string{".pem", ".key"} {
		one, err := os.ReadFile(filepath.Join(dir, name+part))
		testutil.Must(t, err)
		text = append(text, one...)
	}
	path = filepath.Join(dir, name+".both")
	testutil.Must(t, os.WriteFile(path, text, 0o600))
	return path
}

// staple writes NAME.ocsp, a good response about NAME.pem, and NAME.chain, which has the authority it is checked by.
func staple(t *testing.T, dir, name string, cert *x509.Certificate) {
	t.Helper()
	end := cert.NotAfter.UTC().Format("060102150405Z")
	index := fmt.Sprintf("V\t%s\t\t%X\tunknown\t/CN=x\n", end, cert.SerialNumber)
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "index"), []byte(index), 0o600))
	script := fmt.Sprintf("openssl ocsp -issuer ca.pem -cert %[1]s.pem -reqout req -no_nonce && "+
		"openssl ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -reqin req -ndays 7 -respout %[1]s.ocsp && "+
		"cat %[1]s.pem ca.pem > %[1]s.chain", name)
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// The keys of HTTP/2: what the client is told of them, and when the connection ends.
func TestH2Keys_haveEffect(t *testing.T) {
	t.Parallel()
	// frames reads those of a new connection until one satisfies until.
	frames := func(k *keyed, until func(f http2.Frame) bool) {
		k.Helper()
		conn, err := tls.Dial("tcp", k.addr, &tls.Config{
			RootCAs: k.ca.Pool, ServerName: "example.org", NextProtos: []string{"h2"},
		})
		testutil.Must(k, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testutil.Patience))
		fmt.Fprint(conn, http2.ClientPreface)
		f := http2.NewFramer(conn, conn)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			testutil.Must(k, err)
			if until(frame) {
				return
			}
		}
	}
	goAway := func(k *keyed) {
		k.Helper()
		began := time.Now()
		frames(k, func(f http2.Frame) bool {
			g, ok := f.(*http2.GoAwayFrame)
			return ok && g.ErrCode == http2.ErrCodeNo
		})
		if took := time.Since(began); took < 800*time.Millisecond {
			k.Errorf("GOAWAY after %v", took)
		}
	}
	t.Run("h2.max_streams", func(t *testing.T) {
		withKeys(t, "h2 = { max_streams = 7 }", "", func(k *keyed) {
			frames(k, func(f http2.Frame) bool {
				s, ok := f.(*http2.SettingsFrame)
				if !ok || s.IsAck() {
					return false
				}
				if n, _ := s.Value(http2.SettingMaxConcurrentStreams); n != 7 {
					k.Errorf("%d streams are offered", n)
				}
				return true
			})
		})
	})
	t.Run("h2.idle_timeout", func(t *testing.T) { withKeys(t, "h2 = { idle_timeout = \"1s\" }", "", goAway) })
	t.Run("limits.max_age", func(t *testing.T) { withKeys(t, "limits = { max_age = \"1s\" }", "", goAway) })
}
