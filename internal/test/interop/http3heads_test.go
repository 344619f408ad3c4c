package interop

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The keys for request lines and fields hold over HTTP/3.
func TestHTTP3_longHeads(t *testing.T) {
	t.Parallel()
	p := startPlaced(t, newSlow(t), "")
	ask := func(target, field int) int {
		r, err := http.NewRequestWithContext(bound(t), "GET", "https://"+p.addr+"/?"+strings.Repeat("q", target), nil)
		testutil.Must(t, err)
		r.Header.Set("X-Long", strings.Repeat("x", field))
		_, client := p.connect(t)
		resp, err := client.RoundTrip(r)
		testutil.Must(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	if target, field := ask(20000, 0), ask(0, 20000); target != 414 || field != 431 {
		t.Errorf("by default %d and %d, want 414 and 431", target, field)
	}
	p.reload(t, p.listener(`"h1", "h2", "h3"`)+
		"limits = { header_size = \"128k\", target_size = \"64k\", field_size = \"64k\" }\n")
	if target, field := ask(60000, 0), ask(0, 60000); target != 200 || field != 200 {
		t.Errorf("with the keys %d and %d, want 200 twice", target, field)
	}
	if target, field := ask(70000, 0), ask(0, 70000); target != 414 || field != 431 {
		t.Errorf("above the keys %d and %d, want 414 and 431", target, field)
	}
}

// Bytes that a backend sends after the end of its answer cost clients of HTTP/2 and HTTP/3 nothing either.
func TestHTTP3_bytesAfterTheAnswer(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"GET":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
		"POST":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
		"HEAD":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"DELETE": "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	}
	l := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, answers[r.Method]); err == nil {
			io.Copy(io.Discard, c) //nolint:errcheck // edge closes it
		}
	})
	p := startPlaced(t, &slow{addr: l.Addr().String()}, "")
	h2 := &http.Client{Transport: &http.Transport{TLSClientConfig: p.client("h2"), ForceAttemptHTTP2: true}}
	defer h2.CloseIdleConnections()
	for version, client := range map[string]*http.Client{"HTTP/2.0": h2, "HTTP/3.0": p.h3(t)} {
		for method := range answers {
			r, err := http.NewRequestWithContext(bound(t), method, "https://"+p.addr+"/", nil)
			testutil.Must(t, err)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(version, method, err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			want := map[string]string{"GET": "ok", "POST": "ok"}[method]
			if resp.Proto != version || resp.StatusCode/100 != 2 || string(body) != want || err != nil {
				t.Errorf("%s %s: %s %s %q, %v", version, method, resp.Proto, resp.Status, body, err)
			}
		}
	}
}
