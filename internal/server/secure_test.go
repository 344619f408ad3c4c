package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs"
)

// secured is the lines of a listener with a certificate of ca for example.org, in dir.
func secured(t *testing.T, ca *testutil.Authority, dir string) string {
	t.Helper()
	ca.IssueTo(t, dir, "a", nil, "example.org")
	base := filepath.Join(dir, "a")
	return fmt.Sprintf("[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\ncert = %q\nkey = %q\n",
		base+".pem", base+".key")
}

// asHTTPS asks for URLs of a plain listener by TLS, with connections of its own.
func asHTTPS(t *testing.T, ca *testutil.Authority, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{
		RootCAs: ca.Pool, ServerName: "example.org", ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testutil.Patience}
}

func secureURL(t *testing.T, s *Server) string {
	t.Helper()
	return strings.Replace(urlOf(t, s, "web"), "http://", "https://", 1)
}

const all200 = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"

// Requests go on over both versions while certificates, keys of tickets and routes are exchanged.
func TestApply_underTLS(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	listener := secured(t, ca, dir)
	s := start(t, Options{}, "%s%s%s", quiet, listener, all200)
	url := secureURL(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for i := range 4 {
		c := asHTTPS(t, ca, i%2 == 0)
		asking.Go(func() {
			for ctx.Err() == nil {
				resp, err := c.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				wantEqual(t, resp.StatusCode, 200)
				c.CloseIdleConnections()
			}
		})
	}
	for i := range 10 {
		ca.IssueTo(t, dir, "a", nil, "example.org")
		s.certificates.tickets.Rotate()
		apply(t, s, "%s%s%s[[routes]]\npattern = \"/%d\"\ndest = \"status:204\"\n", quiet, listener, all200, i)
	}
	for _, resumed := range []string{"false", "true"} {
		testutil.Eventually(t, testutil.Patience, func() bool {
			return counter(s, "edge_tls_handshakes_total", "1.3", "X25519MLKEM768", resumed) > 0
		}, "a handshake that was resumed: %s", resumed)
	}
	cancel()
	asking.Wait()
	if n := counter(s, "edge_listener_h2_connections_total", "web"); n == 0 {
		t.Error("no connection of HTTP/2")
	}
	wantCounter(t, s, 1, "edge_tls_lends_buffers")
	wantCounter(t, s, 10, "edge_tls_ticket_rotations_total")
	if at := counter(s, "edge_certificate_first_expiry_timestamp_seconds"); at < float64(time.Now().Unix()) {
		t.Errorf("the certificate expires at %v", at)
	}
}

func TestApply_badCertificateChangesNothing(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	listener := secured(t, ca, dir)
	s := start(t, Options{}, "%s%s%s", quiet, listener, all200)
	missing := strings.ReplaceAll(listener, "a.pem", "none.pem")
	wantRefused(t, s, parse(t, quiet+missing+all200), "none.pem")
	wantStatus(t, asHTTPS(t, ca, true), secureURL(t, s), 200, "after it")
	if _, err := New(parse(t, quiet+missing+all200), Options{}); err == nil {
		t.Error("it starts without its certificate")
	}
}

// A connection keeps what its handshake gave it; the next one has the options of the reload.
// A client can verify a name for which there is a valid certificate, though the listener's own has expired.
func TestServer_expiredCertificateGivesWay(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	listener := secured(t, ca, dir)
	ca.IssueTo(t, dir, "a", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(0, -2, 0), time.Now().AddDate(0, -1, 0)
	}, "example.org")
	ca.IssueTo(t, dir, "b", nil, "example.org")
	base := filepath.Join(dir, "b")
	s := start(t, Options{}, "%s%s[[certificates]]\ncert = %q\nkey = %q\n%s",
		quiet, listener, base+".pem", base+".key", all200)
	for _, h2 := range []bool{false, true} {
		if status, _ := getBy(t, asHTTPS(t, ca, h2), secureURL(t, s)); status != 200 {
			t.Errorf("HTTP/2 %v: %d", h2, status)
		}
	}
}

