package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// demandingBackend is an origin with a certificate of ca for backend.example.org. It demands one of clients, and
// answers with the name in it.
func demandingBackend(t *testing.T, ca, clients *testutil.Authority) string {
	t.Helper()
	cert, key := ca.Issue(t, nil, "backend.example.org")
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	o.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	o.TLS = &tls.Config{
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
	}
	o.StartTLS()
	t.Cleanup(o.Close)
	return o.Listener.Addr().String()
}

// joined writes the text of files of dir, one after the other, to another one.
func joined(t *testing.T, dir, to string, names ...string) {
	t.Helper()
	var text []byte
	for _, name := range names {
		part, err := os.ReadFile(filepath.Join(dir, name))
		testutil.Must(t, err)
		text = append(text, part...)
	}
	next := filepath.Join(dir, to+".next")
	testutil.Must(t, os.WriteFile(next, text, 0o600))
	testutil.Must(t, os.Rename(next, filepath.Join(dir, to)))
}

// securedUpstream is the lines of a listener whose requests go to a backend by TLS.
func securedUpstream(backend, tls string) string {
	return fmt.Sprintf("%shttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n[upstreams.api]\n"+
		"backends = [{ address = %q }]\ntls = { sni = \"backend.example.org\", %s }\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"api\"\n", quiet, backend, tls)
}

// Each of ca, cert and key is read for itself, whichever of them are one file: the certificate is shown, and the
// authorities of the file are believed, and no others.
func TestUpstreamTLS_oneFileInSeveralRoles(t *testing.T) {
	ca, other, dir := testutil.NewAuthority(t), testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	ca.IssueTo(t, dir, "own", nil, "edge")
	joined(t, dir, "both.pem", "own.pem", "own.key")
	joined(t, dir, "chain.pem", "own.pem", "ca.pem")
	joined(t, dir, "all.pem", "own.pem", "ca.pem", "own.key")
	good, bad := demandingBackend(t, ca, ca), demandingBackend(t, other, ca)
	for _, files := range []string{
		`ca = "ca.pem", cert = "own.pem", key = "own.key"`,
		`ca = "ca.pem", cert = "both.pem"`,
		`ca = "ca.pem", cert = "both.pem", key = "both.pem"`,
		`ca = "chain.pem", cert = "chain.pem", key = "own.key"`,
		`ca = "all.pem", cert = "own.pem", key = "all.pem"`,
		`ca = "all.pem", cert = "all.pem"`,
		`ca = "all.pem", cert = "all.pem", key = "all.pem"`,
	} {
		paths := strings.NewReplacer(` = "`, ` = "`+dir+"/").Replace(files)
		s := start(t, Options{}, "%s", securedUpstream(good, paths))
		if code, body := get(t, s, "web", "/"); code != 200 || body != "edge" {
			t.Errorf("%s: %d, the backend was shown %q", files, code, body)
		}
		s = start(t, Options{}, "%s", securedUpstream(bad, paths))
		if code, _ := get(t, s, "web", "/"); code != 502 {
			t.Errorf("%s: a backend of another authority: %d", files, code)
		}
	}
	// The file for all upstreams may be that of the certificate too.
	all := filepath.Join(dir, "all.pem")
	s := start(t, Options{}, "ca_file = %q\n%s", all, securedUpstream(good, fmt.Sprintf("cert = %q", all)))
	if code, body := get(t, s, "web", "/"); code != 200 || body != "edge" {
		t.Errorf("ca_file: %d, the backend was shown %q", code, body)
	}
}

