package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
)

// Where the handshake tells the protocol, an upgrade goes by HTTP/1 though the others share a connection of HTTP/2,
// also when there may be one connection only: most servers take no upgrades on HTTP/2.
func TestSecured_upgradesGoByHTTP1(t *testing.T) {
	for _, limit := range []int{0, 1} {
		v := newVersioned(t, "tls h1 h2 ", 0, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") == "" {
				io.WriteString(w, "plain")
				return
			}
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				http.Error(w, err.Error(), 501)
				return
			}
			defer c.Close()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			rw.Flush()
			line, _ := rw.ReadString('\n')
			rw.WriteString("echo " + line)
			rw.Flush()
		})
		r, _ := secured(t, v, upstream.Options{
			Protocol: upstream.Auto, TLS: upstream.TLS{On: true, CA: v.authority()},
			PerBackend: limit, QueueTimeout: time.Minute,
		})
		for range 3 {
			if resp, got := fetch(t, "GET", r.url+"/", ""); got != "plain" || resp.Header.Get("X-Version") == "" {
				t.Fatalf("%d %q", resp.StatusCode, got)
			}
			w := testutil.Dial(t, r.addr())
			w.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			if head := w.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				t.Fatalf("limit %d: %q", limit, head)
			}
			w.Send("hello\n")
			line, err := bufio.NewReader(strings.NewReader(w.ReadUntil("\n"))).ReadString('\n')
			if line != "echo hello\n" {
				t.Fatalf("%q %v", line, err)
			}
			w.Close()
		}
	}
}
