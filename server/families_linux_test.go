package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/internal/testutil/dnsserver"
)

// Where packets to one family of a name vanish, requests go to the other one, and do not wait for a timeout.
func TestFamilies_oneIsSilent(t *testing.T) {
	testutil.EventLog(t, slog.DiscardHandler)
	for _, c := range []struct{ scheme, protocol, more string }{
		{"http", "HTTP/1.1", ""}, {"h2c", "HTTP/2.0", ""},
		{"https", "HTTP/2.0", "upstream_defaults.protocol = \"auto\"\nupstream_defaults.tls.verify = false\n"},
	} {
		silent := testutil.Silent(t)
		_, port, _ := strings.Cut(silent, ":")
		l, err := net.Listen("tcp6", "[::1]:"+port)
		if err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
		var conns atomic.Int64
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto)
		}))
		s.Listener.Close() //nolint:errcheck // it is not used
		s.Listener = l
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetHTTP2(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Add(1)
			}
		}
		s.EnableHTTP2 = true
		if c.scheme == "https" {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		dns := dnsserver.Start(t)
		dns.Answer("dual.test.", "A 300 127.0.0.1", "AAAA 300 ::1")
		edge := start(t, Options{}, "%s", quiet+c.more+fmt.Sprintf(`
http = { name = "web", listen = "127.0.0.1:0" }
upstream_defaults.resolver = %q
upstream_defaults.timeouts.connect = "10m"
routes = [{ pattern = "/*", dest = "%s://dual.test:%s" }]
`, dns.Addr, c.scheme, port))
		for i := range 30 {
			if status, body := get(t, edge, "web", "/"); status != 200 || body != c.protocol {
				t.Fatalf("%s: %d: %d %q", c.scheme, i, status, body)
			}
		}
		if n := counter(edge, "edge_upstream_passed_over_total"); n < 1 {
			t.Errorf("%s: %v addresses are passed over", c.scheme, n)
		}
		if n := conns.Load(); n > 10 {
			t.Errorf("%s: %d connections for 30 requests: they are not used again", c.scheme, n)
		}
	}
}
