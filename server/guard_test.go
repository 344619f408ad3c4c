package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
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
		{"hsts.max_age = \"1d\"\n", "308 https://127.0.0.1/x"},
	} {
		ca, dir := testutil.NewAuthority(t), t.TempDir()
		backend, _ := origin(t, "one")
		s := start(t, Options{}, "%s%s[[routes]]\npattern = \"/*\"\ndest = %q\n"+
			"[[routes]]\npattern = \"/*\"\nmethods = \"CONNECT\"\ndest = %[3]q\n",
			quiet, guarded(t, ca, dir, c.keys), backend)
		url := urlOf(t, s, "web") + "/x"
		if got := curlStatus(t, url); got != "1.1 "+c.plain {
			t.Errorf("%q: %s", c.keys, got)
		}
		if got := curlStatus(t, "--http2-prior-knowledge", url); got != "2 "+c.plain {
			t.Errorf("%q, prior knowledge: %s", c.keys, got)
		}
		w := testutil.Dial(t, strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
		w.Send("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n")
		if head := w.ReadHead(); c.plain != "200" && !strings.HasPrefix(head, "HTTP/1.1 421 ") {
			t.Errorf("%q, CONNECT: %s", c.keys, head)
		}
		pair := clientPair(t, ca, nil)
		client := asHTTPS(t, ca, true)
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
		req, _ := http.NewRequest("GET", secureURL(t, s)+"/x", nil)
		req.Host = "example.org"
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%q, with a certificate: %d", c.keys, resp.StatusCode)
		}
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
	if got := fmt.Sprint(statuses()); got != "[421 421 421]" {
		t.Errorf("after the reload: %s", got)
	}
	// On a new connection the handshake asks.
	if code := answers(t, s, ca, ca); code != 200 {
		t.Errorf("with a certificate: %d", code)
	}
	if resp, err := asHTTPS(t, ca, true).Get(secureURL(t, s)); err == nil {
		resp.Body.Close()
		t.Errorf("without: %d", resp.StatusCode)
	}
}
