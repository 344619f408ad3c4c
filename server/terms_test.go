package server

import (
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// from dials by TLS from an address of this machine.
func from(t *testing.T, ip, addr string, o *tls.Config) (*tls.Conn, error) {
	t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: testutil.Patience}
	c, err := tls.DialWithDialer(d, "tcp", addr, o)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// openssl returns what openssl s_client prints of a handshake.
func openssl(t *testing.T, addr string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl")
	}
	cmd := exec.Command(path, append([]string{"s_client", "-connect", addr}, args...)...)
	out, _ := cmd.CombinedOutput() // it fails where the handshake does
	return string(out)
}

// certificate is a table of [[certificates]], of ca, for names, the first of which is its common name.
func certificate(t *testing.T, ca *testutil.Authority, dir, file, more string, names ...string) string {
	t.Helper()
	ca.IssueTo(t, dir, file, nil, names...)
	base := filepath.Join(dir, file)
	return fmt.Sprintf("[[certificates]]\ncert = %q\nkey = %q\n%s\n", base+".pem", base+".key", more)
}

// Which certificate a client gets depends on the name that it asks for, and on its address and what it offers.
func TestCertificates_when(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	text := quiet + "[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n[lists]\ninner = [\"127.0.0.2\"]\n" + all200 +
		certificate(t, ca, dir, "public", "", "public", "a.test") +
		certificate(t, ca, dir, "old", "when = 'tls.alpn == \"acme\"'", "old", "a.test") +
		certificate(t, ca, dir, "wild", "when = 'client.ip in list.inner'", "wild", "*.test") +
		certificate(t, ca, dir, "inner", "when = 'client.ip in list.inner and listener == \"web\"'", "inner", "a.test")
	s := start(t, Options{}, "%s", text)
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	got := func(ip, name string, protocols ...string) string {
		t.Helper()
		c, err := from(t, ip, addr, &tls.Config{RootCAs: ca.Pool, ServerName: name, InsecureSkipVerify: true,
			NextProtos: protocols})
		if err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for _, c := range []struct{ ip, name, protocol, want string }{
		{"127.0.0.1", "a.test", "h2", "public"}, {"127.0.0.2", "a.test", "h2", "inner"},
		{"127.0.0.2", "A.Test", "h2", "inner"}, {"127.0.0.2", "b.test", "h2", "wild"},
		{"127.0.0.1", "b.test", "h2", "public"}, {"127.0.0.1", "", "h2", "public"}, {"127.0.0.2", "", "h2", "wild"},
	} {
		if name := got(c.ip, c.name, c.protocol); name != c.want {
			t.Errorf("%s gets %s for %q, want %s", c.ip, name, c.name, c.want)
		}
	}
	if name := got("127.0.0.1", "a.test", "acme", "h2"); name != "old" {
		t.Errorf("by protocol: %s", name)
	}
	for ip, want := range map[string]string{"127.0.0.1": "CN = public", "127.0.0.2": "CN = inner"} {
		out := openssl(t, addr, "-servername", "a.test", "-bind", ip+":0", "-brief")
		if !strings.Contains(out, "Peer certificate: "+want) {
			t.Errorf("%s\n%s", want, out)
		}
	}
	apply(t, s, "%s", strings.Replace(text, "127.0.0.2", "127.0.0.1", 1))
	if name := got("127.0.0.2", "a.test", "h2"); name != "public" {
		t.Errorf("after the list has changed: %s", name)
	}
	if name := got("127.0.0.1", "a.test", "h2"); name != "inner" {
		t.Errorf("after the list has changed: %s", name)
	}
}

// Where no certificate is for a client, the alert says so.
func TestCertificates_whenForNobody(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n%s%s", quiet, all200,
		certificate(t, ca, dir, "inner", "when = 'client.ip == 127.0.0.2'", "a.test"))
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	if _, err := from(t, "127.0.0.1", addr, &tls.Config{RootCAs: ca.Pool, ServerName: "a.test"}); err == nil ||
		!strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("%v", err)
	}
	if _, err := from(t, "127.0.0.2", addr, &tls.Config{RootCAs: ca.Pool, ServerName: "a.test"}); err != nil {
		t.Error(err)
	}
}
