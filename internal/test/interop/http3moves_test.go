package interop

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// move has c come from another address of this machine.
func move(t *testing.T, c *quicgo.Conn, ip string) {
	t.Helper()
	path, err := c.AddPath(transportAt(t, ip))
	testutil.Must(t, err)
	if err := path.Probe(bound(t)); err != nil {
		t.Fatalf("no answer at the other address: %v", err)
	}
	testutil.Must(t, path.Switch())
}

// page asks for a page on a connection.
func page(t *testing.T, c http.RoundTripper, url string) string {
	t.Helper()
	resp, err := c.RoundTrip(httptest.NewRequest("GET", url, nil))
	testutil.Must(t, err)
	b, err := io.ReadAll(resp.Body)
	testutil.Must(t, err)
	return string(b)
}

// A connection counts for the address at which it began until its end, wherever its client moves.
func TestHTTP3_aMoveKeepsTheCount(t *testing.T) {
	t.Parallel()
	p := startPlaced(t, newSlow(t), "")
	p.reload(t, p.listener(`"h1", "h2", "h3"`)+"limits.connections_per_client = 1\n")
	taken := func(ip string) bool {
		c, err := transportAt(t, ip).Dial(bound(t), udpAddr(t, p.addr), p.client("h3"), nil)
		if err == nil {
			_ = c.CloseWithError(0x100, "")
		}
		return err == nil
	}
	c := dialFrom(t, p.edge, "127.0.0.1", p.addr)
	asks := new(http3.Transport).NewClientConn(c)
	url := "https://" + p.addr + "/"
	page(t, asks, url)
	move(t, c, "127.0.0.2")
	page(t, asks, url)
	if taken("127.0.0.1") {
		t.Error("a client that moves has room for another connection")
	}
	if !taken("127.0.0.2") {
		t.Error("it takes the room of the clients at the other address")
	}
	_ = c.CloseWithError(0x100, "")
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"} {
		testutil.Eventually(t, testutil.Patience, func() bool { return taken(ip) }, "room at "+ip)
	}
}

// The access log, X-Forwarded-For and rules tell one address of a request, at which it began.
func TestHTTP3_aMoveInTheLog(t *testing.T) {
	t.Parallel()
	o := newSlow(t)
	p := startPlaced(t, o, "")
	log := filepath.Join(t.TempDir(), "access.log")
	p.reload(t, p.listener(`"h1", "h2", "h3"`)+fmt.Sprintf("access_log = %q\n", log))
	c := dialFrom(t, p.edge, "127.0.0.1", p.addr)
	asks := new(http3.Transport).NewClientConn(c)
	url := "https://" + p.addr
	resp, err := asks.RoundTrip(httptest.NewRequest("GET", url+"/slow", nil))
	testutil.Must(t, err)
	if _, err := io.ReadFull(resp.Body, make([]byte, len("begun\n"))); err != nil {
		t.Fatal(err)
	}
	move(t, c, "127.0.0.2")
	logged := func(path, ip string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(log)
			for line := range strings.Lines(string(b)) {
				if strings.Contains(line, fmt.Sprintf(`"path":%q`, path)) &&
					strings.Contains(line, fmt.Sprintf(`"client_ip":%q`, ip)) &&
					strings.Contains(line, `"proto":"HTTP/3"`) {
					return true
				}
			}
			return false
		}
	}
	moved := logged("/next", "127.0.0.2")
	testutil.Eventually(t, testutil.Patience, func() bool { page(t, asks, url+"/next"); return moved() }, "the move")
	close(o.end)
	exchange{resp}.wantEnd(t)
	testutil.Eventually(t, testutil.Patience, logged("/slow", "127.0.0.1"), "the request from before the move")
}