// A redirect to https names the port by which clients come: https_port, or the port of the listener with TLS for a
// client that has named the port of the plain listener, which nothing maps to another then.
func TestServer_redirectNamesThePortOfClients(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.IssueTo(t, dir, "a", nil, "example.org")
	base := filepath.Join(dir, "a")
	at := testutil.FreeAddr(t)
	_, port, _ := strings.Cut(at, ":")
	for _, c := range []struct{ key, host, want string }{
		{"", "localhost:PORT", "localhost:" + port},
		{"", "a.test", "a.test"},
		{"", "a.test:8080", "a.test"},
		{"https_port = 8443", "localhost:PORT", "localhost:8443"},
		{"https_port = 8443", "a.test", "a.test:8443"},
		{"https_port = 443", "a.test:8080", "a.test"},
		{`https_port = "none"`, "localhost:PORT", "localhost"},
	} {
		t.Run(c.key+" "+c.host, func(t *testing.T) {
			s := start(t, Options{}, `%s
[http]
name = "plain"
listen = "127.0.0.1:0"
redirect_to_https = true
%s
[https]
listen = %q
cert = %q
key = %q
%s`, quiet, c.key, at, base+".pem", base+".key", all200)
			url := urlOf(t, s, "plain")
			host := strings.Replace(c.host, "PORT", url[strings.LastIndexByte(url, ':')+1:], 1)
			resp := askFor(t, "GET", url+"/x?y", "Host: "+host)
			bodyOf(t, resp)
			if got := resp.Header.Get("Location"); resp.StatusCode != 308 || got != "https://"+c.want+"/x?y" {
				t.Errorf("Host %s: %d %s, want %s", host, resp.StatusCode, got, c.want)
			}
			_ = s.Stop() // the next one needs the port
		})
	}
}

func TestApply_listenerTurnsToTLSAndBack(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	addr := testutil.FreeAddr(t)
	listener := strings.Replace(secured(t, ca, dir), "127.0.0.1:0", addr, 1)
	plain := fmt.Sprintf("[http]\nname = \"web\"\nlisten = %q\n", addr)
	s := start(t, Options{}, "%s%s%s", quiet, plain, all200)
	early := &http.Client{Transport: &http.Transport{}}
	defer early.CloseIdleConnections()
	wantStatus(t, early, "http://"+addr, 200, "plain")
	apply(t, s, "%s%s%s", quiet, listener, all200)
	wantStatus(t, asHTTPS(t, ca, false), "https://"+addr, 200, "TLS")
	wantStatus(t, early, "http://"+addr, 200, "a plain connection that stood")
	wantStatus(t, direct, urlOf(t, s, "web"), 400, "a new plain connection")
	apply(t, s, "%s%s%s", quiet, plain, all200)
	wantStatus(t, direct, urlOf(t, s, "web"), 200, "plain again")
}

// Ticket keys can be handed on to another process.
func TestOptions_ticketKeys(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	listener := secured(t, ca, dir)
	first := start(t, Options{}, "%s%s%s", quiet, listener, all200)
	c := asHTTPS(t, ca, false)
	getBy(t, c, secureURL(t, first))
	c.CloseIdleConnections()
	second := start(t, Options{TicketKeys: first.TicketKeys()}, "%s%s%s", quiet, listener, all200)
	getBy(t, c, secureURL(t, second))
	wantCounter(t, second, 1, "edge_tls_handshakes_total", "1.3", "X25519MLKEM768", "true")
}

// The watch makes the internal certificate anew: a process may run for longer than that lives.
func TestServer_internalCertificateIsRenewed(t *testing.T) {
	s := start(t, Options{StateDir: t.TempDir()}, "%s[https]\nlisten = \"127.0.0.1:0\"\ncert = \"internal\"\n%s", quiet,
		all200)
	set := s.certificates.now.set
	first := set.Certificates()[0].Leaf
	if c := set.Look(first.NotAfter.Add(-time.Hour)); len(c) != 1 || c[0].Err != nil || c[0].Now.Leaf.Equal(first) {
		t.Fatalf("%+v", c)
	}
}

