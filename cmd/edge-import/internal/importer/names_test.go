package importer_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// named starts a backend that says its name to each connection, after a handshake where it ends TLS.
func named(t *testing.T, name string, ended *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if ended != nil {
				c = tls.Server(c, ended)
			}
			io.WriteString(c, name) // a client that is gone reads nothing
			c.Close()
		}
	}()
	return l.Addr().String()
}

// greeted returns what a client gets that asks a port for a name, "" for none, and offers some protocols; "-" is for a
// client without TLS. A connection that is closed gets nothing.
func greeted(t *testing.T, port, name string, protocols ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testutil.Patience))
	if name == "-" {
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	} else {
		c = tls.Client(c, &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true})
	}
	got, _ := io.ReadAll(c)
	return string(got)
}

// names are asked for at each port of a file.
var names = []string{"mail.test", "MAIL.test", "www.apps.test", "v1.test", "plain.test", "unknown.test", "apps.test",
	""}

// namedOrigins starts a backend for each address of a text that a program leads connections to. Those at port 8443 end
// TLS with the certificate in dir.
func (d *dialect) namedOrigins(t *testing.T, text, dir string) map[string]string {
	issuePair(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pair.pem"), filepath.Join(dir, "pair.key"))
	if err != nil {
		t.Fatal(err)
	}
	origins := map[string]string{}
	for _, m := range d.backend.FindAllStringSubmatch(text, -1) {
		if address := m[len(m)-1]; origins[address] == "" {
			ended := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"acme-tls/1"}}
			if !strings.HasSuffix(address, "8443") {
				ended = nil
			}
			origins[address] = named(t, address, ended)
		}
	}
	return origins
}

// What HAProxy leads to a backend by a name, edge does.
func TestHAProxy_sameBackendByName(t *testing.T) {
	const file = "testdata/haproxy/names.cfg"
	d, dir := haproxyDialect(t), t.TempDir()
	text := read(t, file)
	there, here := d.startBoth(t, file, text, dir, d.namedOrigins(t, text, dir), false)
	led := 0
	ask := func(port, name string, protocols ...string) {
		a, b := greeted(t, there.ports[port], name, protocols...), greeted(t, here.ports[port], name, protocols...)
		if a != b {
			t.Errorf("%s asks port %s: %q there, %q here", fmt.Sprint(name, protocols), port, a, b)
		}
		if a != "" {
			led++
		}
	}
	for port := range there.ports {
		for _, name := range names {
			ask(port, name)
		}
		ask(port, "any.test", "acme-tls/1")
	}
	ask("6379", "-")
	ask("9443", "-")
	if led < 10 {
		t.Errorf("%d connections were led to a backend", led)
	}
}

// A map of stream leads names to the backends that nginx documents: an exact one, then the longest above, expressions,
// and the default. The file cannot be asked here: nginx may be built without stream.
func TestNginx_backendByName(t *testing.T) {
	const file = "testdata/nginx/names.conf"
	d := &dialect{program: "nginx", listen: regexp.MustCompile(`\blisten\s+(?:\[::\]:)?(\d+);`),
		backend: regexp.MustCompile(`\s(10\.7\.0\.\d+:\d+)`), files: regexp.MustCompile(`(none)`)}
	text, dir := read(t, file), t.TempDir()
	here := &side{map[string]string{}, d.namedOrigins(t, text, dir), false}
	d.startEdge(t, dir, d.moved(t, here, text, dir))
	for port := range strings.FieldsSeq("443 8443 9443 5432") {
		listens(t, here.ports[port])
	}
	for asked, want := range map[string]string{
		"443 mail.test":      "10.7.0.1:8443",
		"443 Mail.Test":      "10.7.0.1:8443",
		"443 apps.test":      "10.7.0.2:8443",
		"443 a.b.apps.test":  "10.7.0.2:8443",
		"443 eu.apps.test":   "10.7.0.2:8443",
		"443 a.eu.apps.test": "10.7.0.9:8443",
		"443 v1.test":        "10.7.0.2:8443",
		"443 v1.test.other":  "10.7.0.4:8443",
		"443 ":               "10.7.0.5:8443",
		"443 blocked.test":   "",
		"443 unknown.test":   "10.7.0.4:8443",
		"8443 any.test":      "",
		"9443 any.test":      "10.7.0.4:8443",
		"5432 any.test":      "10.7.0.4:8443",
	} {
		port, name, _ := strings.Cut(asked, " ")
		if got := greeted(t, here.ports[port], name); got != want {
			t.Errorf("%s: %q, want %q", asked, got, want)
		}
	}
	if got := greeted(t, here.ports["8443"], "any.test", "acme-tls/1"); got != "10.7.0.1:8443" {
		t.Errorf("acme-tls/1: %q", got)
	}
}
