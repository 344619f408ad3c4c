package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
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
		try(t, err)
		text = append(text, part...)
	}
	next := filepath.Join(dir, to+".next")
	try(t, os.WriteFile(next, text, 0o600))
	try(t, os.Rename(next, filepath.Join(dir, to)))
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
		try(t, os.WriteFile(path(name), []byte(text), 0o600))
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
	try(t, os.WriteFile(all, nil, 0o600))
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
