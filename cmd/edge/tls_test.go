package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// pki is a folder with the certificates of a test.
type pki struct {
	*testutil.Authority
	dir string
}

func newPKI(t *testing.T, names ...string) *pki {
	t.Helper()
	p := &pki{testutil.NewAuthority(t), t.TempDir()}
	p.Write(t, p.path("ca.pem"))
	for _, name := range names {
		p.issue(t, name, name+".example.org")
	}
	return p
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

// issue writes name.pem and name.key.
func (p *pki) issue(t *testing.T, name string, hosts ...string) {
	t.Helper()
	p.IssueTo(t, p.dir, name, nil, hosts...)
}

// pair is the lines of a configuration that name a pair.
func (p *pki) pair(name string) string {
	return fmt.Sprintf("cert = %q\nkey = %q\n", p.path(name+".pem"), p.path(name+".key"))
}

// client trusts the authority, and is told that every name is at addr.
func (p *pki) client(t *testing.T, addr string, change func(*tls.Config)) *http.Client {
	t.Helper()
	c := client(t)
	tr := c.Transport.(*http.Transport)
	tr.ForceAttemptHTTP2 = true
	tr.TLSClientConfig = &tls.Config{RootCAs: p.Pool}
	if change != nil {
		change(tr.TLSClientConfig)
	}
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return c
}

const everything = `
[[routes]]
pattern = "/*"
dest = "status:200"
[routes.headers.response]
X-TLS = "{tls_version}"
X-SNI = "{sni}"
X-Client = "{client_cert_subject}"
X-Group = "{tls_group}"
[log]
output = []
`

// curlWith runs curl with more arguments.
func curlWith(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"-sS", "--max-time", "30", "--noproxy", "*"}, args...)
	out, err := exec.Command("curl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %q: %v %s", args, err, out)
	}
	return string(out)
}

func TestRun_httpsWithBothVersions(t *testing.T) {
	p := newPKI(t, "a")
	e := start(t, "[https]\nlisten = \"127.0.0.1:0\"\nhsts = { max_age = \"365d\" }\n%s%s", p.pair("a"), everything)
	_, port, _ := strings.Cut(e.addr, ":")
	at := []string{"--cacert", p.path("ca.pem"), "--resolve", "a.example.org:" + port + ":127.0.0.1",
		"-o", filepath.Join(t.TempDir(), "body"), "-w", "%{http_version} %{http_code} %{ssl_verify_result}",
		"https://a.example.org:" + port + "/"}
	if got := curlWith(t, append([]string{"--http2"}, at...)...); got != "2 200 0" {
		t.Errorf("curl --http2: %s", got)
	}
	if got := curlWith(t, append([]string{"--http1.1"}, at...)...); got != "1.1 200 0" {
		t.Errorf("curl --http1.1: %s", got)
	}
	resp, _ := testutil.Get(t, p.client(t, e.addr, nil), "https://a.example.org/")
	if resp.Proto != "HTTP/2.0" {
		t.Errorf("net/http speaks %s", resp.Proto)
	}
	for name, want := range map[string]string{
		"X-TLS": "TLS 1.3", "X-SNI": "a.example.org", "X-Group": "X25519MLKEM768", "X-Client": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := resp.Header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
		t.Errorf("HSTS: %q", got)
	}
}

func TestRun_certificateSwapped(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "a")
	admin := fmt.Sprintf("[admin]\nlisten = %q\n", "unix:"+testutil.SocketPath(t))
	e := start(t, "[https]\nlisten = \"127.0.0.1:0\"\n%s%s%s", p.pair("a"), everything, admin)
	c := p.client(t, e.addr, nil)
	first, _ := testutil.Get(t, c, "https://a.example.org/")
	serial := func() string {
		conn, err := tls.Dial("tcp", e.addr, &tls.Config{ServerName: "a.example.org", RootCAs: p.Pool})
		testutil.Must(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	p.issue(t, "a", "a.example.org")
	e.WaitLine(`"msg":"certificate changed".*CN=a.example.org`)
	if serial() == before {
		t.Error("the old certificate is still presented")
	}
	if again, _ := testutil.Get(t, c, "https://a.example.org/"); again.TLS.PeerCertificates[0].SerialNumber.String() !=
		first.TLS.PeerCertificates[0].SerialNumber.String() {
		t.Error("the connection that stood was not kept")
	}
	after := serial()
	putFile(t, p.path("a.key"), "half a file")
	e.WaitLine(`"msg":"the files of a certificate are wrong, the one before stays".*holds no private key`)
	if serial() != after {
		t.Error("a wrong pair took over")
	}
	const told = "a.key: holds no private key"
	e.commands(t, command{"certs", 0, told}, command{"status", 0, told})
	// A reload with it changes nothing either.
	e.change(t, "[https]\nlisten = \"127.0.0.1:0\"\n%s%s%s# changed\n", p.pair("a"), everything, admin)
	e.WaitLine(`"msg":"reload failed, nothing has changed"`)
	if serial() != after {
		t.Error("a wrong pair took over by a reload")
	}
}

// secured is an origin with TLS that answers with its name and the version of the request.
func secured(t *testing.T, p *pki, name string, h2 bool) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Host", r.Host)
		fmt.Fprintf(w, "%s %s %d", name, r.Proto, len(r.TLS.PeerCertificates))
	}))
	pair, err := tls.LoadX509KeyPair(p.path(name+".pem"), p.path(name+".key"))
	testutil.Must(t, err)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

