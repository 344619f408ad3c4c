package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// guarded is the lines of [network] with a certificate of ca for example.org, which takes TLS and plain connections,
// and of the authority of its clients.
func guarded(t *testing.T, ca *testutil.Authority, dir, more string) string {
	t.Helper()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	lines := strings.Replace(secured(t, ca, dir), "[https]", "[network]", 1) + more
	return strings.ReplaceAll(lines, "= CA", fmt.Sprintf("= %q", filepath.Join(dir, "ca.pem")))
}

// curlStatus runs curl against s and returns "version status location".
func curlStatus(t *testing.T, args ...string) string {
	t.Helper()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	args = append([]string{"-sS", "--max-time", "30", "--noproxy", "none.example", "-o", "/dev/null",
		"-w", "%{http_version} %{http_code} %{redirect_url}"}, args...)
	out, err := exec.Command(curl, args...).Output()
	if err != nil {
		t.Fatalf("curl %q: %v %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Where a port takes TLS and plain connections, what is asked of TLS binds the plain ones too.
func TestGuard_plainRequestsByCurl(t *testing.T) {
	for _, name := range []string{"http_proxy", "all_proxy", "ALL_PROXY"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct{ keys, plain string }{
		{"", "200"},
		{"client_ca = CA\nclient_auth = \"request\"\n", "200"},
		{"client_ca = CA\n", "421"},
		{"client_ca = CA\nclient_auth = \"require\"\nredirect_to_https = true\n", "308 https://127.0.0.1/x"},
		{"strict_sni = true\n", "421"},
		{"[[tls.rules]]\nwhen = 'tls.sni == \"example.org\"'\nclient_ca = CA\n", "421"},
		{"[[tls.rules]]\nwhen = 'tls.sni == \"b.test\"'\ndeny = true\n", "421"},
		{"hsts.max_age = \"1d\"\n", "308 https://127.0.0.1/x"},
	} {
		ca, dir := testutil.NewAuthority(t), t.TempDir()
		backend, _ := origin(t, "one")
		s := start(t, Options{}, "%s%s[[routes]]\npattern = \"/*\"\ndest = %q\n"+
			"[[routes]]\npattern = \"/*\"\nmethods = \"CONNECT\"\ndest = %[3]q\n",
			quiet, guarded(t, ca, dir, c.keys), backend)
		url := urlOf(t, s, "web") + "/x"
		wantEqual(t, curlStatus(t, url), "1.1 "+c.plain, "%q", c.keys)
		wantEqual(t, curlStatus(t, "--http2-prior-knowledge", url), "2 "+c.plain, "%q, prior knowledge", c.keys)
		w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
		w.Send("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n")
		if head := w.ReadHead(); c.plain != "200" && !strings.HasPrefix(head, "HTTP/1.1 421 ") {
			t.Errorf("%q, CONNECT: %s", c.keys, head)
		}
		pair := clientPair(t, ca, nil)
		client := asHTTPS(t, ca, true)
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
		resp, _ := askBy(t, client, "GET", secureURL(t, s)+"/x", "Host: example.org")
		wantEqual(t, resp.StatusCode, 200, "%q, with a certificate", c.keys)
	}
}

// A reload that asks for certificates binds the next request of connections that stand as well.
func TestApply_asksStandingConnectionsForACertificate(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s%s%s", quiet, guarded(t, ca, dir, ""), all200)
	plain, one, two := &http.Client{Transport: &http.Transport{}}, asHTTPS(t, ca, false), asHTTPS(t, ca, true)
	defer plain.CloseIdleConnections()
	statuses := func() (all []int) {
		for client, url := range map[*http.Client]string{
			plain: urlOf(t, s, "web"), one: secureURL(t, s), two: secureURL(t, s),
		} {
			code, _ := getBy(t, client, url)
			all = append(all, code)
		}
		return all
	}
	if got := fmt.Sprint(statuses()); got != "[200 200 200]" {
		t.Fatal(got)
	}
	apply(t, s, "%s%s%s", quiet, guarded(t, ca, dir, "client_ca = CA\n"), all200)
	wantEqual(t, fmt.Sprint(statuses()), "[421 421 421]", "after the reload")
	// On a new connection the handshake asks.
	wantEqual(t, answers(t, s, ca, ca), 200, "with a certificate")
	if resp, err := asHTTPS(t, ca, true).Get(secureURL(t, s)); err == nil {
		resp.Body.Close()
		t.Errorf("without: %d", resp.StatusCode)
	}
}

// guardedRoutes are listeners that ask for certificates of clients in every way there is, and routes that are guarded
// by both conditions. Where a request meets none of them, it is for the upstream named default.
const guardedRoutes = quiet + `
http = { name = "plain", listen = "127.0.0.1:0" }
routes = [
	{ pattern = "/*", listener = ["internal", "plain"], dest = "status:201" },
	{ pattern = "/*", client_cert = true, dest = "status:202" },
]
proxy.rules = [
	{ pattern = "/*", client_cert = { subject = "CN=client", san = "~^cl" }, upstream = "status:203" },
]
upstreams.default.backends = [{ address = ORIGIN }]
[[listeners]]
name = "internal"
listen = "127.0.0.1:0"
PAIR
client_ca = CA
[[listeners]]
name = "public"
listen = "127.0.0.1:0"
PAIR
[[listeners]]
name = "asks"
listen = "127.0.0.1:0"
PAIR
client_ca = CA
client_auth = "request"
[[listeners]]
name = "asks others"
listen = "127.0.0.1:0"
PAIR
client_ca = OTHER
client_auth = "request"
[[listeners]]
name = "believes"
listen = "127.0.0.1:0"
PAIR
client_auth = "request"
`

// expand puts the files of a test into the lines of its configuration.
func expand(t *testing.T, ca, other *testutil.Authority, text, origin string) string {
	t.Helper()
	dir := t.TempDir()
	pair := secured(t, ca, dir)
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	other.Write(t, filepath.Join(dir, "other.pem"))
	return strings.NewReplacer("PAIR", pair[strings.Index(pair, "cert ="):],
		"= CA", fmt.Sprintf("= %q", filepath.Join(dir, "ca.pem")),
		"= OTHER", fmt.Sprintf("= %q", filepath.Join(dir, "other.pem")),
		"ORIGIN", fmt.Sprintf("%q", origin)).Replace(text)
}

func TestRoutes_byListenerAndClientCertificate(t *testing.T) {
	ca, other := testutil.NewAuthority(t), testutil.NewAuthority(t)
	backend, _ := origin(t, "one")
	s := start(t, Options{}, "%s", expand(t, ca, other, guardedRoutes, backend))
	shows := func(c *http.Client, pairs ...tls.Certificate) *http.Client {
		c.Transport.(*http.Transport).TLSClientConfig.Certificates = pairs
		return c
	}
	client, others := clientPair(t, ca, nil), clientPair(t, other, nil)
	named := func(name string) tls.Certificate {
		cert, key := ca.Issue(t, nil, name)
		return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	}
	for _, h2 := range []bool{false, true} {
		for round := range 3 {
			// One cache of sessions for all listeners: what one of them has verified is offered to the others.
			with, without := shows(asHTTPS(t, ca, h2), client), asHTTPS(t, ca, h2)
			another, stranger := shows(asHTTPS(t, ca, h2), named("another")), shows(asHTTPS(t, ca, h2), others)
			for _, c := range []struct {
				what, listener string
				client         *http.Client
				want           int
			}{
				{"the subject", "asks", with, 203},
				{"the subject, resumed", "asks", with, 203},
				{"not asked for", "public", with, 200},
				{"of another authority", "asks others", with, 200},
				{"not verified", "believes", with, 200},
				{"two conditions before one", "internal", with, 203},
				{"another subject", "asks", another, 202},
				{"the listener before any certificate", "internal", another, 201},
				{"none", "asks", without, 200},
				{"none", "public", without, 200},
				{"the subject of another authority", "asks others", stranger, 203},
			} {
				code, _ := getBy(t, c.client, strings.Replace(urlOf(t, s, c.listener), "http:", "https:", 1)+"/x")
				wantEqual(t, code, c.want, "h2 %v, round %d: %s at %s", h2, round, c.what, c.listener)
				c.client.CloseIdleConnections()
			}
		}
	}
	wantStatus(t, direct, urlOf(t, s, "plain")+"/x", 201, "plain")
}

// By curl, which shows a certificate of a file.
func TestRoutes_byCurlsCertificate(t *testing.T) {
	ca, other, dir := testutil.NewAuthority(t), testutil.NewAuthority(t), t.TempDir()
	backend, _ := origin(t, "one")
	s := start(t, Options{}, "%s", expand(t, ca, other, guardedRoutes, backend))
	ca.IssueTo(t, dir, "client", nil, "client")
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	for listener, want := range map[string][2]string{"asks": {"203", "200"}, "public": {"200", "200"}} {
		_, port, _ := strings.Cut(strings.TrimPrefix(urlOf(t, s, listener), "http://"), ":")
		args := []string{"--cacert", filepath.Join(dir, "ca.pem"), "--resolve", "example.org:" + port + ":127.0.0.1",
			"https://example.org:" + port + "/x"}
		shown := []string{"--cert", filepath.Join(dir, "client.pem"), "--key", filepath.Join(dir, "client.key")}
		for _, version := range []string{"--http1.1", "--http2"} {
			for i, more := range [][]string{shown, nil} {
				got := curlStatus(t, append(append([]string{version}, more...), args...)...)
				if _, status, _ := strings.Cut(got, " "); status != want[i] {
					t.Errorf("%s %s %q: %s, want %s", listener, version, more, got, want[i])
				}
			}
		}
	}
}

// A connection of an address that is gone goes by the listener that has its name now, guards and all.
func TestApply_addressOfAListenerMoves(t *testing.T) {
	ca := testutil.NewAuthority(t)
	text := func(listener string) string {
		return expand(t, ca, ca, quiet+listener+"[[routes]]\nlistener = \"admin\"\ndest = \"status:200\"\n", "")
	}
	s := start(t, Options{}, "%s", text("[http]\nname = \"admin\"\nlisten = \"127.0.0.1:0\"\n"))
	w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "admin"), "http://"))
	ask := func() string {
		w.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, _ := w.ReadResponse("GET")
		return resp.Status
	}
	if got := ask(); got != "200 OK" {
		t.Fatal(got)
	}
	at := testutil.FreeAddr(t)
	apply(t, s, "%s", text("[https]\nname = \"admin\"\nlisten = \""+at+"\"\nPAIR\nclient_ca = CA\n"))
	wantEqual(t, ask(), "421 Misdirected Request", "by the address before")
	apply(t, s, "%s", text("[http]\nlisten = \""+testutil.FreeAddr(t)+"\"\n[https]\nname = \"admin\"\nlisten = \""+at+
		"\"\nPAIR\nclient_ca = CA\n"))
	wantEqual(t, ask(), "421 Misdirected Request", "by the address before that")
}