// A file that was asked for and holds nothing is an error: without one the authorities of the system are believed, and
// no certificate is shown.
func TestUpstreamTLS_filesWithoutContent(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	ca.IssueTo(t, dir, "own", nil, "edge")
	backend := demandingBackend(t, ca, ca)
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"empty.pem": "", "space.pem": "\n", "text.pem": "# nobody\n"} {
		testutil.Must(t, os.WriteFile(path(name), []byte(text), 0o600))
	}
	joined(t, dir, "keyonly.pem", "own.key")
	right := securedUpstream(backend, fmt.Sprintf("ca = %q, cert = %q, key = %q", path("ca.pem"), path("own.pem"),
		path("own.key")))
	s := start(t, Options{}, "%s", right)
	var texts []string
	for _, wrong := range []string{"empty.pem", "space.pem", "text.pem", "keyonly.pem"} {
		texts = append(texts, strings.ReplaceAll(right, "ca.pem", wrong), strings.ReplaceAll(right, "own.pem", wrong),
			fmt.Sprintf("ca_file = %q\n", path(wrong))+securedUpstream(backend, "verify = true"),
			secured(t, ca, dir)+fmt.Sprintf("client_ca = %q\n", path(wrong))+all200)
		if wrong != "keyonly.pem" {
			texts = append(texts, strings.ReplaceAll(right, "own.key", wrong))
		}
	}
	for _, text := range texts {
		cfg := parse(t, text)
		_, err := s.Apply(cfg)
		if err == nil || !strings.Contains(err.Error(), "holds no ") {
			t.Errorf("%s\napplied: %v", text, err)
		}
		made, err := New(cfg, Options{})
		if err == nil {
			err = made.Start() // client_ca is read for a listener that opens
			_ = made.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), "holds no ") {
			t.Errorf("%s\nstarted: %v", text, err)
		}
	}
	if code, body := get(t, s, "web", "/"); code != 200 || body != "edge" {
		t.Errorf("what was before: %d %q", code, body)
	}
}

// A file that is emptied while the process runs, as by a writer in two steps, changes nothing. One that is written anew
// is read in each of its roles.
func TestTrust_followsOneFileInAllRoles(t *testing.T) {
	t.Parallel()
	first, second, dir := testutil.NewAuthority(t), testutil.NewAuthority(t), t.TempDir()
	write := func(ca *testutil.Authority) {
		ca.Write(t, filepath.Join(dir, "ca.pem"))
		ca.IssueTo(t, dir, "own", nil, "example.org")
		joined(t, dir, "all.pem", "own.pem", "ca.pem", "own.key")
	}
	write(first)
	all := filepath.Join(dir, "all.pem")
	backends := map[*testutil.Authority]string{
		first: demandingBackend(t, first, first), second: demandingBackend(t, second, second),
	}
	text := fmt.Sprintf("%s[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\ncert = %q\nclient_ca = %q\n", quiet,
		all, all)
	for name, ca := range map[string]*testutil.Authority{"first": first, "second": second} {
		text += fmt.Sprintf("[upstreams.%s]\nbackends = [{ address = %q }]\n"+
			"tls = { sni = \"backend.example.org\", ca = %q, cert = %q }\n[[routes]]\npattern = \"/%s\"\ndest = %q\n",
			name, backends[ca], all, all, name, name)
	}
	s := start(t, Options{}, "%s", text)
	ask := func(ca *testutil.Authority, path string) int {
		pair := clientPair(t, ca, nil)
		c := &http.Client{Timeout: testutil.Patience, Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{
				RootCAs: ca.Pool, ServerName: "example.org", Certificates: []tls.Certificate{pair},
			}}}
		resp, err := c.Get(secureURL(t, s) + path)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	is := func(right, wrong *testutil.Authority, paths ...string) bool {
		return ask(right, paths[0]) == 200 && ask(right, paths[1]) == 502 && ask(wrong, paths[0]) == 0
	}
	if !is(first, second, "/first", "/second") {
		t.Fatal("it does not begin with the file")
	}
	testutil.Must(t, os.WriteFile(all, nil, 0o600))
	if s.trustChanged([]string{all}, false) {
		t.Error("the empty file was taken")
	}
	if !is(first, second, "/first", "/second") {
		t.Error("the empty file changed something")
	}
	write(second)
	testutil.Eventually(t, testutil.Patience, func() bool { return is(second, first, "/second", "/first") },
		"the file in all its roles")
}

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
	testutil.Must(t, err)
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
	wantEqual(t, answers(t, s, own, first), 0, "a client of the old authority")
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
	testutil.Must(t, os.WriteFile(path, []byte("no certificate"), 0o600))
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
			testutil.Must(t, err)
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
			testutil.Must(t, err)
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