func TestProxy_internalAuthority(t *testing.T) {
	dir := t.TempDir()
	state := "STATE_DIRECTORY=" + dir
	first := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Env: []string{state},
		Args: []string{"proxy", "--from", "127.0.0.1:0", "--to", origin(t), "--tls", "internal"}})
	url := first.WaitLine(`edge: (https://\S+/) -> `)[1]
	ca := first.WaitLine(`authority on this machine: (\S+)`)[1]
	if got := curlWith(t, "--cacert", ca, url+"status/204", "-w", "%{http_code} %{http_version}"); got != "204 2" {
		t.Errorf("curl: %q", got)
	}
	printed := first.WaitLine(`once: +curl (--cacert) (\S+) (\S+)$`)
	if got := curlWith(t, printed[1:]...); got != demoText {
		t.Errorf("the line that it prints, %q: %q", printed[0], got)
	}
	before := textOf(t, ca)
	if at, err := os.Stat(filepath.Join(dir, "internal", "authority.pem")); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", at, err)
	}
	first.Stop()
	second := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Env: []string{state},
		Args: []string{"proxy", "--from", "127.0.0.1:0", "--to", origin(t), "--tls", "internal"}})
	second.WaitLine(`edge: https://`)
	if after, err := os.ReadFile(ca); err != nil || string(after) != before {
		t.Error("another authority was made", err)
	}
}

// A server with an https:// address answers for its own name.
func TestProxy_toHTTPS(t *testing.T) {
	p := newPKI(t)
	p.issue(t, "one", "127.0.0.1")
	to := secured(t, p, "one", false)
	e := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"),
		Env:  []string{"SSL_CERT_FILE=" + p.path("ca.pem"), "SSL_CERT_DIR=/nowhere"},
		Args: []string{"proxy", "--from", "127.0.0.1:0", "--to", "https://" + to}})
	url := e.WaitLine(`edge: (http://\S+/) -> https://`)[1]
	resp, body := testutil.Get(t, client(t), url)
	if resp.StatusCode != 200 || body != "one HTTP/1.1 0" || resp.Header.Get("X-Host") != to {
		t.Errorf("%d %q, asked for %s", resp.StatusCode, body, resp.Header.Get("X-Host"))
	}
}

func TestRun_FIPS(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "a")
	e := start(t, "fips = true\n[https]\nlisten = \"127.0.0.1:0\"\n%s%s", p.pair("a"), everything)
	e.WaitLine(`"msg":"cryptography by FIPS 140-3"`)
	c := p.client(t, e.addr, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} })
	if resp, _ := testutil.Get(t, c, "https://a.example.org/"); resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
	c = p.client(t, e.addr, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} })
	if resp, err := c.Get("https://a.example.org/"); err == nil {
		resp.Body.Close()
		t.Error("X25519 is taken")
	}
	e.change(t, "[https]\nlisten = \"127.0.0.1:0\"\n%s%s", p.pair("a"), everything)
	e.WaitLine(`after a restart.*fips`)
	e.Signal(syscall.SIGTERM)
	endsWell(t, e)
}

// The documented files of others answer, with a certificate beside them.
func TestRun_filesOfOthers(t *testing.T) {
	p := newPKI(t)
	p.issue(t, "server", "localhost", "127.0.0.1")
	read := func(name string) string {
		text := textOf(t, filepath.Join(testutil.Root(t), "internal", "config", "testdata", "valid", name))
		return strings.NewReplacer("server.crt", p.path("server.pem"), "server.key", p.path("server.key"),
			"/tmp/", t.TempDir()+"/").Replace(text)
	}
	e := start(t, "%s", strings.NewReplacer("\"0.0.0.0:18080\", \"[::]:18080\"", "\"127.0.0.1:0\"",
		"127.0.0.1:18081", named(t, "api"), "127.0.0.1:18082", named(t, "forwarded"),
		"127.0.0.1:18083", named(t, "one"), "127.0.0.1:18084", named(t, "two"),
	).Replace(read("pingora-tls-and-health.toml")))
	c := p.client(t, e.addr, nil)
	for _, scheme := range []string{"http://", "https://"} {
		if _, body := testutil.Get(t, c, scheme+"127.0.0.1/api/x"); body != "api" {
			t.Errorf("%s: %q", scheme, body)
		}
		if _, body := testutil.Get(t, c, scheme+"127.0.0.1/"); body != "one" && body != "two" {
			t.Errorf("%s: %q", scheme, body)
		}
	}
	plain, secure := testutil.FreeAddr(t), testutil.FreeAddr(t)
	e = start(t, "%s", strings.NewReplacer("0.0.0.0:18080", plain, "0.0.0.0:18443", secure,
		"127.0.0.1:18081", named(t, "api"), "127.0.0.1:18082", named(t, "rest")).Replace(read("http-and-https.toml")))
	for addr, scheme := range map[string]string{plain: "http://", secure: "https://"} {
		c := p.client(t, addr, nil)
		if _, body := testutil.Get(t, c, scheme+"127.0.0.1/api/x"); body != "api" {
			t.Errorf("%s: %q", scheme, body)
		}
		if _, body := testutil.Get(t, c, scheme+"127.0.0.1/x"); body != "rest" {
			t.Errorf("%s: %q", scheme, body)
		}
	}
}

