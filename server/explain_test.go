package server

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/observe"
)

// lines is an event log that can be read while it is written.
type lines struct{ testutil.Output }

// with returns the lines whose message holds text.
func (l *lines) with(text string) (found []map[string]any) {
	for line := range strings.Lines(l.String()) {
		m := make(map[string]any)
		if json.Unmarshal([]byte(line), &m) == nil && strings.Contains(fmt.Sprint(m["msg"]), text) {
			found = append(found, m)
		}
	}
	return found
}

// logged makes the event log one that the test reads, until it ends.
func logged(t *testing.T, perSecond int) *lines {
	l := &lines{}
	h := slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})
	testutil.EventLog(t, observe.NewLimited(h, perSecond))
	return l
}

// clientPair is a certificate for clients, of ca.
func clientPair(t *testing.T, ca *testutil.Authority, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	cert, key := ca.Issue(t, change, "client")
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// Each way in which a client fails a handshake is said in words that help.
func TestRefusals_sayWhatHappened(t *testing.T) {
	ca, other, dir := testutil.NewAuthority(t), testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	listener := secured(t, ca, dir) + "curves = [\"X25519\"]\n"
	withCA := fmt.Sprintf("client_ca = %q\n", filepath.Join(dir, "ca.pem"))
	past := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	forServers := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	for _, c := range []struct {
		name, keys string
		client     func(*tls.Config)
		what, try  string
		noName     bool // too early to know what was asked for
	}{
		{name: "unknown authority", client: func(c *tls.Config) { c.RootCAs = other.Pool },
			what: "the client does not", try: "certificate"},
		{name: "another name", client: func(c *tls.Config) { c.ServerName = "example.com" },
			what: "the client does not accept the certificate", try: "for the name"},
		{name: "an old version", client: func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}, what: "share no version of TLS", try: "min_version", noName: true},
		{name: "another cipher suite", client: func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, what: "share no cipher suite", try: "ciphers"},
		{name: "another key exchange", client: func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.CurveP521}
		}, what: "share no key exchange", try: "curves", noName: true},
		{name: "another protocol", client: func(c *tls.Config) { c.NextProtos = []string{"spdy/3"} },
			what: "share no version of HTTP", try: "protocols", noName: true},
		{name: "no certificate", keys: withCA, what: "the client showed no certificate", try: "client_auth"},
		{name: "a certificate of others", keys: withCA, client: func(c *tls.Config) {
			pair := clientPair(t, other, nil)
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}, what: "of another authority", try: "client_ca"},
		{name: "an old certificate", keys: withCA, client: func(c *tls.Config) {
			c.Certificates = []tls.Certificate{clientPair(t, ca, past)}
		}, what: "the client's certificate is out of date", try: "clocks"},
		{name: "a certificate of a server", keys: withCA, client: func(c *tls.Config) {
			c.Certificates = []tls.Certificate{clientPair(t, ca, forServers)}
		}, what: "not valid for a client", try: "clientAuth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := logged(t, 100)
			s := start(t, Options{}, "%s%s%s%s", quiet, listener, c.keys, all200)
			o := &tls.Config{RootCAs: ca.Pool, ServerName: "example.org"}
			if c.client != nil {
				c.client(o)
			}
			conn, err := tls.Dial("tcp", urlOf(t, s, "web")[len("http://"):], o)
			if err == nil { // TLS 1.3: the client is done before the server has looked at its certificate
				defer conn.Close()
			}
			var found []map[string]any
			testutil.Eventually(t, testutil.Patience, func() bool {
				found = log.with("TLS handshake failed")
				return len(found) > 0
			})
			line := found[0]
			if what := fmt.Sprint(line["msg"]); !strings.Contains(what, c.what) {
				t.Errorf("%q, want %q in it", what, c.what)
			}
			if try := fmt.Sprint(line["try"]); !strings.Contains(try, c.try) {
				t.Errorf("try %q, want %q in it", try, c.try)
			}
			client := fmt.Sprint(line["client"])
			if _, _, err := net.SplitHostPort(client); err != nil || line["listener"] != "web" || line["error"] == nil {
				t.Errorf("%v", line)
			}
			if sni := line["sni"]; sni != o.ServerName && !c.noName {
				t.Errorf("sni %v, want %s", sni, o.ServerName)
			}
			wantCounter(t, s, 1, "edge_tls_handshakes_failed_total", "refused")
		})
	}
}

