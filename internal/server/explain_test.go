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
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
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
	testutil.Must(t, err)
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
	waitCounter(t, s, many, "edge_tls_plain_total", "refused")
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

// statusOf asks s for a path and returns the status and the Proxy-Status of the answer.
func statusOf(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	resp, _ := testutil.Get(t, http.DefaultClient, "http://"+s.Addresses()[0].Addr.String()+path)
	return resp.StatusCode, resp.Header.Get("Proxy-Status")
}

// onlyRecord waits until an access log has a record, and decodes it into r. It is to be the only one.
func onlyRecord(t *testing.T, path string, r any) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		text, _ := os.ReadFile(path)
		return json.Unmarshal(text, r) == nil
	}, "a line of the access log")
}

// speaking returns the address of a backend that answers each connection with a text.
func speaking(t *testing.T, text string) string {
	t.Helper()
	return testutil.Serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}).Addr().String()
}

// Each way in which a backend fails is told apart: for the client, in the access log, and in a line that says what to
// look at.
func TestTrouble_isNamed(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "dead.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	testutil.Must(t, err)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	plain := httptest.NewServer(ok)
	t.Cleanup(plain.Close)
	h2Only := httptest.NewUnstartedServer(ok)
	h2Only.Config.Protocols = new(http.Protocols)
	h2Only.Config.Protocols.SetUnencryptedHTTP2(true)
	h2Only.Start()
	t.Cleanup(h2Only.Close)
	secure := httptest.NewUnstartedServer(ok)
	secure.Config.ErrorLog = nil
	secure.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	settings := "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64" // what a gRPC server begins with
	window := "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\xff\xff\xff\xff"   // a window of more than 2^31-1
	for _, c := range []struct {
		name, dest, token, reason, what, try string
		status                               int
	}{
		{"refused", testutil.FreeAddr(t), "connection_refused", "backend:connect", "refused", "listen there", 502},
		{"no socket", "unix:" + filepath.Join(dir, "none.sock"), "destination_unavailable", "backend:no_socket",
			"does not exist", "the path", 502},
		{"dead socket", "unix:" + socket, "connection_refused", "backend:connect", "refused", "nobody listens", 502},
		{"gRPC", speaking(t, settings), "http_protocol_error", "backend:speaks_http2", "HTTP/2", "grpc = true", 502},
		{"not gRPC", "h2c://" + plain.Listener.Addr().String(), "http_protocol_error", "backend:speaks_http1", "HTTP/1",
			"no grpc", 502},
		{"TLS", speaking(t, "\x15\x03\x01\x00\x02\x02\x46"), "http_protocol_error", "backend:speaks_tls", "TLS",
			"https://", 502},
		{"malformed", speaking(t, "SSH-2.0-OpenSSH_9.2\r\n"), "http_protocol_error", "backend:malformed", "malformed",
			"does it speak HTTP", 502},
		{"malformed HTTP/1", speaking(t, "HTTP/1.1 2x0 OK\r\n\r\n"), "http_protocol_error", "backend:malformed",
			"malformed", "does it speak HTTP", 502},
		{"malformed HTTP/2", "h2c://" + speaking(t, window), "http_protocol_error", "backend:malformed",
			"malformed", "does it speak HTTP", 502},
		{"lost", speaking(t, ""), "connection_terminated", "backend:lost", "closed", "without an answer", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, access := logged(t, 100), filepath.Join(t.TempDir(), "access.log")
			s := start(t, Options{}, "log.output = %q\nhttp.listen = \"127.0.0.1:0\"\n"+
				"upstream_defaults.retry.attempts = 0\n[[routes]]\npattern = \"/*\"\ndest = %q\n", access, c.dest)
			status, proxyStatus := statusOf(t, s, "/")
			var record struct{ Reason string }
			onlyRecord(t, access, &record)
			if status != c.status || record.Reason != c.reason || !strings.Contains(proxyStatus, "error="+c.token) {
				t.Errorf("%d, %s, %s", status, proxyStatus, record.Reason)
			}
			lines := log.with("a backend fails")
			if len(lines) != 1 {
				t.Fatal(lines)
			}
			l := lines[0]
			if l["reason"] != c.reason || l["failures"] != 1.0 || l["since"] == nil || l["level"] != "WARN" ||
				!strings.Contains(fmt.Sprint(l["what"]), c.what) || !strings.Contains(fmt.Sprint(l["try"]), c.try) ||
				!strings.Contains(c.dest, fmt.Sprint(l["backend"])) || l["error"] == "" {
				t.Error(l)
			}
		})
	}
}

// A backend that fails is named though a retry hides it from the client, and so is its return.
func TestTrouble_isToldThoughARetryHidesIt(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	good := httptest.NewServer(ok)
	t.Cleanup(good.Close)
	address := testutil.FreeAddr(t)
	log := logged(t, 100)
	s := start(t, Options{}, "%shttp.listen = \"127.0.0.1:0\"\n[upstreams.api]\n"+
		"backends = [{ address = %q }, { address = %q }]\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n",
		quiet, address, good.Listener.Addr().String())
	ask := func() {
		t.Helper()
		if status, why := statusOf(t, s, "/"); status != 200 {
			t.Fatal(status, why)
		}
	}
	for range 8 {
		ask()
	}
	lines := log.with("a backend fails")
	if len(lines) != 1 || lines[0]["upstream"] != "api" || lines[0]["backend"] != address ||
		lines[0]["error"] != "connection refused" {
		t.Fatal(lines)
	}
	if failed := log.with("an attempt failed"); len(failed) != 1 || failed[0]["level"] != "DEBUG" {
		t.Error(failed)
	}
	l := testutil.ListenAt(t, address)
	back := &http.Server{Handler: ok}
	t.Cleanup(func() { back.Close() })
	go func() { _ = back.Serve(l) }()
	testutil.Eventually(t, testutil.Patience, func() bool {
		ask()
		return len(log.with("a backend serves again")) > 0
	}, "the return of the backend")
	if l := log.with("a backend serves again")[0]; l["backend"] != address || l["upstream"] != "api" ||
		l["level"] != "INFO" || l["failures"] != 1.0 {
		t.Error(l)
	}
}

// A backend that does not answer a connection costs the first client its time, and is passed over then.
func TestTrouble_isPassedOver(t *testing.T) {
	silent := testutil.Silent(t)
	good := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(good.Close)
	log := logged(t, 100)
	s := start(t, Options{}, "%shttp.listen = \"127.0.0.1:0\"\n[upstreams.api]\n"+
		"backends = [{ address = %q }, { address = %q }]\ntimeouts.connect = \"200ms\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"api\"\n", quiet, silent, good.Listener.Addr().String())
	for range 12 {
		if status, why := statusOf(t, s, "/"); status != 200 {
			t.Fatal(status, why)
		}
	}
	over := log.with("is passed over")
	if len(over) != 1 || over[0]["backend"] != silent || over[0]["again_in"] != "10s" {
		t.Error(over)
	}
	if fails := log.with("a backend fails"); len(fails) != 1 || fails[0]["reason"] != "backend:connect" {
		t.Error(fails)
	}
	// Two event loops may have tried it at the same time, each once.
	if failed := log.with("an attempt failed"); len(failed) == 0 || len(failed) > 2 {
		t.Error(failed)
	}
}