func TestCheck_certificates(t *testing.T) {
	p := newPKI(t, "a", "b")
	right := write(t, "[https]\nlisten = \":443\"\n%s%s", p.pair("a"), everything)
	wrong := write(t, "[https]\nlisten = \":443\"\ncert = %q\nkey = %q\n%s",
		p.path("a.pem"), p.path("b.key"), everything)
	const told = "edge.toml:4:7: error: certificate and key do not belong together"
	commands(t, "",
		command{"check -c " + right, 0, "1 certificate (first expires in 36"},
		command{"check -c " + wrong, 1, told}, command{"run -c " + wrong, 1, told},
		command{"proxy --to :1 --tls auto", 2, "needs the name of a host"},
		command{"proxy --to :1 --tls on", 2, `"internal" or "off"`},
	)
}

// What a route does not say about WebSockets its listener says, and what that does not say the configuration.
func TestRun_webSocketByListener(t *testing.T) {
	t.Parallel()
	with, without, silent := testutil.FreeAddr(t), testutil.FreeAddr(t), testutil.FreeAddr(t)
	start(t, `
proxy.websocket = false
[[listeners]]
listen = %q
websocket = true
[[listeners]]
listen = %q
websocket = false
[[listeners]]
listen = %q
[[routes]]
pattern = "/*"
dest = %[4]q
[[routes]]
pattern = "on.example.org/*"
dest = %[4]q
websocket = true
[[routes]]
pattern = "off.example.org/*"
dest = %[4]q
websocket = false
`, with, without, silent, origin(t))
	for _, c := range []struct {
		addr, host string
		want       bool
	}{
		{with, "any", true}, {without, "any", false}, {silent, "any", false},
		{with, "on.example.org", true}, {without, "on.example.org", true}, {silent, "on.example.org", true},
		{with, "off.example.org", false}, {without, "off.example.org", false},
	} {
		out := curlWith(t, "-H", "Host: "+c.host, "-H", "Connection: Upgrade", "-H", "Upgrade: websocket",
			"-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
			"http://"+c.addr+"/echo")
		if got := strings.Contains(strings.ToLower(out), "upgrade: websocket"); got != c.want {
			t.Errorf("%s on %s: passed on is %v, want %v in\n%s", c.host, c.addr, got, c.want, out)
		}
	}
}

// bothVersions is a plain origin that answers with the version of the request.
func bothVersions(t *testing.T) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An answer before the end of the request ends in RST_STREAM, which curl 7.88 takes for a failure.
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Proto)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

func TestRun_grpcAndProtocolOfBackends(t *testing.T) {
	t.Parallel()
	to := bothVersions(t)
	with, without := testutil.FreeAddr(t), testutil.FreeAddr(t)
	start(t, `
[[listeners]]
listen = %q
grpc = true
[[listeners]]
listen = %q
[[routes]]
pattern = "/*"
dest = %[3]q
[[routes]]
pattern = "/always"
dest = %[3]q
grpc = true
[[routes]]
pattern = "/never"
dest = %[3]q
grpc = false
[[routes]]
pattern = "/h2c"
dest = "h2c://%[3]s"
[[routes]]
pattern = "/h2"
dest = "h2"
[upstreams.h2]
backends = [{ address = %[3]q }]
protocol = "h2"
`, with, without, to)
	for _, c := range []struct{ addr, path, kind, want string }{
		{with, "/", "text/plain", "HTTP/1.1"}, {with, "/", "application/grpc", "HTTP/2.0"},
		{with, "/", "application/grpc+proto", "HTTP/2.0"}, {with, "/never", "application/grpc", "HTTP/1.1"},
		{without, "/", "application/grpc", "HTTP/1.1"}, {without, "/always", "text/plain", "HTTP/2.0"},
		{without, "/h2c", "text/plain", "HTTP/2.0"}, {without, "/h2", "text/plain", "HTTP/2.0"},
	} {
		got := curlWith(t, "--http2-prior-knowledge", "-H", "Content-Type: "+c.kind, "-H", "TE: trailers", "-d", "x",
			"http://"+c.addr+c.path)
		if got != c.want {
			t.Errorf("%s of type %s: the backend is asked by %q, want %s", c.path, c.kind, got, c.want)
		}
	}
}
