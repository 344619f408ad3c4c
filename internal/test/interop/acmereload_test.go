package interop

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A reload takes [acme] away, another one brings it back: the certificate is there at once, from the folder.
func TestServe_withoutAndBack(t *testing.T) {
	t.Parallel()
	s := startServed(t, pebbleOptions{}, "%s", twoRoutes)
	a := s.waitFor("a.shop.test")
	s.waitFor("b.shop.test")
	dir := filepath.Dir(s.file) // the process may read no folder that its files did not name when it started
	testutil.NewAuthority(t).IssueTo(t, dir, "other", nil, "other.test")
	pair := filepath.Join(dir, "other")
	keys, _, _ := strings.Cut(s.keys, "[acme]")
	keys += fmt.Sprintf("[[certificates]]\ncert = %q\nkey = %q\n", pair+".pem", pair+".key")
	testutil.Must(t, os.WriteFile(s.file, []byte(keys+twoRoutes), 0o600))
	s.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Patience, func() bool {
		now := s.presented("a.shop.test")
		return now != nil && !now.Equal(a)
	})
	s.configure("%s", twoRoutes)
	s.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Patience, func() bool {
		now := s.presented("a.shop.test")
		return now != nil && now.Equal(a)
	})
	if code := s.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if n := s.ordersMade(); n != 2 {
		t.Errorf("%d orders", n)
	}
}

// A service has no word of ALPN, and takes clients that offer any protocols. Only an authority gets acme-tls/1.
func TestServe_protocolsBesideProofs(t *testing.T) {
	t.Parallel()
	at := testutil.FreeAddr(t)
	s := startServed(t, pebbleOptions{}, `
[services.mail]
type = "tcp"
listen = %q
cert = "acme"
dest = "127.0.0.1:1"
%s`, at, twoRoutes)
	s.waitFor("a.shop.test")
	const refused = "refused"
	for _, c := range []struct {
		at      string
		offered []string
		want    string
	}{
		{at, nil, ""}, {at, []string{"imap"}, ""}, {at, []string{"h2", "http/1.1"}, ""},
		{at, []string{"acme-tls/1", "imap"}, ""}, {at, []string{"acme-tls/1"}, refused},
		{s.secure, []string{"acme-tls/1", "http/1.1"}, "http/1.1"}, {s.secure, []string{"acme-tls/1", "h2"}, "h2"},
		{s.secure, []string{"acme-tls/1", "imap"}, refused}, {s.secure, []string{"acme-tls/1"}, refused},
	} {
		got := refused
		conn, err := tls.Dial("tcp", c.at, &tls.Config{ServerName: "a.shop.test", NextProtos: c.offered,
			InsecureSkipVerify: true})
		if err == nil {
			got = conn.ConnectionState().NegotiatedProtocol
			conn.Close()
		}
		if got != c.want {
			t.Errorf("%s, %q: %q (%v), want %q", c.at, c.offered, got, err, c.want)
		}
	}
}

// An upgrade goes on with an order that is under way, though the process before has a client left.
func TestServe_upgradeInOrder(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"/order-plz", "/chalZ/", "/finalize-order/"} {
		t.Run(strings.Trim(where, "/"), func(t *testing.T) {
			var n atomic.Int32
			reached := make(chan bool)
			s := startServed(t, pebbleOptions{before: func(_ http.ResponseWriter, r *http.Request) bool {
				if first := strings.HasPrefix(r.URL.Path, where) && n.Add(1) == 1; first {
					close(reached)
					<-r.Context().Done()
					return true
				}
				return false
			}}, `
[[routes]]
pattern = "a.shop.test/*"
dest = "127.0.0.1:1"
`)
			<-reached
			half, err := net.Dial("tcp", s.plain)
			testutil.Must(t, err)
			defer half.Close()
			if _, err := half.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
				t.Fatal(err)
			}
			s.Signal(syscall.SIGUSR2)
			pid, err := strconv.Atoi(s.WaitLine(`upgraded: the new process serves.*"pid":(\d+)`)[1])
			testutil.Must(t, err)
			defer syscall.Kill(pid, syscall.SIGKILL)
			s.waitFor("a.shop.test")
			if strings.Contains(s.Output(), "could not be ordered") {
				t.Error("an order has failed")
			}
		})
	}
}

// An entry for private names does not stand for the public ones: these are ordered.
func TestServe_besideInternal(t *testing.T) {
	t.Parallel()
	s := startServed(t, pebbleOptions{}, `
[[certificates]]
cert = "internal"
hosts = ["app.internal"]
%s`, twoRoutes)
	testutil.Eventually(t, testutil.Patience, func() bool { return s.presented("app.internal") != nil })
	testutil.Eventually(t, testutil.Patience, func() bool {
		leaf := s.presented("a.shop.test")
		return leaf != nil && strings.Contains(leaf.Issuer.CommonName, "Pebble")
	})
	if leaf := s.presented("app.internal"); leaf == nil || leaf.VerifyHostname("app.internal") != nil {
		t.Error("no internal certificate")
	}
}