// Before a name has its ordered certificate the failure is not the client's.
func TestRefusals_noCertificateYet(t *testing.T) {
	log := logged(t, 100)
	s := start(t, Options{}, "%s\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\ncert = \"acme\"\n[acme]\n"+
		"storage = %q\nca = \"https://127.0.0.1:1/\"\nhosts = \"example.org\"\n%s", quiet, t.TempDir(), all200)
	_, err := tls.Dial("tcp", urlOf(t, s, "web")[len("http://"):], &tls.Config{ServerName: "example.org"})
	if err == nil {
		t.Fatal("the handshake is complete")
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		return len(log.with("TLS handshake failed: there is no certificate for the name")) > 0
	})
}

// A client of OpenSSL that does not accept the certificate sends its alert in the clear, where TLS 1.3 has keys.
func TestRefusals_ofOpenSSL(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	log := logged(t, 100)
	s := start(t, Options{}, "%s%s%s", quiet, secured(t, ca, dir), all200)
	conn, err := net.Dial("tcp", urlOf(t, s, "web")[len("http://"):])
	try(t, err)
	defer conn.Close()
	o := &tls.Config{RootCAs: ca.Pool, ServerName: "example.org"}
	if err := tls.Client(&alerting{conn}, o).Handshake(); err == nil {
		t.Fatal("the handshake is complete")
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		found := log.with("mostly the client does not accept the certificate")
		return len(found) > 0 && strings.Contains(fmt.Sprint(found[0]["try"]), "trusts")
	})
}

// alerting sends an alert in the clear in place of what the server is to be answered.
type alerting struct{ net.Conn }

// Read waits for the server. RFC 8446 §6: 48 is unknown_ca.
func (c *alerting) Read(p []byte) (int, error) {
	if _, err := c.Conn.Read(p); err != nil {
		return 0, err
	}
	_, err := c.Write([]byte{21, 3, 3, 0, 2, 2, 48})
	return 0, cmp.Or(err, io.EOF)
}

// Each failure is told to a person at a terminal. Those that are not a backend's have a hint; for the others there is a
// line about the backend.
func TestExplainer_hints(t *testing.T) {
	for _, c := range []struct {
		reason, backend, hint string
		status                int
	}{
		{"backend:connect", "localhost:1", "", 502},
		{"edge:loop", "", "leads back", 508},
		{"backend:truncated", "a:1", "", 200},
		{"client:timeout", "a:1", "60 s", 499},
		{"client:request_body", "a:1", "too slowly", 408},
		{"edge:internal", "", "", 500},
		{"client:gone", "a:1", "none", 499},
		{"", "a:1", "none", 500},
	} {
		log := logged(t, 100)
		explainer{}.Append(&observe.Record{Reason: c.reason, Backend: c.backend, Status: c.status})
		lines := log.with("request failed")
		if c.hint == "none" {
			if len(lines) > 0 {
				t.Errorf("%s: %v", c.reason, lines)
			}
			continue
		}
		if len(lines) != 1 {
			t.Fatalf("%s: %v", c.reason, lines)
		}
		hint, found := lines[0]["hint"].(string)
		if !strings.Contains(hint, c.hint) || found != (c.hint != "") {
			t.Errorf("%s of %s: hint %q, want %q", c.reason, c.backend, hint, c.hint)
		}
	}
}

func TestRefusals_ofWhoSpeaksNoTLS(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	const perSecond = 2
	log, began := logged(t, perSecond), time.Now()
	s := start(t, Options{}, "%s%s%s", quiet, secured(t, ca, dir), all200)
	addr := urlOf(t, s, "web")[len("http://"):]
	const many = 20
	for range many {
		w := testutil.Dial(t, addr)
		w.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		w.Want("HTTP/1.1 400 ")
		w.Close()
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_tls_plain_total", "refused") == many
	})
	plain := log.with("spoke plain HTTP")
	if most := perSecond * (2 + int(time.Since(began)/time.Second)); len(plain) == 0 || len(plain) > most {
		t.Errorf("%d lines, at most %d are to be there", len(plain), most)
	} else if try := fmt.Sprint(plain[0]["try"]); !strings.Contains(try, "https://") {
		t.Errorf("try %q", try)
	}
	testutil.Dial(t, addr).Close()
	testutil.Eventually(t, testutil.Patience, func() bool {
		found := log.with("the client left")
		return len(found) > 0 && found[0]["level"] == "DEBUG"
	})
}

func TestRefusals_ofWhoIsSilent(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	log := logged(t, 100)
	s := start(t, Options{}, "%s%s[tls]\nhandshake_timeout = \"100ms\"\n%s", quiet, secured(t, ca, dir), all200)
	testutil.Dial(t, urlOf(t, s, "web")[len("http://"):]).ReadAll()
	testutil.Eventually(t, testutil.Patience, func() bool { return len(log.with("too slow or silent")) > 0 })
}
