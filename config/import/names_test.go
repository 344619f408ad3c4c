package importer_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
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

// sameByName compares the backends that a program leads connections to by their names with the backends of edge.
func sameByName(t *testing.T, d *dialect, file string, plain ...string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	issuePair(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pair.pem"), filepath.Join(dir, "pair.key"))
	if err != nil {
		t.Fatal(err)
	}
	origins := map[string]string{}
	for _, m := range d.backend.FindAllStringSubmatch(string(text), -1) {
		if address := m[len(m)-1]; origins[address] == "" {
			ended := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"acme-tls/1"}}
			if !strings.HasSuffix(address, "8443") {
				ended = nil
			}
			origins[address] = named(t, address, ended)
		}
	}
	there, here := d.startBoth(t, file, string(text), dir, origins, false)
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
	for _, port := range plain {
		ask(port, "-")
	}
	if led < 10 {
		t.Errorf("%d connections were led to a backend", led)
	}
}

// What HAProxy leads to a backend by a name, edge does.
func TestHAProxy_sameBackendByName(t *testing.T) {
	sameByName(t, haproxyDialect(t), "testdata/haproxy/names.cfg", "6379", "9443")
}