// Nothing that edge makes is kept where everybody may write.
func TestStateDir(t *testing.T) {
	for _, c := range []struct {
		uid               int
		state, data, home string
		want              string
	}{
		{1000, "/a:/b", "/x", "/h", "/a"}, {0, "/a", "/x", "/h", "/a"}, {0, "", "/x", "/h", "/var/lib/edge"},
		{1000, "", "/x", "/h", "/x/edge"}, {1000, "", "", "/h", "/h/.local/state/edge"}, {1000, "", "", "", ""},
	} {
		t.Setenv("STATE_DIRECTORY", c.state)
		t.Setenv("XDG_STATE_HOME", c.data)
		t.Setenv("HOME", c.home)
		got, err := StateDir(c.uid)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, errNoState) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

// A rule on handshakes leads to certificates that the internal authority makes.
// Other handshakes do not.
func TestApply_internalByRule(t *testing.T) {
	dir := t.TempDir()
	text := secured(t, testutil.NewAuthority(t), dir)
	s := start(t, Options{StateDir: t.TempDir()}, "%s%s[[certificates]]\nname = \"made\"\ncert = \"internal\"\n"+
		"when = 'tls.sni == \"when.test\"'\n[[tls.rules]]\nwhen = 'tls.sni == \"rule.test\"'\n"+
		"certificate = \"made\"\n%s", quiet, text, all200)
	for name, want := range map[string]bool{"rule.test": true, "other.test": false} {
		c, err := tls.Dial("tcp", strings.TrimPrefix(secureURL(t, s), "https://"),
			&tls.Config{ServerName: name, InsecureSkipVerify: true})
		testutil.Must(t, err)
		leaf := c.ConnectionState().PeerCertificates[0]
		if got := leaf.VerifyHostname(name) == nil; got != want {
			t.Errorf("%s: %v", name, leaf.DNSNames)
		}
		c.Close()
	}
}

// Hosts may be written as in addresses.
func TestServer_internalHosts(t *testing.T) {
	s := start(t, Options{StateDir: t.TempDir()}, "%s[https]\nlisten = \"127.0.0.1:0\"\n[[certificates]]\n"+
		"cert = \"internal\"\nhosts = [\"Shop.example.org.\", \"*.B.example.org\", \"[2001:DB8::7]\"]\n%s",
		quiet, all200)
	leaf := s.certificates.now.set.Certificates()[0].Leaf
	for _, host := range []string{"shop.example.org", "x.b.example.org", "2001:db8::7"} {
		wantNoErr(t, leaf.VerifyHostname(host))
	}
}

// What a start would say of folders for secrets is known before, and looking for it makes nothing.
func TestCheckState_saysWhatAStartWould(t *testing.T) {
	const (
		base     = quiet + "[https]\nlisten = \"127.0.0.1:0\"\n" + all200
		internal = base + "[[certificates]]\ncert = \"internal\"\nhosts = [\"a.example.org\"]\n"
		ordered  = base + "[acme]\nemail = \"a@example.org\"\nca = \"https://127.0.0.1:1/\"\n" +
			"[[certificates]]\ncert = \"acme\"\nhosts = [\"a.example.org\"]\n"
	)
	authority := func(names ...string) func(dir string) error {
		return func(dir string) error {
			_, err := certs.OpenAuthority(filepath.Join(dir, AuthorityFolder), -1, -1, names...)
			return err
		}
	}
	for name, c := range map[string]struct {
		text string
		make func(dir string) error // before
		want string                 // "": it starts
	}{
		"no authority":           {internal, func(string) error { return nil }, ""},
		"authority for the host": {internal, authority("a.example.org"), ""},
		"authority for others": {internal, authority("b.example.org"),
			"it was made before \"a.example.org\" was among"},
		"authority is damaged": {internal, func(dir string) error {
			in := filepath.Join(dir, AuthorityFolder)
			return errors.Join(os.Mkdir(in, 0o700),
				os.WriteFile(filepath.Join(in, "authority.pem"), []byte("x"), 0o600))
		}, "internal authority: "},
		"state is a file": {internal, func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}, "internal authority: "},
		"authority of all": {internal, func(dir string) error {
			in := filepath.Join(dir, AuthorityFolder)
			return errors.Join(os.Mkdir(in, 0o700), os.Chmod(in, 0o777))
		}, "can be written by others"},
		"certificates of all": {ordered, func(dir string) error {
			in := filepath.Join(dir, "acme")
			return errors.Join(os.Mkdir(in, 0o700), os.Chmod(in, 0o777))
		}, "can be written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			testutil.Must(t, c.make(dir))
			cfg, before := parse(t, c.text), listed(dir)
			found := CheckState(cfg, dir)
			if c.want == "" && len(found) > 0 ||
				c.want != "" && (len(found) != 1 || !strings.Contains(found[0].Message, c.want)) {
				t.Errorf("%q, want %q", found, c.want)
			}
			if after := listed(dir); !slices.Equal(before, after) {
				t.Errorf("it has made %q of %q", after, before)
			}
			s, err := New(cfg, Options{StateDir: dir})
			if err == nil {
				_ = s.Stop()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("a start: %v, want %q", err, c.want)
			}
		})
	}
}

// listed returns all files below dir.
func listed(dir string) (all []string) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		all = append(all, path)
		return nil
	})
	return all
}
